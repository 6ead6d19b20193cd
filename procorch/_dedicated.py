"""Processes that serve one job each: single calls, streams and services, from their start to the end of their process.

A part of the scheduler, and as pure. Which of their items is tried again is for `Judge` to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain

from procorch import _events as e
from procorch._agenda import Agenda
from procorch._backlog import Job
from procorch._policy import Limits
from procorch._roster import Roster
from procorch._services import Services
from procorch._slot import Phase, Slot


class Dedicated:
    """See the module's text."""

    def __init__(
        self, limits: Limits, agenda: Agenda, roster: Roster, services: Services, order: Callable[[e.Order], None]
    ) -> None:
        """Begin with none.

        Args:
            limits (Limits): The numbers to decide by.
            agenda (Agenda): The jobs.
            roster (Roster): The slots.
            services (Services): The processes that are to stay up.
            order (Callable[[e.Order], None]): Takes what is to be done.
        """
        self._limits = limits
        self._agenda = agenda
        self._roster = roster
        self._services = services
        self._order = order

    @property
    def at_rest(self) -> bool:
        """Whether every one has ended, or stands by."""
        return all(slot.dedicated is None or slot.phase is Phase.IDLE for slot in self._roster.slots.values())

    # --- beginning ----------------------------------------------------------------------------------------------------

    def open(self, number: int, spec: e.JobSpec) -> None:
        """Start the process of a job.

        Args:
            number (int): The job.
            spec (e.JobSpec): What it is like.
        """
        if self._agenda.refusing:
            self._order(e.ProcessOver(number, None))
            return
        if spec.restart is not None:
            self._services.open(number, spec.restart)
        self._roster.start(self._roster.add(spec.name, number))

    def woken(self, jobs: Iterable[Job]) -> None:
        """Take in that items which rested wait now.

        Args:
            jobs (Iterable[Job]): Theirs, also of the pool.
        """
        for job in jobs:
            for slot in self._gone_of(job.number):
                self._roster.start(slot)

    def _gone_of(self, number: int) -> list[Slot]:
        """Give the slot of a dedicated job if its process has ended; one that still lives is settled when it has."""
        return [slot for slot in self._roster.dedicated_to(number) if slot.phase is Phase.GONE]

    # --- ending, as the user wants it ---------------------------------------------------------------------------------

    def stop_asked(self, number: int, grace: float | None, now: float) -> None:
        """Let the function of a job come to its end.

        Args:
            number (int): The job; one whose process is not over.
            grace (float | None): Seconds that it may take for that; None for the default.
            now (float): Monotonic seconds.
        """
        job = self._agenda.jobs.get(number)
        self._order(e.Stopping(number, job is not None and bool(job.waiting or job.resting)))
        for slot in self._roster.dedicated_to(number):
            if slot.stop_asked:
                continue
            slot.stop_asked = slot.stopped_by_user = True
            if slot.phase is Phase.BUSY and slot.done < len(slot.items):
                self._roster.cease(slot, self._limits.stop_grace if grace is None else grace, now)
            elif slot.phase is Phase.STARTING:
                self._roster.stop(slot, now)  # the function has not begun
            elif slot.phase is Phase.GONE:
                self.settle(slot, number, slot.exitcode)  # it rests
            elif slot.finalized or not self._limits.finalizes:
                self._roster.ends_by_itself(slot, now)

    def unheard(self, number: int, now: float) -> None:
        """Take in that a process cannot hear that its function is to come to its end.

        Args:
            number (int): Its slot.
            now (float): Monotonic seconds.
        """
        slot = self._roster.slots.get(number)
        if slot is not None and slot.done < len(slot.items):  # else its function has ended meanwhile
            self._roster.stop(slot, now)

    def process_stopped(self, number: int, *, kill: bool) -> None:
        """Send a signal to the process of a job.

        Args:
            number (int): The job.
            kill (bool): SIGKILL instead of SIGTERM.
        """
        for slot in self._roster.dedicated_to(number):
            self._roster.stop_dedicated(slot, kill=kill)
            if slot.phase is Phase.GONE:
                self.settle(slot, number, slot.exitcode)  # its item rests, and will not be tried again
            elif slot.phase is Phase.IDLE:
                self._roster.set_idle(slot)  # it stands by, and is to make no more rows if it takes no notice

    def close_stream(self, job: Job, now: float) -> None:
        """End the process of a stream; then its job is to be stopped.

        Args:
            job (Job): One that makes rows.
            now (float): Monotonic seconds.
        """
        for slot in self._roster.dedicated_to(job.number):
            if slot.phase is Phase.BUSY and len(slot.items) > 1:
                self._order(e.Withdraw(slot.number))
            self._roster.close_stream(slot, now)

    def stop_services(self, now: float) -> None:
        """Stop those that are up one after the other, the one that was started last first, once it is time for that.

        Args:
            now (float): Monotonic seconds.
        """
        services, agenda = self._services, self._agenda
        while (number := services.last) is not None and not agenda.terminated:
            if not (services.failed or agenda.broken or (agenda.closing and self._only_services_are_left)):
                return
            if any(slot.stop_asked for slot in self._roster.dedicated_to(number)):
                return  # the next one's turn comes when it has ended
            self.stop_asked(number, None, now)

    @property
    def _only_services_are_left(self) -> bool:
        processes = (slot.dedicated for slot in self._roster.slots.values() if slot.dedicated is not None)
        return all(number in self._services for number in chain(self._agenda.jobs, processes))

    # --- ended --------------------------------------------------------------------------------------------------------

    def settle(self, slot: Slot, number: int, exitcode: int | None) -> None:
        """Start the process of a job again if its item still waits, else forget the slot.

        Args:
            slot (Slot): Its slot, without a process.
            number (int): The job.
            exitcode (int | None): Of the last process; None if it is not known.
        """
        slot.exitcode = exitcode
        job = self._agenda.jobs.get(number)
        if job is not None and job.waiting and job.can_restart and not slot.stopped_by_user:
            self._roster.start(slot)
        elif job is None or not job.resting or slot.stopped_by_user:
            attempts = job.tries.get(0, 0) if job is not None else 0
            self._forget(slot, number, e.Lost(slot.number, exitcode, attempts), exitcode)

    def not_launched(self, slot: Slot, number: int, detail: str) -> None:
        """Take in that the system refused a job its process.

        Args:
            slot (Slot): Its slot, without a process.
            number (int): The job.
            detail (str): What the system said.
        """
        self._services.fail(number)
        self._forget(slot, number, e.NotStarted(slot.number, detail), None)

    def stop_resting(self, job: Job) -> None:
        """Drop what waits or rests of a job, and forget its slot if no process of it lives.

        Args:
            job (Job): Any, also of the pool.
        """
        rests = job.spec.dedicated and bool(job.resting)
        self._agenda.stop(job.number)
        for slot in self._gone_of(job.number) if rests else ():
            self.settle(slot, job.number, slot.exitcode)

    def _forget(self, slot: Slot, number: int, unbegun: e.Outcome, exitcode: int | None) -> None:
        """Let a job's process be over. If its item still waits or rests, ``unbegun`` becomes of it."""
        del self._roster.slots[slot.number]
        job = self._agenda.jobs.get(number)
        if job is not None:
            items = self._agenda.backlog.clear(job)
            if items:
                self._order(e.Resolve(number, items, [unbegun] * len(items), slot.number))
            self._agenda.seal(number)  # if it is a stream, nobody will ever make another row
        self._services.over(number)
        # Last, so that whoever learns that the process is over finds its result.
        self._order(e.ProcessOver(number, exitcode))
