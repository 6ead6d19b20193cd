"""A thread that does a group all kinds of harm: kills its workers, cancels its futures, ends its processes."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter

from ledger import Ledger, Record
from system import is_below_us

from procorch import ProcessGroup


class Saboteur(threading.Thread):
    """Strikes at random moments, until it is told to stop."""

    def __init__(self, name: str, group: ProcessGroup, ledger: Ledger, chance: random.Random, pause: float) -> None:
        super().__init__(name=name, daemon=True)
        self._group = group
        self._ledger = ledger
        self._chance = chance
        self._pause = pause
        self._over = threading.Event()
        self.done: Counter[str] = Counter()

    def stop(self) -> None:
        """Let it come to an end."""
        self._over.set()

    def run(self) -> None:
        ways = [self._kill, self._stop_and_kill, self._stop_and_continue, self._cancel, self._end_started, self._look]
        try:
            while not self._over.wait(self._chance.uniform(0.0, 2 * self._pause)):
                self._chance.choices(ways, [5, 2, 1, 4, 1, 2])[0]()
        except BaseException as error:  # noqa: BLE001 - all that comes here is a fault of the group's
            self._ledger.complain(f"{self.name} got {error!r} from the group {self._group!r}")

    # --- workers ------------------------------------------------------------------------------------------------------

    def _victim(self) -> int | None:
        """Choose a process: seldom one that starts, since a hundred of these in a row are the group's end."""
        spared = {"starting"} if self._chance.random() < 0.8 else set()
        pids = [info.pid for info in self._group.processes if info.pid is not None and info.state not in spared]
        return self._chance.choice(pids) if pids else None

    def _strike(self, name: str, *numbers: signal.Signals) -> None:
        pid = self._victim()
        if pid is None:
            return
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        try:
            # With its descriptor in hand: the id may have gone to somebody else's process in between.
            if is_below_us(pid):
                for number in numbers:
                    signal.pidfd_send_signal(fd, number)
                    if number is signal.SIGSTOP:
                        self._over.wait(self._chance.uniform(0.0, 0.3))
                self.done[name] += 1
        except ProcessLookupError:
            pass  # it has ended meanwhile
        finally:
            os.close(fd)

    def _kill(self) -> None:
        number = self._chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM])
        self._strike(number.name, number)

    def _stop_and_kill(self) -> None:
        self._strike("SIGSTOP and SIGKILL", signal.SIGSTOP, signal.SIGKILL)

    def _stop_and_continue(self) -> None:
        self._strike("SIGSTOP and SIGCONT", signal.SIGSTOP, signal.SIGCONT)

    # --- work ---------------------------------------------------------------------------------------------------------

    def _recent(self) -> Record | None:
        exposed = self._ledger.exposed
        return self._chance.choice(exposed) if exposed else None

    def _cancel(self) -> None:
        record = self._recent()
        if record is None or record.future is None:
            return
        before = record.cancelled
        record.cancelled = True  # first: its outcome may be there before `cancel` returns
        running = record.future.running()
        cancelled = record.future.cancel()
        if cancelled:
            self.done["cancelled running" if running else "cancelled waiting"] += 1
            if not record.future.cancelled():
                self._ledger.complain(f"cancel gave {cancelled}, and the future is {record.future!r}")
        else:
            record.cancelled = before  # its outcome was known, if it had not come to the future yet

    def _end_started(self) -> None:
        record = self._recent()
        if record is not None and record.handle is not None:
            record.cancelled = True
            self._chance.choice([record.handle.terminate, record.handle.kill])()
            self.done["started process ended"] += 1

    def _look(self) -> None:
        repr(self._group)
        record = self._recent()
        if record is not None:
            repr(record.future or record.handle)
        self._group.join(timeout=self._chance.choice([0.0, 0.05]))
        self.done["looks"] += 1


class Ender(threading.Thread):
    """Ends the whole group at some moment."""

    def __init__(self, group: ProcessGroup, after: float, *, by_force: bool) -> None:
        super().__init__(name="ender", daemon=True)
        self._end = group.terminate if by_force else group.close
        self._at = time.monotonic() + after
        self._over = threading.Event()

    def stop(self) -> None:
        """Do not, if it has not come to that."""
        self._over.set()

    def run(self) -> None:
        if not self._over.wait(max(0.0, self._at - time.monotonic())):
            self._end()
