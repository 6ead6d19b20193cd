"""Who belongs to a cluster of dask, and the news when that changes. Part of it runs in dask's scheduler.

Asked is the scheduler, by a call that it answers when somebody has joined or left, or after a while; those that have
joined are asked themselves meanwhile. So a worker that dies is known of as soon as the scheduler knows.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, cast

import attrs
from distributed import Client
from distributed.diagnostics.plugin import SchedulerPlugin
from distributed.scheduler import Scheduler
from typing_extensions import override

_ANSWER_SECONDS = 30.0
"""How long the scheduler waits with its answer if nothing changes: what is left of a client that is gone ends then."""


class Found(NamedTuple):
    """A worker, as the scheduler knows it."""

    address: str
    id: str
    """Of this very process: one that takes its address later has another."""
    name: str
    threads: int
    resources: dict[str, float]


@attrs.frozen
class Member:
    """A worker that can run items."""

    address: str
    id: str
    name: str
    size: int
    """Chunks that it runs at once."""
    pid: int
    host: str


class _Watch(SchedulerPlugin):
    """Tells when a worker joins or leaves."""

    def __init__(self) -> None:
        self.name = f"procorch-{uuid.uuid4().hex}"
        self.changed = asyncio.Event()

    @override
    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        self.changed.set()

    @override
    def remove_worker(self, scheduler: Scheduler, worker: str, *, stimulus_id: str, **kwargs: Any) -> None:
        self.changed.set()


def _find(scheduler: Scheduler) -> list[Found]:
    return [
        Found(address, str(state.server_id), str(state.name), state.nthreads, dict(state.resources))
        for address, state in scheduler.workers.items()
    ]


async def _when_changed(known: set[str] | None, dask_scheduler: Scheduler) -> list[Found]:
    """Answer when the workers are others than those known, if any are, or after a while. Runs in dask's scheduler."""
    watch = _Watch()
    dask_scheduler.add_plugin(watch)
    found = _find(dask_scheduler)
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            while {one.id for one in found} == known:
                watch.changed.clear()
                await watch.changed.wait()
                found = _find(dask_scheduler)
        return found
    except TimeoutError:
        return found
    finally:
        dask_scheduler.remove_plugin(watch.name)


def _introduce() -> tuple[int, str, str]:
    """Tell which process this is, and which procorch it has. Runs in a worker."""
    return os.getpid(), socket.gethostname(), str(vars(sys.modules["procorch"])["__version__"])


class Members:
    """The workers that can run items. In the client's event loop."""

    def __init__(self, client: Client, wanted: Iterable[str] | None, resources: Mapping[str, float]) -> None:
        """Know nobody yet.

        Args:
            client (Client): Of dask.
            wanted (Iterable[str] | None): Addresses or names of the workers that count; None for all.
            resources (Mapping[str, float]): Of dask, what each chunk needs of its worker.
        """
        self._client: Any = client  # the library tells few of its types
        self._wanted = None if wanted is None else {str(one) for one in wanted}  # names may be numbers
        self._resources = resources
        self._ids: set[str] | None = None  # of all that the scheduler has told; None before the first time
        self._strangers: list[Found] = []  # who are to be met
        self._guests: list[Found] = []  # who are being met
        # What goes on from one `change` to the next, so that nothing is lost with one that is cancelled.
        self._question: asyncio.Task[list[Found]] | None = None
        self._meeting: asyncio.Task[list[Member]] | None = None
        self.known: dict[str, Member] = {}
        """By address."""
        self.unfit: dict[str, str] = {}
        """Addresses of workers that cannot run items, and why."""

    async def change(self) -> tuple[list[Member], list[Member]]:
        """Wait until somebody has joined or left, or for a while. `rest` follows the last.

        Returns:
            tuple[list[Member], list[Member]]: Those that have left, and those that have joined.

        Raises:
            OSError: The scheduler cannot be asked any more.
        """
        while True:
            self._begin()
            under_way = [task for task in (self._question, self._meeting) if task is not None]
            await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            left, joined = self._answered(), self._met()
            if left or joined or not (self._strangers or self._guests):
                return left, joined

    def _begin(self) -> None:
        """Ask the scheduler, and meet who is to be met, unless both go on already."""
        if self._question is None:
            asking = self._client.run_on_scheduler(_when_changed, self._ids, asynchronous=True)
            self._question = asyncio.ensure_future(asking)
        if self._strangers and self._meeting is None:
            self._guests, self._strangers = self._strangers, []
            self._meeting = asyncio.ensure_future(self._meet(self._guests))

    def _answered(self) -> list[Member]:
        """Take in the scheduler's answer, if there is one; give those that have left."""
        if self._question is None or not self._question.done():
            return []
        question, self._question = self._question, None
        found = question.result()
        self._ids = {one.id for one in found}
        left = [one for one in self.known.values() if one.id not in self._ids]
        for one in left:
            del self.known[one.address]
        addresses = {one.address for one in found}
        self.unfit = {address: why for address, why in self.unfit.items() if address in addresses}
        met = {*self.known.keys(), *(one.address for one in self._guests if one.id in self._ids)}
        self._strangers = [one for one in found if one.address not in met and self._size(one)]
        return left

    def _met(self) -> list[Member]:
        """Take in whom a meeting has found fit, if it is over; who has left meanwhile has not joined."""
        if self._meeting is None or not self._meeting.done():
            return []
        meeting, self._meeting, self._guests = self._meeting, None, []
        joined = [one for one in meeting.result() if one.id in (self._ids or ())]
        self.known.update((one.address, one) for one in joined)
        return joined

    def rest(self) -> None:
        """Leave nothing behind in the event loop. A further `change` goes on from here."""
        for task in (self._question, self._meeting):
            if task is not None:
                task.cancel()
                task.add_done_callback(_take_no_notice)
        self._strangers, self._guests = [*self._guests, *self._strangers], []
        self._question = self._meeting = None

    def _size(self, found: Found) -> int:
        if self._wanted is not None and not self._wanted & {found.address, found.name}:
            return 0
        fits = [int(found.resources.get(key, 0) // need) for key, need in self._resources.items() if need]
        return min([found.threads, *fits])

    async def _meet(self, found: list[Found]) -> list[Member]:
        addresses = [one.address for one in found]
        said: dict[str, Any] = await self._client.run(
            _introduce, workers=addresses, on_error="return", asynchronous=True
        )
        here = _introduce()[2]
        members: list[Member] = []
        for one in found:
            answer = said.get(one.address)
            self.unfit.pop(one.address, None)
            if isinstance(answer, tuple) and answer[2] == here:
                pid, host, _ = cast("tuple[int, str, str]", answer)
                members.append(Member(one.address, one.id, one.name, self._size(one), pid, host))
            elif one.id in (self._ids or ()):
                self.unfit[one.address] = _why(said.get(one.address), here)
        return members


def _take_no_notice(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()  # or asyncio complains of one that nobody has seen


def _why(answer: Any, here: str) -> str:
    """Say why a worker that gave this answer cannot run items."""
    if isinstance(answer, tuple):
        return f"it has procorch {answer[2]}, and this process {here}"
    trouble = "it cannot be reached" if isinstance(answer, OSError) else "procorch cannot be loaded there"
    return f"{trouble}: {type(answer).__name__}: {answer}"
