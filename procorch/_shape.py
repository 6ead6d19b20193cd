"""How a call of `map`, `imap` and their like wants its results."""

from __future__ import annotations

import attrs

from procorch._events import JobSpec
from procorch._options import TaskOptions


@attrs.frozen
class Shape:
    """How a call wants its results."""

    ordered: bool
    return_exceptions: bool
    whole: bool
    """It is a `map`: the caller gets all results or the first error, and takes part until then."""
    chunksize: int | None
    eager: bool
    """Whether inputs may be taken without a bound."""

    def spec(self, options: TaskOptions) -> JobSpec:
        """Tell the scheduler's part of it.

        Args:
            options (TaskOptions): How each item is treated.

        Returns:
            JobSpec: For the job.
        """
        return options.spec(
            chunksize=self.chunksize,
            stop_on_failure=self.whole and not self.return_exceptions,
            streaming=not self.whole,
        )
