"""The shapes in which `AsyncProcessGroup.imap` may be called, for type checkers and editors.

As `_signatures`, with async iterables too, and with coroutine functions, whose results are what their coroutines give.
One overload for one iterable, one for two and one for more; of those the items' types are not checked.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Coroutine, Iterable
from typing import Any, Literal, Protocol, TypeAlias, TypeVar, overload

from procorch._checkpoint import Given
from procorch._progress import Progress

T = TypeVar("T")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
R = TypeVar("R")

Inputs: TypeAlias = Iterable[T] | AsyncIterable[T]


class AsyncImapCall(Protocol):
    """How `AsyncProcessGroup.imap` is called."""

    @overload
    def __call__(
        self,
        fn: Callable[[T1], Coroutine[Any, Any, R]],
        iterable1: Inputs[T1],
        /,
        *,
        ordered: bool = True,
        chunksize: int | None = None,
        buffersize: int | None = None,
        return_exceptions: Literal[False] = False,
        progress: bool | Callable[[Progress], object] | None = None,
        checkpoint: Given = None,
    ) -> AsyncGenerator[R, None]: ...

    @overload
    def __call__(
        self,
        fn: Callable[[T1], Coroutine[Any, Any, R]],
        iterable1: Inputs[T1],
        /,
        *,
        ordered: bool = True,
        chunksize: int | None = None,
        buffersize: int | None = None,
        return_exceptions: bool,
        progress: bool | Callable[[Progress], object] | None = None,
        checkpoint: Given = None,
    ) -> AsyncGenerator[R | BaseException, None]: ...

    @overload
    def __call__(
        self,
        fn: Callable[[T1], R],
        iterable1: Inputs[T1],
        /,
        *,
        ordered: bool = True,
        chunksize: int | None = None,
        buffersize: int | None = None,
        return_exceptions: Literal[False] = False,
        progress: bool | Callable[[Progress], object] | None = None,
        checkpoint: Given = None,
    ) -> AsyncGenerator[R, None]: ...

    @overload
    def __call__(
        self,
        fn: Callable[[T1], R],
        iterable1: Inputs[T1],
        /,
        *,
        ordered: bool = True,
        chunksize: int | None = None,
        buffersize: int | None = None,
        return_exceptions: bool,
        progress: bool | Callable[[Progress], object] | None = None,
        checkpoint: Given = None,
    ) -> AsyncGenerator[R | BaseException, None]: ...

    @overload
    def __call__(
        self,
        fn: Callable[[T1, T2], Coroutine[Any, Any, R]],
        iterable1: Inputs[T1],
        iterable2: Inputs[T2],
        /,
        *,
        ordered: bool = True,
        chunksize: int | None = None,
        buffersize: int | None = None,
        return_exceptions: Literal[False] = False,
        progress: bool | Callable[[Progress], object] | None = None,
        checkpoint: Given = None,
    ) -> AsyncGenerator[R, None]: ...

    @overload
    def __call__(
        self,
        fn: Callable[[T1, T2], Coroutine[Any, Any, R]],
        iterable1: Inputs[T1],
        iterable2: Inputs[T2],
        /,
        *,
        ordered: bool = True,
        chunksize: int | None = None,
        buffersize: int | None = None,
        return_exceptions: bool,
        progress: bool | Callable[[Progress], object] | None = None,
        checkpoint: Given = None,
    ) -> AsyncGenerator[R | BaseException, None]: ...

    @overload
    def __call__(
        self,
        fn: Callable[[T1, T2], R],
        iterable1: Inputs[T1],
        iterable2: Inputs[T2],
        /,
        *,
        ordered: bool = True,
        chunksize: int | None = None,
        buffersize: int | None = None,
        return_exceptions: Literal[False] = False,
        progress: bool | Callable[[Progress], object] | None = None,
        checkpoint: Given = None,
    ) -> AsyncGenerator[R, None]: ...

    @overload
    def __call__(
        self,
        fn: Callable[[T1, T2], R],
        iterable1: Inputs[T1],
        iterable2: Inputs[T2],
        /,
        *,
        ordered: bool = True,
        chunksize: int | None = None,
        buffersize: int | None = None,
        return_exceptions: bool,
        progress: bool | Callable[[Progress], object] | None = None,
        checkpoint: Given = None,
    ) -> AsyncGenerator[R | BaseException, None]: ...

    @overload
    def __call__(
        self,
        fn: Callable[..., Coroutine[Any, Any, R]],
        iterable1: Inputs[Any],
        iterable2: Inputs[Any],
        iterable3: Inputs[Any],
        /,
        *iterables: Inputs[Any],
        ordered: bool = True,
        chunksize: int | None = None,
        buffersize: int | None = None,
        return_exceptions: Literal[False] = False,
        progress: bool | Callable[[Progress], object] | None = None,
        checkpoint: Given = None,
    ) -> AsyncGenerator[R, None]: ...

    @overload
    def __call__(
        self,
        fn: Callable[..., Coroutine[Any, Any, R]],
        iterable1: Inputs[Any],
        iterable2: Inputs[Any],
        iterable3: Inputs[Any],
        /,
        *iterables: Inputs[Any],
        ordered: bool = True,
        chunksize: int | None = None,
        buffersize: int | None = None,
        return_exceptions: bool,
        progress: bool | Callable[[Progress], object] | None = None,
        checkpoint: Given = None,
    ) -> AsyncGenerator[R | BaseException, None]: ...

    @overload
    def __call__(
        self,
        fn: Callable[..., R],
        iterable1: Inputs[Any],
        iterable2: Inputs[Any],
        iterable3: Inputs[Any],
        /,
        *iterables: Inputs[Any],
        ordered: bool = True,
        chunksize: int | None = None,
        buffersize: int | None = None,
        return_exceptions: Literal[False] = False,
        progress: bool | Callable[[Progress], object] | None = None,
        checkpoint: Given = None,
    ) -> AsyncGenerator[R, None]: ...

    @overload
    def __call__(
        self,
        fn: Callable[..., R],
        iterable1: Inputs[Any],
        iterable2: Inputs[Any],
        iterable3: Inputs[Any],
        /,
        *iterables: Inputs[Any],
        ordered: bool = True,
        chunksize: int | None = None,
        buffersize: int | None = None,
        return_exceptions: bool,
        progress: bool | Callable[[Progress], object] | None = None,
        checkpoint: Given = None,
    ) -> AsyncGenerator[R | BaseException, None]: ...
