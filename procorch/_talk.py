"""What is said between the parent and a process of `start`, across the processes that take each other's place.

    send --> posts: known to have been taken? then forgotten --(under the group's lock)--> worker ... the function
    receive <-- heard <------------------------------------(under the group's lock)------- worker ... the function

Messages to a process that has died before it took them go to the one in its place; none is given to two.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice

from procorch import _messages as m
from procorch._condition import Condition
from procorch._engine import Worker

MOST = 64
"""Messages each way that have not been taken, at most: who sends more waits."""


class Over(Exception):
    """The process has ended for good, and everything that it said has been given."""


class Talk:
    """See the module's text."""

    def __init__(self) -> None:
        """Begin before there is a process."""
        self._change = Condition()
        self._worker: Worker | None = None
        self._posts: deque[m.Payload] = deque()  # not known to have been taken
        self._said = 0  # how many of them the present worker has been sent
        self._taken = 0  # messages that it is known to have taken
        self._heard: deque[m.Payload] = deque()
        self._allowed = self._allowed_told = 0  # messages that it may have sent
        self._is_over = False
        self._left = 0  # messages that nobody had taken when it was over
        self._serves = False
        self._watchers = 0  # of how many messages have not been taken

    # --- under the group's lock ---------------------------------------------------------------------------------------

    def begin(self, worker: Worker) -> None:
        """Take in that a worker has been given the function.

        Args:
            worker (Worker): Which one.
        """
        with self._change:
            if worker is self._worker:
                return  # it has been given another part
            self._worker = worker
            self._said = self._taken = 0
            self._allowed_told = -MOST  # less than any that it is told
            self._allowed = MOST - len(self._heard)
        self.go_on()

    def go_on(self) -> None:
        """Tell the worker what it is to hear by now."""
        with self._change:
            worker = self._worker
            if worker is None:
                return
            if self._owes_leave:
                self._allowed_told = self._allowed
                worker.say(m.Allow(self._allowed))
            for payload in islice(self._posts, self._said, None):
                worker.say(m.Post(payload))
            self._said = len(self._posts)
            worker.want_receipts(self._watchers > 0)
            if self._watchers:
                self._forget_taken(worker.taken())
                self._change.notify_all()

    @property
    def _owes_leave(self) -> bool:
        """Whether the worker is to be told how far it may go: it knows of less than half as much as there is."""
        return 2 * (self._allowed - self._allowed_told) >= MOST

    def hear(self, said: Sequence[m.Said]) -> None:
        """Take in what the function has said.

        Args:
            said (Sequence[m.Said]): In its order.
        """
        with self._change:
            for one in said:
                match one:
                    case m.Post(payload, taken):
                        self._heard.append(payload)
                        self._forget_taken(taken)
                    case m.Taken(total):
                        self._forget_taken(total)
                    case m.Serving():
                        self._serves = True
            self._change.notify_all()

    def lost(self) -> None:
        """Take in that the worker is dead, and that all that it said has been heard."""
        with self._change:
            if self._worker is not None:
                self._forget_taken(self._worker.taken())
            self._worker, self._said, self._serves = None, 0, False
            self._change.notify_all()

    def _forget_taken(self, total: int) -> None:
        # Less than is known is no news: what two threads of a process tell may come in another order. And whatever goes
        # wrong there, no more can have been taken than was sent.
        for _ in range(min(total - self._taken, self._said)):
            self._said -= 1  # first: whatever an interrupt leaves undone, no more were sent than there are
            self._posts.popleft()
        self._taken = max(self._taken, total)

    # --- any thread ---------------------------------------------------------------------------------------------------

    @property
    def has_news(self) -> bool:
        """Whether `take` has something to tell at once."""
        return bool(self._heard) or self._is_over

    def over(self) -> None:
        """Take in that there will be no further process."""
        with self._change:
            self._is_over, self._worker = True, None
            self._left += len(self._posts)  # this is told twice where an interrupt came in between
            self._posts.clear()  # nobody will take them, and each may keep a descriptor
            self._change.notify_all()

    @property
    def serves(self) -> bool:
        """Whether the function has said that it is ready to serve."""
        return self._serves

    def wait(self, ready: Callable[[], bool], timeout: float | None) -> bool:
        """Wait until something is so, or the process is over.

        Args:
            ready (Callable[[], bool]): Looked at under a lock.
            timeout (float | None): Seconds; None for no limit.

        Returns:
            bool: Whether it is so.
        """
        with self._change:
            self._change.wait_for(lambda: self._is_over or ready(), timeout)
            return ready()

    def put(self, payload: m.Payload, timeout: float | None) -> bool:
        """Add a message, once there is room; `go_on` sends it.

        Args:
            payload (m.Payload): The message, pickled.
            timeout (float | None): Seconds to wait for room; None for no limit.

        Returns:
            bool: False if there was no room in time.

        Raises:
            Over: There is nobody to send it to.
        """
        with self._change:
            has_room = self._change.wait_for(lambda: self._is_over or len(self._posts) < MOST, timeout)
            if self._is_over:
                raise Over
            if has_room:
                self._posts.append(payload)
            return has_room

    def watch(self, count: int) -> None:
        """Take in that somebody wants to know at once, or not any more, when a message is taken; `go_on` follows.

        Args:
            count (int): 1 or -1.
        """
        with self._change:
            self._watchers += count

    @property
    def untaken(self) -> int:
        """How many messages are not known to have been taken."""
        return len(self._posts) + self._left

    def take(self, timeout: float | None) -> tuple[m.Payload | None, bool]:
        """Take the next message, and wait for it.

        Args:
            timeout (float | None): Seconds; None for no limit.

        Returns:
            tuple[m.Payload | None, bool]: The message, pickled, None if there was none in time; and whether to `go_on`:
            the function may wait for leave to send more.

        Raises:
            Over: There will be none.
        """
        with self._change:
            self._change.wait_for(lambda: self.has_news, timeout)
            if not self._heard:
                if self._is_over:
                    raise Over
                return None, False
            self._allowed += 1  # first: an interrupt must not let the function wait for leave that never comes
            payload = self._heard.popleft()
            return payload, self._worker is not None and self._owes_leave
