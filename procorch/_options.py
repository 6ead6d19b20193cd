"""How the items of a call are treated: the choices of `ProcessGroup.options`."""

from __future__ import annotations

from typing import cast

import attrs

from procorch._events import NO_WAIT, JobSpec
from procorch._policy import Backoff, check_backoff, check_count, check_limit
from procorch._restart import Restart


@attrs.frozen
class TaskOptions:
    """See `ProcessGroup.options`; these have been checked."""

    timeout: float | None = None
    """Seconds that an item may run."""
    retries: int = 0
    """Extra tries for an item that failed in a way that is worth another."""
    retry_on: tuple[type[BaseException], ...] = ()
    """Types of its own exceptions that are."""
    backoff: Backoff = NO_WAIT
    """How long it rests before each."""

    def spec(
        self,
        *,
        chunksize: int | None = None,
        stop_on_failure: bool = False,
        streaming: bool = False,
        dedicated: bool = False,
        name: str | None = None,
        restart: Restart | None = None,
    ) -> JobSpec:
        """Tell what the scheduler must know of a job.

        Args:
            chunksize (int | None): Items in a chunk; None lets the scheduler find it.
            stop_on_failure (bool): Whether to begin nothing more once an item has failed.
            streaming (bool): Whether further items come only at a consumer's pace.
            dedicated (bool): Whether the job has a process of its own.
            name (str | None): Name of that process.
            restart (Restart | None): How that process is kept up; None if it is not.

        Returns:
            JobSpec: With these, and what of the options concerns it.
        """
        return JobSpec(
            chunksize=chunksize,
            retries=self.retries,
            backoff=self.backoff,
            timeout=self.timeout,
            stop_on_failure=stop_on_failure,
            streaming=streaming,
            dedicated=dedicated,
            name=name,
            restart=restart,
        )

    @property
    def raises_again(self) -> tuple[type[BaseException], ...]:
        """Types of exceptions of which workers are to tell that they are worth another try."""
        return self.retry_on if self.retries else ()


def checked_options(timeout: object, retries: object, retry_on: object, backoff: object) -> TaskOptions:
    """Check what a user has chosen.

    Args:
        timeout (object): A number of seconds above 0, or None.
        retries (object): A whole number, at least 0.
        retry_on (object): A type of exceptions, or a tuple of such.
        backoff (object): A number of seconds, or several.

    Returns:
        TaskOptions: The same.

    Raises:
        TypeError: One of them has a wrong type.
        ValueError: A number is out of range.
    """
    given: tuple[object, ...] = cast("tuple[object, ...]", retry_on) if isinstance(retry_on, tuple) else (retry_on,)
    types = tuple(one for one in given if isinstance(one, type) and issubclass(one, BaseException))
    if len(types) < len(given):
        raise TypeError(f"retry_on must be a type of exceptions or a tuple of such types, not {retry_on!r}")
    return TaskOptions(
        check_limit("timeout", timeout),
        check_count("retries", retries, least=0),
        types,
        check_backoff("backoff", backoff),
    )
