"""What outcomes and deaths mean: which item has its outcome, which is tried again, what a death costs.

A part of the scheduler, and as pure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import attrs

from procorch import _events as e
from procorch._agenda import Agenda
from procorch._backlog import Job
from procorch._messages import Failure, Plain, Retriable, Value
from procorch._policy import Limits
from procorch._services import Services
from procorch._slot import Slot
from procorch.events import Reason

L = TypeVar("L", bound=Value | Failure | e.Lost | e.TimedOut | Plain)


class Judge:
    """See the module's text."""

    def __init__(self, limits: Limits, agenda: Agenda, services: Services, order: Callable[[e.Order], None]) -> None:
        """Begin.

        Args:
            limits (Limits): The numbers to decide by.
            agenda (Agenda): Where items go that are to be tried again.
            services (Services): Decides for those that are to stay up.
            order (Callable[[e.Order], None]): Takes what is to be done.
        """
        self._limits = limits
        self._agenda = agenda
        self._services = services
        self._order = order

    # --- what finished ------------------------------------------------------------------------------------------------

    def recorded(self, slot: Slot, job: Job, outcomes: Sequence[e.ItemOutcome] | Plain, now: float) -> None:
        """Decide what becomes of items that have finished.

        Args:
            slot (Slot): Which worker had them.
            job (Job): Theirs.
            outcomes (Sequence[e.ItemOutcome] | Plain): What became of the next ones of its chunk; at least one.
            now (float): Monotonic seconds.
        """
        items = slot.items[slot.done : slot.done + len(outcomes)]
        slot.done += len(outcomes)
        slot.finished += len(outcomes)
        if job.spec.restart is not None and self._has_returned(outcomes):
            self._returned(slot, job, items, outcomes, now)
            return
        if isinstance(outcomes, Plain):
            self._order(e.Resolve(job.number, items, outcomes, slot.number))
            return
        final: Sequence[e.Outcome] = outcomes  # type: ignore[assignment]  # without retries, nothing is retriable
        lost = isinstance(outcomes[0], e.Lost | e.TimedOut)
        judged = bool(job.spec.retries) or job.spec.restart is not None
        if judged or self._agenda.is_unwanted(job) or slot.expired is not None or lost:
            items, final = self._judge(slot, job, items, outcomes, now)
        if items:
            self._order(e.Resolve(job.number, items, final, slot.number))
        if job.spec.stop_on_failure and not job.stopped and any(type(one) is not Value for one in final):
            self._agenda.stop(job.number)

    def _judge(
        self, slot: Slot, job: Job, items: Sequence[int], outcomes: Sequence[e.ItemOutcome], now: float
    ) -> tuple[list[int], list[e.Outcome]]:
        """Decide what the outcomes of items mean; those that are to be tried again have none yet."""
        final: dict[int, e.Outcome] = {}
        for item, outcome in zip(items, outcomes, strict=True):
            if isinstance(outcome, Value):
                final[item] = outcome
            elif self._agenda.is_unwanted(job):
                final[item] = e.Dropped()  # whatever it failed with, it failed because it was told to end
            elif isinstance(outcome, e.Lost | e.TimedOut):
                reason: Reason = "crashed" if isinstance(outcome, e.Lost) else "timed out"
                if not outcome.attempts or not self._try_again(slot, job, item, reason, now):
                    attempts = job.tries.get(item, 0)
                    final[item] = attrs.evolve(outcome, slot=slot.number, attempts=attempts)
            elif item == slot.expired:
                self._tried(slot, job, item, e.Remains(failure=Failure(outcome.payload)), None, now)
            else:
                failure = Failure(outcome.payload)
                again = isinstance(outcome, Retriable) or job.spec.restart is not None
                if not (again and self._try_again(slot, job, item, "raised", now, failure)):
                    final[item] = self._last(slot, job, "raised", failure)
        return list(final), list(final.values())

    @staticmethod
    def _has_returned(outcomes: Sequence[e.ItemOutcome] | Plain) -> bool:
        return isinstance(outcomes, Plain) or isinstance(outcomes[0], Value)

    def _returned(
        self, slot: Slot, job: Job, items: Sequence[int], outcomes: Sequence[e.ItemOutcome] | Plain, now: float
    ) -> None:
        """Decide what becomes of a service whose function has returned."""
        assert job.spec.restart is not None
        if job.spec.restart.on == "always" and self._try_again(slot, job, items[0], "returned", now):
            return
        value = outcomes if isinstance(outcomes, Plain) else outcomes[0]
        assert isinstance(value, Plain | Value)
        outcome = self._last(slot, job, "returned", value)
        self._order(e.Resolve(job.number, items, outcome if isinstance(outcome, Plain) else [outcome], slot.number))

    # --- what a death costs -------------------------------------------------------------------------------------------

    def blame(self, slot: Slot, job: Job, died: e.WorkerDied, now: float) -> None:
        """Decide what the death of a worker with a chunk costs.

        Args:
            slot (Slot): Which one; its chunk is taken from it after this.
            job (Job): Whose items it had.
            died (e.WorkerDied): What is known.
            now (float): Monotonic seconds.
        """
        culprits = slot.items[slot.done : died.begun]
        rest = list(slot.items[max(slot.done, died.begun) :])
        if job.makes_rows and rest and rest[0] and not (culprits or job.stopped):
            self._lose(slot, job, rest.pop(0), died.remains, died.exitcode)  # no other process can make that row
        elif not died.begun and not job.stopped:
            # What kills workers may be the item's way to them: it is too large, or loading its function crashes.
            deaths = job.unbegun[rest[0]] = job.unbegun.get(rest[0], 0) + 1
            if deaths >= self._limits.max_unbegun_deaths:
                self._services.fail(job.number)
                self._lose(slot, job, rest.pop(0), died.remains, died.exitcode)
        self._agenda.give_back(job, rest)
        for item in reversed(culprits):
            self._tried(slot, job, item, died.remains, died.exitcode, now)

    def _tried(self, slot: Slot, job: Job, item: int, remains: e.Remains, exitcode: int | None, now: float) -> None:
        """Try an item again that was begun in vain, or lose it."""
        reason: Reason = "timed out" if item == slot.expired else "crashed"
        if not self._try_again(slot, job, item, reason, now, remains.failure, exitcode):
            self._lose(slot, job, item, remains, exitcode)

    def _lose(self, slot: Slot, job: Job, item: int, remains: e.Remains, exitcode: int | None) -> None:
        attempts = job.tries.get(item, 0)
        outcome: e.Outcome
        if self._agenda.is_unwanted(job):
            outcome = e.Dropped()
        elif item == slot.expired and slot.limit is not None:
            outcome = self._last(slot, job, "timed out", e.TimedOut(slot.number, slot.limit, attempts, remains))
        else:
            outcome = self._last(slot, job, "crashed", e.Lost(slot.number, exitcode, attempts, remains))
        self._order(e.Resolve(job.number, (item,), (outcome,), slot.number))
        if job.spec.stop_on_failure and not job.stopped:
            self._agenda.stop(job.number)

    # --- whether there is another try ---------------------------------------------------------------------------------

    def _try_again(
        self,
        slot: Slot,
        job: Job,
        item: int,
        reason: Reason,
        now: float,
        failure: Failure | None = None,
        exitcode: int | None = None,
    ) -> bool:
        """Count a try that was in vain. If there is another, let the item wait for it."""
        attempts = job.tries[item] = job.tries.get(item, 0) + 1
        if job.stopped or self._agenda.refusing or slot.stopped_by_user:
            return False
        restart = job.spec.restart
        if restart is not None:
            decided = self._services.restart(job.number, restart, now)
            if decided is None:
                return False
            restarts, seconds = decided
            self._order(e.Restarted(slot.number, slot.name, job.number, restarts, seconds, reason, failure, exitcode))
        elif attempts > job.spec.retries:
            return False
        else:
            self._order(e.CountRetry(slot.number, job.number, item, attempts, reason))
            seconds = job.spec.backoff.seconds(attempts)
        if seconds:
            self._agenda.backlog.rest(job, item, now + seconds)
        else:
            self._agenda.backlog.enqueue(job, (item,), front=True)
        return True

    def _last(self, slot: Slot, job: Job, reason: Reason, outcome: L) -> L | e.GivenUp:
        """Give what becomes of an item that is not tried again: of a service's, that it has failed for good."""
        restart = job.spec.restart
        if restart is None or not self._services.has_given_up(job.number):
            return outcome
        return e.GivenUp(slot.number, restart, self._services.restarts(job.number), reason, outcome)
