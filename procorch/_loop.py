"""Who waits for the workers: the supervisor's thread, and sometimes, in its place, a caller who waits for a result.

    engine.wait --> worker.read --(under the lock)--> scheduler --orders--> workers

Processes are started only by the supervisor's thread. While a caller waits in its place, it naps.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from typing_extensions import override

from procorch import _events as e
from procorch._condition import SLICE_SECONDS
from procorch._core import Core
from procorch._daemon import Daemon
from procorch._engine import ALL, Capabilities, Engine, Worker
from procorch._hands import Deliveries
from procorch._messages import Serving
from procorch._policy import Limits
from procorch._records import replay
from procorch._spin import Spin
from procorch.events import Event

_NAP_SECONDS = 0.002
"""How long the supervisor's thread leaves the workers to callers who have just waited for one: the next comes soon, or
never. A result that is waited for in another way may come so much later, once."""

_CROWDED_SECONDS = 0.02
"""How long after there was other work, or a caller that waited in another way, no caller waits for workers himself: the
way between two who do in turns is longer than that from the supervisor's thread."""


class Loop(Core):
    """A group with the threads that wait for its workers."""

    @override
    def __init__(
        self,
        name: str,
        make_engine: Callable[[], Engine],
        limits: Limits,
        *,
        capabilities: Capabilities = ALL,
        engine_name: str = "",
        on_event: Callable[[Event], object] | None = None,
    ) -> None:
        super().__init__(
            name, make_engine, limits, capabilities=capabilities, engine_name=engine_name, on_event=on_event
        )
        self._thread: threading.Thread | None = None
        self._has_thread = False  # whether it runs, and did not just seem to
        self._has_left = False  # whether it is about to close the engine, or has
        self._deliveries: Deliveries = deque()  # of that thread
        self._crowded_at = -1.0  # when several callers had work under way
        self._spin = Spin()  # of callers in its place
        self._beats = 0  # grows while callers wait in its place
        self._sleeps_deeply = False  # it will not look for itself whether one still does

    def _ensure_thread(self) -> None:
        if self._thread is not None:
            return
        try:
            self._engine = self._make_engine()
            # A daemon, so that a group that was never closed keeps nobody from exiting; see _exit.
            self._thread = Daemon(self._run, f"procorch-{self.name}")
            self._thread.start()
            self._has_thread = True
        except BaseException:
            # The system has no room for a thread; or an interrupt came. If it runs after all, it sees that it is not
            # wanted: see `_run`. Whoever comes next gets another.
            self._thread, self._has_thread = None, False
            if self._engine is not None:
                self._engine.close()
                self._engine = None
            raise

    # --- the supervisor's thread --------------------------------------------------------------------------------------

    def _run(self) -> None:
        with self._lock:
            if self._thread is not threading.current_thread():
                return
        try:
            if self._observer is not None:
                # Not in the caller's thread: an interrupt there may let this one never run, and nobody tell of the end.
                with self._lock:
                    self._observer.began(self._place.clock(), wall=time.time(), pid=self._pid)
            while not self._was_interrupted and self._step():
                pass
            if self._was_interrupted:
                self._give_up("was interrupted in the middle of a call")
        except (MemoryError, OSError) as error:
            self._give_up(f"cannot go on, as the system refused it what it needs: {type(error).__name__}: {error}")
            raise
        except BaseException:
            self._give_up("failed inside; please report the traceback that its thread printed")
            raise
        finally:
            with self._lock:
                # With a limit, as an interrupt may have let one go unnoticed.
                self._lock.wait_for(lambda: self._helper is None, 4 * SLICE_SECONDS)
                self._has_left = True
            now = self._tally.ended = self._place.clock()
            try:
                self._place.close()
            finally:
                self._end(now)

    def _end(self, now: float) -> None:
        """Tell everybody that it is over."""
        if self._observer is not None:
            self._observer.ended(now)
        self.callbacks.close()
        with self._lock:
            self._over = True
            # Whom it tells may refer to the group, which would stay for ever. Let go of without the lock.
            observer, self._observer = self._observer, None
            self._lock.notify_all()
        del observer
        self._deliver_left_over()
        self.callbacks.call_left()

    def _step(self) -> bool:
        """Wait for something and deal with it.

        Returns:
            bool: False once there is nothing left to wait for.
        """
        with self._lock:
            if self._was_interrupted:
                return True
            if self._scheduler.finished and not self._mailbox and self._helper is None:
                return False
            self._napping = self._helper is not None
            timeout = self._plan()
        ready: Sequence[Worker] = ()
        if self._napping:
            self._sleep()
        else:
            ready = self._place.wait(timeout)
        with self._lock:
            if self._was_interrupted:
                return True
            if self._helper is not None and not self._napping:
                self._place.wake()  # what woke this thread may have been meant for that caller
            if not self._may_read(self._deliveries):
                self._napping = self._sleeps_deeply = False
                return True
            self._napping = self._sleeps_deeply = False
            self._take_in(ready, self._deliveries)
            starts = len(self._hands.to_start)
        self._deliver(self._deliveries)
        for _ in range(starts):
            self._start_next(self._deliveries)
        return True

    def _sleep(self) -> None:
        """Leave the workers to callers, as long as there is one every now and then."""
        beats = self._beats
        seconds = _NAP_SECONDS
        while not self._nap.acquire(True, seconds):
            with self._lock:
                if beats == self._beats and (self._helper is None or self._sleeps_deeply):
                    self._helper = None  # nobody waits for workers: nobody came, or an interrupt let one go unnoticed
                    return
                beats = self._beats
                self._sleeps_deeply = self._helper is not None
                seconds = 2 * SLICE_SECONDS if self._sleeps_deeply else _NAP_SECONDS

    def _plan(self) -> float | None:
        """Tell how long to wait. Called under the lock."""
        self._sleeps_until = self._scheduler.next_deadline()
        if self._mailbox or self._hands.to_start:
            return 0.0
        return None if self._sleeps_until is None else max(0.0, self._sleeps_until - self._place.clock())

    def _take_in(self, ready: Sequence[Worker], deliveries: Deliveries) -> None:
        """Deal with what there is. Called under the lock, by whom `_may_read` lets."""
        self._roused = False
        if self._was_interrupted:
            return  # what is known of the group cannot be relied on
        # First, so that a worker that has come to an end finds what has been put there meanwhile.
        self._look_into_decks(deliveries)
        self._look_at_room(deliveries)
        for worker in ready:
            if self._hands.workers.get(worker.slot) is not worker:
                continue  # it is being started in this moment, by another thread: a caller's is too early for its news
            for event in worker.read():
                self._pass_on_logged(worker, deliveries)
                if isinstance(event, e.WorkerDied):
                    self._pass_on_said(worker, is_last=True)
                self._tell(event, deliveries)
                if isinstance(event, e.WorkerDied):
                    self._hands.bury(event.slot)
                    self._lock.notify_all()
            self._pass_on_logged(worker, deliveries)
            self._pass_on_said(worker)
        deadline = self._scheduler.next_deadline()
        if deadline is not None and deadline <= self._place.clock():
            self._tell(e.TimePassed(), deliveries)
        while self._mailbox:
            self._tell(self._mailbox.popleft(), deliveries)
        if self._scheduler.hungry:
            # Once more: whoever puts an item there looks for a free worker afterwards, and has seen this one, or had
            # not yet when it became free just now.
            self._look_into_decks(deliveries)
        if deliveries:
            self._telling = deliveries

    def _may_read(self, deliveries: Deliveries | None, seconds: float = SLICE_SECONDS) -> bool:
        """Wait a while until nothing is being delivered of what workers have told. Called under the lock.

        Records are handled in their order, and before the result of the item that logged them; so no thread may deliver
        what a worker told next while another is still about what it told first.

        Args:
            deliveries (Deliveries | None): Of this thread; None for those that it is still to get.
            seconds (float): How long to wait at most.

        Returns:
            bool: Whether this thread may `_take_in` what there is now.
        """

        def may() -> bool:
            return self._telling is None or self._telling is deliveries

        return may() or self._lock.wait_for(lambda: may() or self._was_interrupted, seconds)

    def attend(self) -> None:
        """Deal with what workers have told so far, in the thread of a caller who has more to do before he waits.

        While it does that the supervisor's thread would have to wait for the interpreter's lock, up to 5 ms each time.
        """
        if self._place.shareable and self._helper is None:
            self._act(self._attend)

    def _attend(self, deliveries: Deliveries) -> None:
        """Take in what there is now. Called under the lock, so that nobody takes the engine away meanwhile."""
        if not self._has_left:
            self._take_in_turn(self._place.wait(0.0), deliveries)

    def help(self, done: Callable[[], bool], timeout: float | None, *, again: bool = False) -> float | None:
        """Wait for workers in the place of the supervisor's thread, in a caller's: that saves the way between the two.

        Does nothing where that is of no use: another caller does it, or there is other work whose outcomes would be
        late whenever this caller does something else. Nor in a forked copy of the process: it would take what the
        workers tell from the one that they belong to.

        Args:
            done (Callable[[], bool]): Whether the caller has what it waits for.
            timeout (float | None): Seconds at most; None for no limit.
            again (bool): Whether the caller will soon wait for more of the same: then the supervisor's thread has its
                nap to the end.

        Returns:
            float | None: Seconds that are left of the timeout; None for no limit.
        """
        until = None if timeout is None else time.monotonic() + timeout
        if os.getpid() == self._pid:
            self._help(done, until, again=again)
        return None if until is None else max(0.0, until - time.monotonic())

    def _help(self, done: Callable[[], bool], until: float | None, *, again: bool) -> None:
        with self._lock:
            if self._helper is not None or not self._may_help():
                return
            self._helper = _thread.get_ident()
            napping = self._napping
        try:
            if not napping:
                self._place.wake()
            while not done() and not self._was_interrupted and (until is None or time.monotonic() < until):
                self._beats += 1
                self._help_once(until)
        finally:
            with self._lock:
                self._helper = None
                self._lock.notify_all()  # the supervisor's thread does not end before
                busy = not again and not self._scheduler.unoccupied
                wanted = not done() or busy or self._hands.to_start or self._closing
                if wanted or self._sleeps_deeply:
                    self._wake()

    def come_back(self) -> None:
        """Let the supervisor's thread look after the workers at once: a caller is about to wait in another way."""
        self._crowded_at = time.monotonic()
        if self._napping and self._helper is None:
            self._wake()

    def _may_help(self) -> bool:
        thread = self._thread
        return (
            self._place.shareable
            and len(self._hands.jobs) == 1
            and time.monotonic() > self._crowded_at + _CROWDED_SECONDS
            and not self._hands.to_start
            and not self._closing
            and thread is not None
            and thread.ident != _thread.get_ident()
        )

    def _help_once(self, until: float | None) -> None:
        left = SLICE_SECONDS if until is None else min(SLICE_SECONDS, max(0.0, until - time.monotonic()))
        with self._lock:
            if not self._may_read(None, left):
                return
            timeout = self._plan()
        timeout = left if timeout is None else min(timeout, left)
        ready = self._spin.wait(partial(self._place.wait, 0.0), partial(self._place.wait, timeout))
        self._act(partial(self._take_in_turn, ready))

    def _take_in_turn(self, ready: Sequence[Worker], deliveries: Deliveries) -> None:
        """Take in what there is, unless another thread has begun meanwhile. Called under the lock."""
        if self._may_read(None, 0.0):
            self._take_in(ready, deliveries)

    def _pass_on_logged(self, worker: Worker, deliveries: Deliveries) -> None:
        """Put the handling of what a worker logged before the deliveries of what it tells next."""
        logged = worker.take_logged()
        if logged:
            slot = self._scheduler.slots[worker.slot]
            job = self._hands.jobs.get(slot.job) if slot.job is not None else None
            deliveries.append(partial(replay, logged, job, slot.items))
            self._undelivered += 1

    def _pass_on_said(self, worker: Worker, *, is_last: bool = False) -> None:
        """Let whoever listens to a worker's item hear what it has said."""
        said = worker.take_said()
        if not (said or is_last):
            return
        slot = self._scheduler.slots.get(worker.slot)
        talk = self._hands.talks.get(slot.dedicated) if slot is not None and slot.dedicated is not None else None
        if talk is None:
            return
        if said:
            talk.hear(said)
            if self._observer is not None and any(type(one) is Serving for one in said):
                self._observer.serves(worker.slot, self._place.clock())
        if is_last:
            talk.lost()

    def _look_into_decks(self, deliveries: Deliveries) -> None:
        for job in tuple(self._hands.streams.values()):
            self._take(job, deliveries)

    def _start_next(self, deliveries: Deliveries) -> None:
        """Start the next process that is ordered. That takes a while, and is done without the lock."""
        with self._lock:
            if self._was_interrupted:
                return
            order = self._hands.next_start()
        if order is None:
            return
        worker, refusal = None, ""
        try:
            worker = self._place.start(order.slot, order.name)
        except Exception as error:  # noqa: BLE001 - the system, or multiprocessing, has many ways to refuse
            refusal = f"{type(error).__name__}: {error}"
        with self._lock:
            if self._was_interrupted and worker is not None:
                self._hands.workers[order.slot] = worker  # to be killed with the others
            elif worker is None:
                self._hands.refused()
                self._tell(e.LaunchFailed(order.slot, refusal), deliveries)
                self._hands.bury(order.slot)
            else:
                if self._observer is not None:
                    self._observer.started(order.slot, order.name, worker.pid, self._place.clock())
                before = len(deliveries)
                self._hands.started(order, worker, self._scheduler.slots[order.slot].dedicated, deliveries)
                self._undelivered += len(deliveries) - before
        self._deliver(deliveries)

    def _give_up(self, reason: str) -> None:
        """Leave nobody waiting and no process alive, when what is known of the group cannot be relied on."""
        with self._lock:
            self._was_interrupted = self._closing = True
            self.ending.reason = reason
            self.ending.cause = self.ending.plain
            self._left_over.extendleft(reversed(self._deliveries))
            self._deliveries.clear()
            self._tally.dropped += sum(len(job.left()) for job in self._hands.jobs.values())
            self._left_over.extend(self._hands.drop_all())
            self._scheduler.forget_all()
            workers, self._hands.workers = self._hands.workers, {}  # nobody else is to read what they tell
        with contextlib.suppress(MemoryError, OSError):  # once more; then the engine ends them when it is closed
            for worker in workers.values():
                worker.kill()
            while workers:
                for worker in self._place.wait(None):
                    if self._is_gone(worker):
                        workers.pop(worker.slot, None)
        self._deliver_left_over()
        with self._lock:
            self._undelivered = 0

    def _is_gone(self, worker: Worker) -> bool:
        """Read what a killed worker has to tell, to its end, whatever that is."""
        gone = False
        try:
            for event in worker.read():
                gone |= isinstance(event, e.WorkerDied)
                if self._observer is not None:
                    self._observer.saw(event, (), self._place.clock())
        except Exception:  # noqa: BLE001 - what it tells may be just what this group has failed of
            gone = True
        return gone
