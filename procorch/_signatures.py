"""The shapes in which `map` and `imap` may be called, for type checkers and editors.

One overload for each number of iterables up to three and one for more, each with plain results and with exceptions as
values. Beyond three the items' types are not checked, only the result's.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import Any, Literal, Protocol, TypeVar, overload

from procorch._checkpoint import Given
from procorch._progress import Progress

T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
R = TypeVar("R")


class MapCall(Protocol):
    """How `ProcessGroup.map` is called."""

    @overload
    def __call__(
        self,
        fn: Callable[[T1], R],
        iterable1: Iterable[T1],
        /,
        *,
        chunksize: int | None = None,
        buffersize: int | None = None,
        return_exceptions: Literal[False] = False,
        progress: bool | Callable[[Progress], object] | None = None,
        checkpoint: Given = None,
    ) -> list[R]: ...

    @overload
    def __call__(
        self,
        fn: Callable[[T1], R],
        iterable1: Iterable[T1],
        /,
        *,
        chunksize: int | None = None,
        buffersize: int | None = None,
        return_exceptions: bool,
        progress: bool | Callable[[Progress], object] | None = None,
        checkpoint: Given = None,
    ) -> list[R | BaseException]: ...

    @overload
    def __call__(
        self,
        fn: Callable[[T1, T2], R],
        iterable1: Iterable[T1],
        iterable2: Iterable[T2],
        /,
        *,
        chunksize: int | None = None,
        buffersize: int | None = None,
        return_exceptions: Literal[False] = False,
        progress: bool | Callable[[Progress], object] | None = None,
        checkpoint: Given = None,
    ) -> list[R]: ...

    @overload
    def __call__(
        self,
        fn: Callable[[T1, T2], R],
        iterable1: Iterable[T1],
        iterable2: Iterable[T2],
        /,
        *,
        chunksize: int | None = None,
        buffersize: int | None = None,
        return_exceptions: bool,
        progress: bool | Callable[[Progress], object] | None = None,
        checkpoint: Given = None,
    ) -> list[R | BaseException]: ...

    @overload
    def __call__(
        self,
        fn: Callable[[T1, T2, T3], R],
        iterable1: Iterable[T1],
        iterable2: Iterable[T2],
        iterable3: Iterable[T3],
        /,
        *,
        chunksize: int | None = None,
        buffersize: int | None = None,
        return_exceptions: Literal[False] = False,
        progress: bool | Callable[[Progress], object] | None = None,
        checkpoint: Given = None,
    ) -> list[R]: ...

    @overload
    def __call__(
        self,
        fn: Callable[[T1, T2, T3], R],
        iterable1: Iterable[T1],
        iterable2: Iterable[T2],
        iterable3: Iterable[T3],
        /,
        *,
        chunksize: int | None = None,
        buffersize: int | None = None,
        return_exceptions: bool,
        progress: bool | Callable[[Progress], object] | None = None,
        checkpoint: Given = None,
    ) -> list[R | BaseException]: ...

    @overload
    def __call__(
        self,
        fn: Callable[..., R],
        iterable1: Iterable[Any],
        iterable2: Iterable[Any],
        iterable3: Iterable[Any],
        iterable4: Iterable[Any],
        /,
        *iterables: Iterable[Any],
        chunksize: int | None = None,
        buffersize: int | None = None,
        return_exceptions: Literal[False] = False,
        progress: bool | Callable[[Progress], object] | None = None,
        checkpoint: Given = None,
    ) -> list[R]: ...

    @overload
    def __call__(
        self,
        fn: Callable[..., R],
        iterable1: Iterable[Any],
        iterable2: Iterable[Any],
        iterable3: Iterable[Any],
        iterable4: Iterable[Any],
        /,
        *iterables: Iterable[Any],
        chunksize: int | None = None,
        buffersize: int | None = None,
        return_exceptions: bool,
        progress: bool | Callable[[Progress], object] | None = None,
        checkpoint: Given = None,
    ) -> list[R | BaseException]: ...


class ImapCall(Protocol):
    """How `ProcessGroup.imap` is called."""

    @overload
    def __call__(
        self,
        fn: Callable[[T1], R],
        iterable1: Iterable[T1],
        /,
        *,
        ordered: bool = True,
        chunksize: int | None = None,
        buffersize: int | None = None,
        return_exceptions: Literal[False] = False,
        progress: bool | Callable[[Progress], object] | None = None,
        checkpoint: Given = None,
    ) -> Generator[R, None, None]: ...

    @overload
    def __call__(
        self,
        fn: Callable[[T1], R],
        iterable1: Iterable[T1],
        /,
        *,
        ordered: bool = True,
        chunksize: int | None = None,
        buffersize: int | None = None,
        return_exceptions: bool,
        progress: bool | Callable[[Progress], object] | None = None,
        checkpoint: Given = None,
    ) -> Generator[R | BaseException, None, None]: ...

    @overload
    def __call__(
        self,
        fn: Callable[[T1, T2], R],
        iterable1: Iterable[T1],
        iterable2: Iterable[T2],
        /,
        *,
        ordered: bool = True,
        chunksize: int | None = None,
        buffersize: int | None = None,
        return_exceptions: Literal[False] = False,
        progress: bool | Callable[[Progress], object] | None = None,
        checkpoint: Given = None,
    ) -> Generator[R, None, None]: ...

    @overload
    def __call__(
        self,
        fn: Callable[[T1, T2], R],
        iterable1: Iterable[T1],
        iterable2: Iterable[T2],
        /,
        *,
        ordered: bool = True,
        chunksize: int | None = None,
        buffersize: int | None = None,
        return_exceptions: bool,
        progress: bool | Callable[[Progress], object] | None = None,
        checkpoint: Given = None,
    ) -> Generator[R | BaseException, None, None]: ...

    @overload
    def __call__(
        self,
        fn: Callable[[T1, T2, T3], R],
        iterable1: Iterable[T1],
        iterable2: Iterable[T2],
        iterable3: Iterable[T3],
        /,
        *,
        ordered: bool = True,
        chunksize: int | None = None,
        buffersize: int | None = None,
        return_exceptions: Literal[False] = False,
        progress: bool | Callable[[Progress], object] | None = None,
        checkpoint: Given = None,
    ) -> Generator[R, None, None]: ...

    @overload
    def __call__(
        self,
        fn: Callable[[T1, T2, T3], R],
        iterable1: Iterable[T1],
        iterable2: Iterable[T2],
        iterable3: Iterable[T3],
        /,
        *,
        ordered: bool = True,
        chunksize: int | None = None,
        buffersize: int | None = None,
        return_exceptions: bool,
        progress: bool | Callable[[Progress], object] | None = None,
        checkpoint: Given = None,
    ) -> Generator[R | BaseException, None, None]: ...

    @overload
    def __call__(
        self,
        fn: Callable[..., R],
        iterable1: Iterable[Any],
        iterable2: Iterable[Any],
        iterable3: Iterable[Any],
        iterable4: Iterable[Any],
        /,
        *iterables: Iterable[Any],
        ordered: bool = True,
        chunksize: int | None = None,
        buffersize: int | None = None,
        return_exceptions: Literal[False] = False,
        progress: bool | Callable[[Progress], object] | None = None,
        checkpoint: Given = None,
    ) -> Generator[R, None, None]: ...

    @overload
    def __call__(
        self,
        fn: Callable[..., R],
        iterable1: Iterable[Any],
        iterable2: Iterable[Any],
        iterable3: Iterable[Any],
        iterable4: Iterable[Any],
        /,
        *iterables: Iterable[Any],
        ordered: bool = True,
        chunksize: int | None = None,
        buffersize: int | None = None,
        return_exceptions: bool,
        progress: bool | Callable[[Progress], object] | None = None,
        checkpoint: Given = None,
    ) -> Generator[R | BaseException, None, None]: ...
