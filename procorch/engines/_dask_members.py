"""Who belongs to a cluster of dask, and the news when that changes. Part of it runs in dask's scheduler.

Asked is the scheduler, by a call that it answers when somebody has joined or left, or after a while. So a worker that
dies is known of as soon as the scheduler knows.
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
        self._wanted = None if wanted is None else set(wanted)
        self._resources = resources
        self._ids: set[str] | None = None  # of all that the scheduler has told; None before the first time
        self.known: dict[str, Member] = {}
        """By address."""
        self.unfit: dict[str, str] = {}
        """Addresses of workers that cannot run items, and why."""

    async def change(self) -> tuple[list[Member], list[Member]]:
        """Wait until somebody has joined or left, or for a while.

        Returns:
            tuple[list[Member], list[Member]]: Those that have left, and those that have joined.

        Raises:
            OSError: The scheduler cannot be asked any more.
        """
        found: list[Found] = await self._client.run_on_scheduler(_when_changed, self._ids, asynchronous=True)
        now = self._ids = {one.id for one in found}
        left = [one for one in self.known.values() if one.id not in now]
        for one in left:
            del self.known[one.address]
        addresses = {one.address for one in found}
        self.unfit = {address: why for address, why in self.unfit.items() if address in addresses}
        joined = await self._meet([one for one in found if one.address not in self.known and self._size(one)])
        self.known.update((one.address, one) for one in joined)
        return left, joined

    def _size(self, found: Found) -> int:
        if self._wanted is not None and not self._wanted & {found.address, found.name}:
            return 0
        fits = [int(found.resources.get(key, 0) // need) for key, need in self._resources.items() if need]
        return min([found.threads, *fits])

    async def _meet(self, found: list[Found]) -> list[Member]:
        if not found:
            return []
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
            elif isinstance(answer, tuple):
                self.unfit[one.address] = f"it has procorch {answer[2]}, and this process {here}"
            else:
                self.unfit[one.address] = f"procorch cannot be loaded there: {type(answer).__name__}: {answer}"
        return members
