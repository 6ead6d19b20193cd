"""A generator as a function that a worker calls for each row. A worker loads this when it has a stream to make.

    item 0: the arguments --> the generator is made --> its first row
    item n: None ------------------------------------> its next row, or `GeneratorEnd`

Light: no more than these names crosses to a worker.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from typing import TYPE_CHECKING, Any

from procorch._messages import GeneratorEnd

if TYPE_CHECKING:
    import asyncio


class Rows:
    """Gives the next row at each call. Known by the name of the generator function."""

    def __init__(self, fn: Callable[..., Generator[Any, Any, Any]]) -> None:
        """Wrap it.

        Args:
            fn (Callable[..., Generator[Any, Any, Any]]): The generator function.
        """
        self._fn = fn
        self._generator: Generator[Any, Any, Any] | None = None
        _take_name(self, fn)

    def __reduce__(self) -> tuple[type[Rows], tuple[object]]:
        return Rows, (self._fn,)

    def __call__(self, arguments: tuple[Any, ...] | None) -> Any:
        generator = self._generator
        if generator is None:
            generator = self._generator = self._fn(*(arguments or ()))
        try:
            return next(generator)
        except StopIteration as end:
            return GeneratorEnd(end.value)

    def __procorch_close__(self) -> None:
        if self._generator is not None:
            self._generator.close()


class AsyncRows:
    """The same of an async generator function, in an event loop that lives as long as the generator."""

    def __init__(self, fn: Callable[..., AsyncGenerator[Any, Any]]) -> None:
        """Wrap it.

        Args:
            fn (Callable[..., AsyncGenerator[Any, Any]]): The async generator function.
        """
        self._fn = fn
        self._generator: AsyncGenerator[Any, Any] | None = None
        self._loop: asyncio.Runner | None = None
        _take_name(self, fn)

    def __reduce__(self) -> tuple[type[AsyncRows], tuple[object]]:
        return AsyncRows, (self._fn,)

    def __call__(self, arguments: tuple[Any, ...] | None) -> Any:
        if self._loop is None:
            import asyncio  # here: no other item needs it, and it takes long to load

            self._loop = asyncio.Runner()
        return self._loop.run(self._next(arguments))

    async def _next(self, arguments: tuple[Any, ...] | None) -> Any:
        if self._generator is None:
            self._generator = self._fn(*(arguments or ()))
        try:
            return await anext(self._generator)
        except StopAsyncIteration:
            return GeneratorEnd(None)

    def __procorch_close__(self) -> None:
        loop, generator = self._loop, self._generator
        if loop is None:
            return
        try:
            if generator is not None:
                loop.run(_close(generator))
        finally:
            loop.close()


async def _close(generator: AsyncGenerator[Any, Any]) -> None:
    await generator.aclose()


def _take_name(taker: object, fn: object) -> None:
    for name in ("__module__", "__qualname__"):
        if hasattr(fn, name):
            setattr(taker, name, getattr(fn, name))
