"""What a group still has to do: its jobs, from the first item that one is offered until it is over.

A part of the scheduler, and as pure. `Backlog` keeps what waits; here is decided what is still wanted. What becomes of
an item that was begun is for `Judge` to say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from procorch import _events as e
from procorch._backlog import Backlog, Job
from procorch._policy import Limits
from procorch._roster import Roster
from procorch._slot import Phase


class Agenda:
    """See the module's text."""

    def __init__(self, limits: Limits, roster: Roster, order: Callable[[e.Order], None]) -> None:
        """Begin with no job.

        Args:
            limits (Limits): The numbers to decide by.
            roster (Roster): Who has what.
            order (Callable[[e.Order], None]): Takes what is to be done.
        """
        self._limits = limits
        self._roster = roster
        self._order = order
        self.backlog = Backlog(limits)
        """What waits, or rests before another try."""
        self.jobs = self.backlog.jobs
        """Those that are not over, by number."""
        self.closing = False
        """Whether no further job comes."""
        self.terminated = False
        """Whether everything was told to end."""
        self.broken = False
        """Whether no worker can be started any more: what runs may finish."""

    @property
    def refusing(self) -> bool:
        """Whether nothing that waits is ever to begin."""
        return self.terminated or self.broken

    @property
    def complete(self) -> bool:
        """Whether what runs is all that there will be. What waits, waits for room."""
        return self.closing and not self.backlog.waiting and all(job.sealed for job in self.jobs.values())

    @property
    def waiting(self) -> int:
        """Items that are with no worker: they wait for one, or rest before another try."""
        return sum(job.waiting + len(job.resting) for job in self.jobs.values())

    @property
    def busy(self) -> bool:
        """Whether an item has no outcome, or more may be offered.

        A stream whose consumer may ask for more, or never, does not count as long as nothing of it is on its way.
        """
        return any(job.active or not (job.sealed or job.spec.streaming) for job in self.jobs.values())

    def is_unwanted(self, job: Job) -> bool:
        """Tell whether what runs of a job was told to end: its failures are nobody's fault.

        Args:
            job (Job): Which one.

        Returns:
            bool: False for one that was stopped and whose items may finish.
        """
        return self.terminated or (job.makes_rows and job.stopped)

    def offer(self, job: Job, count: int, begun: Mapping[int, int]) -> None:
        """Take in further items; they are dropped if nobody wants them any more.

        Args:
            job (Job): Theirs.
            count (int): How many.
            begun (Mapping[int, int]): Tries that were in vain before this group, by item.
        """
        items = range(job.offered, job.offered + count)
        job.tries.update(begun)
        job.offered += count
        if job.sealed or self.refusing:
            self._drop(job, items)
        else:
            self.backlog.enqueue(job, items, front=False)

    def give_back(self, job: Job, items: Sequence[int]) -> None:
        """Put items that have no outcome in front of those that wait, or drop them if nobody wants them.

        Args:
            job (Job): Theirs.
            items (Sequence[int]): Their numbers; may be none.
        """
        if items and (job.stopped or self.refusing):
            self._drop(job, items)
        elif items:
            self.backlog.enqueue(job, items, front=True)

    def _drop(self, job: Job, items: Sequence[int]) -> None:
        self._order(e.Resolve(job.number, items, [e.Dropped()] * len(items), None))

    def seal(self, number: int) -> None:
        """Take in that a job gets no further item.

        Args:
            number (int): The job; may be over.
        """
        job = self.jobs.get(number)
        if job is not None:
            job.sealed = True
            self.forget_if_done(job)

    def stop(self, number: int) -> None:
        """Drop what of a job has not begun. What has may finish.

        Args:
            number (int): The job; may be over.
        """
        job = self.jobs.get(number)
        if job is None:
            return
        job.stopped = job.sealed = True
        items = self.backlog.clear(job)
        if items:
            self._drop(job, items)
        for slot in self._roster.slots.values():
            # One item has begun, unless its chunk waits far away.
            if slot.job == number and slot.phase is Phase.BUSY and (len(slot.items) > 1 or self._limits.distant):
                self._order(e.Withdraw(slot.number))
        self.forget_if_done(job)

    def forget_if_done(self, job: Job) -> None:
        """Let a job be over if all its items have their outcome and no chunk of it is out.

        Args:
            job (Job): Which one.
        """
        if job.sealed and not job.active and self.jobs.pop(job.number, None) is not None:
            for slot in self._roster.dedicated_to(job.number) if job.makes_rows else ():
                if slot.phase is Phase.IDLE:
                    self._roster.set_idle(slot)  # it stands by for nothing
            self._order(e.JobDone(job.number))
