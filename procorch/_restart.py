"""When a process that is to stay up is started again. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import attrs

from procorch._policy import Backoff, check_backoff, check_count, check_limit
from procorch._public import public


@public
@attrs.frozen
class Restart:
    """Keeps a process of `ProcessGroup.start` up: ``group.start(serve, restart=Restart())``.

    Attributes:
        on (Literal["failure", "always"]): When to start it again. ``"failure"``: if its function raised, or its process
            died or was stopped for its time; once the function returns, it is done. ``"always"``: also then.
            ``SystemExit`` with 0 or nothing counts as returning.
        max_restarts (int | None): Restarts within any time of that length; at the next one it has failed for good, see
            `TooManyRestarts`. At least 0; None for no such number.
        within (float): That length, in seconds, more than 0.
        backoff (float | Sequence[float]): Seconds to wait before a restart. A number is doubled for each further one
            within that time, up to an hour; of a sequence the last holds for all further ones.
    """

    on: Literal["failure", "always"] = "failure"
    max_restarts: int | None = 5
    within: float = 60.0
    backoff: float | Sequence[float] = 0.1
    _waits: Backoff = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        """Check what was given.

        Raises:
            TypeError: An argument has a wrong type.
            ValueError: ``on`` is neither of the two, or a number is out of range.
        """
        if self.on not in ("failure", "always"):  # whatever it is, it may have no hash
            raise ValueError(f'on must be "failure" or "always", not {self.on!r}')
        if self.max_restarts is not None:
            check_count("max_restarts", self.max_restarts, least=0)
        if check_limit("within", self.within) is None:
            raise ValueError(f"within must be a number of seconds, not {self.within!r}")
        object.__setattr__(self, "_waits", check_backoff("backoff", self.backoff))

    def wait(self, restarts: Sequence[float], now: float) -> float | None:
        """Tell how long to wait before the next restart.

        Args:
            restarts (Sequence[float]): When it was restarted before, in the order of time; monotonic seconds.
            now (float): Monotonic seconds.

        Returns:
            float | None: Seconds; None if there is to be no further restart.
        """
        recent = sum(one > now - self.within for one in restarts)
        if self.max_restarts is not None and recent >= self.max_restarts:
            return None
        return self._waits.seconds(recent + 1)
