"""A group as its callers' threads see it: jobs are opened, fed and stopped here, and waited for.

    callers' threads --(under the lock)--> scheduler --orders--> workers        an idle worker gets its work at once

Whatever may run at an odd moment (a finalizer, a signal handler) does not take the lock but leaves its event in the
mailbox.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from functools import partial

from procorch import _events as e
from procorch._exit import watch_for_exit
from procorch._hands import Deliveries
from procorch._info import GroupStats, ProcessInfo
from procorch._job import Batch, Job
from procorch._loop import Loop
from procorch._talk import Talk
from procorch._verdict import Ending
from procorch._waits import join_thread


class Supervisor(Loop):
    """What owns a group's lock, scheduler, workers and thread."""

    def check_open(self) -> None:
        """Refuse a group that takes no work.

        Raises:
            GroupClosed: It was closed, terminated, cannot start workers, or belongs to the process that this one is a
                forked copy of.
        """
        self.check_own()
        if self._closing or self.ending.cause is not None:
            raise self.ending.closed()

    def _foreign(self) -> Ending:
        """Why this copy of the group is of no use: another process has the original."""
        return Ending(self.name, f"belongs to process {self._pid}; make another in this one")

    def open(self, job: Job, *, sealed: bool) -> None:
        """Begin a job with the items in its deck.

        Args:
            job (Job): Gets its number here.
            sealed (bool): Whether these are all.

        Raises:
            GroupClosed: See `check_open`.
        """
        if not self._has_thread:
            with self._lock:
                self.check_open()
                watch_for_exit(self)
                self._ensure_thread()
        self._act(partial(self._open, job, sealed))

    def _open(self, job: Job, sealed: bool, deliveries: Deliveries) -> None:
        self.check_open()
        job.number = next(self._numbers)
        self._look_at_room(deliveries)
        self._hands.add(job, sealed=sealed)
        self._tell(e.JobOpened(job.number, job.spec, job.take(), sealed, job.take_begun()), deliveries)
        if len(self._hands.jobs) > 1:
            self.come_back()  # no caller does, see `_loop`

    def offer(self, job: Job) -> bool:
        """Take all that is in a job's deck.

        Args:
            job (Job): Opened, and not sealed by its owner.

        Returns:
            bool: False if the job is over; then the deck is left as it is.
        """
        self.check_own()
        return self._act(partial(self._offer, job))

    def _offer(self, job: Job, deliveries: Deliveries) -> bool:
        known = job.number in self._hands.jobs
        if known:
            self._take(job, deliveries)
        return known

    def discard(self, job: Job) -> int:
        """Throw away all that is in a job's deck.

        Args:
            job (Job): Opened or not.

        Returns:
            int: How many items that were.
        """
        with self._lock:
            count = sum(len(one.values) if isinstance(one, Batch) else 1 for one in job.deck)
            job.deck.clear()
        return count

    def let_go(self, job: Job) -> None:
        """Let go of what is in a job's deck as soon as the job is over. For any moment, a finalizer's too.

        Args:
            job (Job): Opened or not; nobody asks any more for what becomes of its items.
        """
        job.closed = True  # first: either the job is over by the next line, or its end sees this
        if job.number not in self._hands.jobs:
            job.deck.clear()

    def rouse(self) -> None:
        """Let the supervisor's thread look into the decks, soon. Costs next to nothing while that is still to come."""
        if not self._roused:
            self._roused = True
            self._wake()

    def seal(self, job: Job) -> None:
        """Tell that a job has got all its items.

        Args:
            job (Job): Opened, and its deck is empty.
        """
        self._act(partial(self._seal, job))

    def _seal(self, job: Job, deliveries: Deliveries) -> None:
        if self._hands.streams.pop(job.number, None) is not None:
            self._tell(e.JobSealed(job.number), deliveries)

    def stop(self, job: Job) -> None:
        """Tell that nobody wants the rest of a job. For any moment, a finalizer's too.

        Args:
            job (Job): Opened.
        """
        self.post(e.JobStopped(job.number))

    def cancel(self, job: Job) -> None:
        """Drop a job's only item, and stop the process that runs it. Nothing happens if it has its outcome.

        Where nobody can stop it, nothing happens either if an engine has it.

        Args:
            job (Job): Opened. Its sink has been told when this returns; not in a forked copy of the process.
        """
        if os.getpid() != self._pid:
            return
        if self.capabilities.cancel == "running":
            self._act(partial(self._cancel, job))
        else:
            self._act(partial(self._drop, job, lambda: self._scheduler.slot_of(job.number) is not None))

    def _cancel(self, job: Job, deliveries: Deliveries) -> None:
        if job.number in self._hands.jobs and self._scheduler.knows(job.number):
            self._tell(e.JobCancelled(job.number), deliveries)

    def drop(self, job: Job, unless: Callable[[], bool] = bool) -> None:
        """Drop the items of a job that have not been sent to a worker, and stop nothing.

        Args:
            job (Job): Opened. Its sink has been told of what was dropped when this returns.
            unless (Callable[[], bool]): Asked under the lock, when nothing can be sent meanwhile, whether to leave it
                as it is.
        """
        if os.getpid() == self._pid:
            self._act(partial(self._drop, job, unless))

    def _drop(self, job: Job, unless: Callable[[], bool], deliveries: Deliveries) -> None:
        if job.number in self._hands.jobs and self._scheduler.knows(job.number) and not unless():
            self._tell(e.JobStopped(job.number), deliveries)

    def say(self, talk: Talk) -> None:
        """Let a process hear what it is to be told by now.

        Args:
            talk (Talk): With that process.
        """
        self._act(lambda _: talk.go_on())

    def check_own(self) -> None:
        """Refuse a forked copy of the process: its workers are another's.

        Raises:
            GroupClosed: This is one.
        """
        if os.getpid() != self._pid:
            raise self._foreign().closed()

    def is_running(self, job: Job) -> bool:
        """Tell whether the only item of a job has begun.

        Args:
            job (Job): Opened.

        Returns:
            bool: False also once it has its outcome, and in a forked copy of the process.
        """
        if os.getpid() != self._pid:
            return False
        with self._lock:
            slot = self._scheduler.slot_of(job.number)
            return slot is not None and self._hands.workers[slot.number].has_begun()

    def how_far(self, job: Job) -> tuple[int, float | None] | None:
        """Tell how far a job is whose items one worker does in their order.

        Args:
            job (Job): Opened.

        Returns:
            tuple[int, float | None] | None: How many items have begun; and since when the last of them has been
            running, by the engine's clock, None if it does not, or nobody watches its time. None if no worker has any.
        """
        return self._act(partial(self._how_far, job))

    def _how_far(self, job: Job, deliveries: Deliveries) -> tuple[int, float | None] | None:
        slot = self._scheduler.slot_of(job.number)
        if slot is None:
            return None
        items = slot.items
        # What is alone with a worker cannot be kept from beginning: nobody would withdraw it.
        begun, since = items[0] + (len(items) == 1), None
        for event in self._hands.workers[slot.number].look():
            if isinstance(event, e.Looked) and event.begun:
                begun, since = items[event.begun - 1] + 1, event.since
            self._tell(event, deliveries)
        return begun, since

    def busy_seconds(self) -> float:
        """Sum up what its workers have worked.

        Returns:
            float: Seconds, of the chunks that have ended.
        """
        with self._lock:
            return sum(slot.busy for slot in self._scheduler.slots.values())

    def running(self, job: Job) -> int:
        """Count the processes that are at work on a job.

        Args:
            job (Job): Opened or not.

        Returns:
            int: Of this moment; 0 in a forked copy of the process.
        """
        if not job.number or os.getpid() != self._pid:
            return 0
        with self._lock:
            return sum(slot.job == job.number for slot in self._scheduler.slots.values())

    def now(self) -> float:
        """Tell the time by the engine's clock, once there is work.

        Returns:
            float: Monotonic seconds.
        """
        return self._place.clock()

    @property
    def hungry(self) -> bool:
        """Whether one more item would be begun at once. Read without the lock: a hint."""
        return self._scheduler.hungry

    @property
    def was_interrupted(self) -> bool:
        """Whether a caller was, in the middle of a call: the group ends, and what was being told is told again."""
        return self._was_interrupted

    @property
    def used(self) -> bool:
        """Whether it has ever had work."""
        return self._thread is not None

    @property
    def state(self) -> str:
        """In a word or two: ``"open"``, or why it takes no work."""
        return self.ending.reason if self._closing or self.ending.cause is not None else "open"

    @property
    def unfinished(self) -> bool:
        """Whether there is work that nobody has told to end; what a stream's consumer may still ask for is none."""
        if os.getpid() != self._pid or self._terminated or self._was_interrupted or not self.used:
            return False
        with self._lock:
            return not self._over and self._scheduler.unfinished

    def _view(self) -> contextlib.AbstractContextManager[object]:
        """Give what to hold while looking: no lock in a forked copy: there it may be taken for ever."""
        return self._lock if os.getpid() == self._pid else contextlib.nullcontext()

    def processes(self) -> tuple[ProcessInfo, ...]:
        """Tell what processes there are.

        Returns:
            tuple[ProcessInfo, ...]: In the order of their slots.
        """
        with self._view():
            return self._hands.describe(self._scheduler.slots.values())

    def stats(self) -> GroupStats:
        """Count what has come of the items so far.

        Returns:
            GroupStats: Of this moment.
        """
        with self._view():
            return self._tally.stats(
                self._scheduler.slots.values(), self._scheduler.waiting, self._place.clock() if self.used else 0.0
            )

    def post(self, event: e.Event) -> None:
        """Tell the scheduler something, soon. Takes no lock: for finalizers, signal handlers, any thread.

        Args:
            event (e.Event): What happened.
        """
        if os.getpid() == self._pid:
            self._mailbox.append(event)
            self._wake()

    def close(self) -> None:
        """Take no further job; end the processes when the work is done. Returns at once; for any moment."""
        self._closing = True
        self.post(e.CloseAsked())  # again, if it is called again: the first call may have been interrupted before this

    def terminate(self) -> None:
        """End everything now. Returns at once; for any moment."""
        self._closing = self._terminated = True
        if self.ending.cause is None:
            self.ending.reason = "was terminated"
        self.post(e.TerminateAsked())

    def join(self, timeout: float | None) -> bool:
        """Wait until all work is done, its outcomes delivered and, once closed, all processes gone.

        Args:
            timeout (float | None): Seconds; None for no limit.

        Returns:
            bool: False if the time was up first.
        """
        if os.getpid() != self._pid or self._thread is None:
            return True
        until = None if timeout is None else time.monotonic() + timeout
        with self._lock:
            over = self._lock.wait_for(self._is_over, timeout)
            closed = self._closing
        if not over or not closed:
            return over
        join_thread(self._thread)  # it has done its last already
        return self.callbacks.join(None if until is None else max(0.0, until - time.monotonic()))

    def _is_over(self) -> bool:
        if self._undelivered > 0:
            return False
        return self._over if self._closing else self._scheduler.unoccupied
