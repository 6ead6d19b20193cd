"""The engine that is a cluster of dask: ``ProcessGroup(engine=DaskEngine(client))``. Needs the extra ``dask``.

    group's threads --assignment--> client's event loop --task, pinned to one process--> worker of dask: _agent.run,
                    <---answer-----                     <--------------- gather ----------------     or _far.run
                                                        --"how far, and no further"----> its event loop: _far.look

Each chunk is a task of dask that may run in one process only, the one that it was placed on, and once only there: what
dask runs again when a worker dies, or when a result is lost with it, is refused where it arrives. So a chunk is begun
at most once, whatever ``distributed.scheduler.allowed-failures`` says.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import pickle
import threading
import time
from collections import deque
from collections.abc import Coroutine, Iterable, Mapping
from concurrent.futures import Future
from functools import partial
from typing import Any

import attrs
from distributed import Client
from distributed.cfexecutor import ClientExecutor
from typing_extensions import override

from procorch import _messages as m
from procorch._assignments import Answer, Assignment, Given
from procorch._crates import Carried, Crate, pack
from procorch._engine import Capabilities, Room, SharedData
from procorch._lanes import Died, Lane, LaneEngine, Untouched, Watched
from procorch._policy import check_bool, check_count
from procorch.engines import _dask_worker
from procorch.engines._dask_data import DaskFuture, Data
from procorch.engines._dask_members import Member, Members
from procorch.engines._needs import check_needs
from procorch.engines._placement import Placement

__all__ = ["DaskEngine"]

_DEPTH = 2
"""Chunks on their way to, or with, a worker for each of its threads: one that runs, and one that waits for its end."""

_APART_BYTES = 1 << 18
"""Arguments, functions and shared objects from which on data go to the worker as data, past the graph of tasks, which
the scheduler opens and keeps in memory."""

_CONNECT_SECONDS = 30.0
_FORGET_SECONDS = 2.0
"""How long the end of a group waits until workers have let go of what was shared with them."""

_log = logging.getLogger(__name__)


ISOLATED = Capabilities(
    kill=True,
    limit=True,
    cancel="running",
    names=True,
    crash_isolation="item",
    broadcast=True,
    recall=True,
    prepare=True,
    recycle=True,
)
"""With processes of procorch beside dask's workers. The loss of such a worker costs the chunks that it had."""

BARE = Capabilities(names=True, crash_isolation="chunk", broadcast=True, recall=True)
"""Without."""


@attrs.define(eq=False)
class _Placed:
    """A chunk on its way, with a worker, or on its way back."""

    lane: Lane
    assignment: Assignment
    member: Member
    shared: tuple[m.Share, ...]
    """What its items may refer to."""
    task: Future[None] | None = None


class DaskEngine(LaneEngine):
    """Runs a group's items on a cluster of dask. For one group at a time; several engines may use one client."""

    def __init__(
        self,
        client: Client | str,
        *,
        workers: Iterable[str] | None = None,
        resources: Mapping[str, float] | None = None,
        priority: int = 0,
        isolate: bool = True,
    ) -> None:
        """Connect, and see who is there.

        Args:
            client (Client | str): A synchronous client of dask, which stays open; or the address of a scheduler, such
                as ``"tcp://10.0.0.1:8786"``, for a client of the engine's own, which is closed with the group.
            workers (Iterable[str] | None): Addresses or names of the workers to use; None for all, those that join
                later included.
            resources (Mapping[str, float] | None): What a chunk needs of a worker, as dask's ``resources``.
            priority (int): Of the engine's tasks among others, as dask's ``priority``.
            isolate (bool): Whether items run in processes of procorch beside dask's workers: then they can be stopped,
                and a crash costs an item. False runs them in dask's workers themselves, where they find what is loaded
                there, and `distributed.get_worker`.

        Raises:
            TypeError: ``client`` is neither, or asynchronous; or another argument has a wrong type.
            ValueError: An amount in ``resources`` is negative, or without an end.
            OSError: No scheduler answers there.
            RuntimeError: There are workers, and none of them can load this version of procorch.
        """
        super().__init__(ISOLATED if check_bool("isolate", isolate) else BARE, keeps_limits=isolate)
        self._isolate = isolate
        if isinstance(workers, str):
            raise TypeError(f"workers must be addresses or names of several workers; for one, [{workers!r}]")
        wanted = None if workers is None else list(workers)
        self._resources = check_needs("resources", resources)
        self._priority = check_count("priority", priority, least=-(1 << 31))
        if isinstance(client, Client):
            self._address = None
            if client.asynchronous:
                raise TypeError("client must be a synchronous one: a group waits in its caller's thread")
        elif isinstance(client, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # not everybody checks
            self._address = client
            client = Client(client, set_as_default=False)
        else:
            raise TypeError(f"client must be a distributed.Client or the address of a scheduler, not {client!r}")
        self._client: Any = client  # its types are another matter in each release
        self._lock = threading.Lock()
        self._placement = Placement()
        self._homes: dict[str, Member] = {}  # by address, those that `_placement` knows; the event loop knows of others
        self._placed: dict[int, _Placed] = {}
        self._homeless: deque[tuple[Lane, Assignment]] = deque()  # chunks that came when there was no worker
        self._room = Room(0, 0)
        self._lost = ""
        self._data = Data(self._client)
        self._members = Members(self._client, wanted, self._resources)
        self._warned = set[tuple[str, str]]()
        self._watching: Future[None] | None = None
        try:
            self._see_who_is_there()
        except BaseException:
            self._close_client()
            raise

    @classmethod
    def of_executor(cls, executor: ClientExecutor) -> DaskEngine:
        """Make one of what ``Client.get_executor()`` gives.

        Args:
            executor (ClientExecutor): Its ``workers`` and ``resources`` hold.

        Returns:
            DaskEngine: With its client.
        """
        given: dict[str, Any] = vars(executor)  # it tells in no other way
        options = given["_kwargs"]
        workers = options.get("workers")
        return cls(
            given["_client"],
            workers=[workers] if isinstance(workers, str) else workers,
            resources=options.get("resources"),
        )

    def _see_who_is_there(self) -> None:
        looking = self._spawn(self._look_once())
        try:
            looking.result(_CONNECT_SECONDS)
        finally:
            looking.cancel()  # if it is not over: the client may be one that stays
        if self._members.unfit and not self._members.known:
            address, why = next(iter(self._members.unfit.items()))
            raise RuntimeError(f"no worker of the cluster can run items; of {address}: {why}")

    # --- the cluster, in the client's event loop ----------------------------------------------------------------------

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> Future[None]:
        """Let a coroutine run in the client's event loop; ConnectionError if that is closed."""
        loop: asyncio.AbstractEventLoop = self._client.loop.asyncio_loop
        try:
            return asyncio.run_coroutine_threadsafe(coroutine, loop)
        except RuntimeError as error:
            coroutine.close()
            raise ConnectionError(f"the client of dask is closed: {error}") from None

    async def _look_once(self) -> None:
        try:
            await self._look_around()
        finally:
            self._members.rest()

    async def _look_around(self) -> None:
        left, joined = await self._members.change()
        with self._lock:
            for member in left:
                self._placement.leave(member.address)
                self._homes.pop(member.address, None)
            for member in joined:
                self._placement.join(member.address, member.size)
                self._homes[member.address] = member
            size = self._placement.size
            if left or joined:
                self._room = Room(size, _DEPTH * size)
            gone = [one for one in self._placed.values() if one.member in left]
            housed = [self._place(*self._homeless.popleft()) for _ in range(len(self._homeless) if size else 0)]
        for one in gone:
            self._tell(one, Died(f"the worker {one.member.address} of dask left the cluster", begun=True))
        for home in housed:
            self._begin(home)
        for address, why in self._members.unfit.items() - self._warned:
            _log.warning("the worker %s of dask is not used: %s", address, why)
        self._warned = set(self._members.unfit.items())  # once for each, not each time that somebody comes or goes
        self.wake()

    async def _watch(self) -> None:
        try:
            while True:
                await self._look_around()
        except Exception as error:  # noqa: BLE001 - a connection has many ways to end
            self._lose(f"the connection to dask's scheduler was lost: {type(error).__name__}: {error}")
        finally:
            self._members.rest()

    def _lose(self, why: str) -> None:
        with self._lock:
            self._lost = why
            placed, homeless = list(self._placed.values()), list(self._homeless)
            self._homeless.clear()
        for one in placed:
            self._tell(one, Died(why, begun=True))
        for lane, assignment in homeless:
            lane.tell(assignment.number, Died(why, begun=False))

    # --- one chunk ----------------------------------------------------------------------------------------------------

    @override
    def launch(self, lane: Lane, assignment: Assignment) -> None:
        with self._lock:
            if self._lost:
                lane.tell(assignment.number, Died(self._lost, begun=False))
                return
            placed = self._place(lane, assignment)
        self._begin(placed)

    def _place(self, lane: Lane, assignment: Assignment) -> _Placed | None:
        """Choose a worker for a chunk; without one, it waits. Under the lock: `done_with` finds it here or there."""
        address = self._placement.take()
        if address is None:
            self._homeless.append((lane, assignment))
            return None
        member = self._homes[address]
        placed = self._placed[assignment.number] = _Placed(
            lane, assignment._replace(process=member.id), member, tuple(self._given.values())
        )
        return placed

    def _begin(self, placed: _Placed | None) -> None:
        if placed is not None:
            placed.lane.set_place(placed.member.pid, placed.member.address)
            try:
                task = placed.task = self._spawn(self._do(placed))
            except ConnectionError as error:
                self._lose(str(error))
            else:
                if not self._is_current(placed):
                    task.cancel()  # it was given up before that could be done

    async def _do(self, placed: _Placed) -> None:
        begun = False
        try:
            future = await self._submit(placed)
            begun = True
            try:
                # Not to be raised, as dask then leaves tasks of its loop behind that complain.
                answers: list[Answer] = await self._client.gather([future], errors="skip", asynchronous=True)
                if not answers:
                    raise OSError(f"its task is {future.status}; {_why(future)}")
            finally:
                future.release()
        except BaseException as error:  # nothing of the user's raises here: dask has lost it
            if self._is_current(placed):
                self._tell(placed, Died(f"dask lost it: {type(error).__name__}: {error}", begun=begun))
            if isinstance(error, asyncio.CancelledError) and asyncio.current_task().cancelling():  # type: ignore[union-attr]
                raise
        else:
            self._tell(placed, answers[0])

    def _is_current(self, placed: _Placed) -> bool:
        return self._placed.get(placed.assignment.number) is placed

    @staticmethod
    def _tell(placed: _Placed, news: Answer | Died) -> None:
        placed.lane.tell(placed.assignment.number, news)

    async def _submit(self, placed: _Placed) -> DaskFuture:
        assignment, address = placed.assignment, placed.member.address
        name, function, items, data = assignment.engine, assignment.function, assignment.items, dict[str, Any]()
        if len(function.payload) >= _APART_BYTES:
            payload = bytes(function.payload)
            data["function"] = await self._data.function(name, function.key, payload, address)
            assignment = assignment._replace(function=function._replace(payload=b""))
        if not isinstance(items, m.Pack) and sum(map(_size, items)) >= _APART_BYTES:
            data["items"] = await self._data.bring(name, list(items), address)
            assignment = assignment._replace(items=())
        self._data.keep_only({one.key for one in placed.shared})
        shared = [await self._data.shared(name, one.key, partial(_given, one)) for one in placed.shared]
        # In a context of its own, as annotations of the caller's, retries among them, are not meant for this.
        return contextvars.Context().run(
            self._client.submit,
            _dask_worker.run_isolated if self._isolate else _dask_worker.run,
            pickle.dumps(assignment, 5),
            data,
            shared,
            key=f"{function.name}-{assignment.engine}-{assignment.number}",
            workers=[address],
            allow_other_workers=False,
            resources=self._resources or None,
            retries=0,
            priority=self._priority,
            pure=False,
        )

    # --- what else can be done with it --------------------------------------------------------------------------------

    @override
    def take_back(self, lane: Lane) -> None:
        with self._lock:
            homeless = next((one for one in self._homeless if one[0] is lane), None)
            if homeless is not None:
                self._homeless.remove(homeless)
        if homeless is not None:
            lane.tell(lane.number, Untouched())
        else:
            self.ask(lane)

    @override
    def ask(self, lane: Lane) -> None:
        self._send_look(lane, stop=lane.withdrawn)

    @override
    def abandon(self, lane: Lane) -> None:
        self._send_look(lane, stop=True, kill=True)

    def _send_look(self, lane: Lane, *, stop: bool, kill: bool = False) -> None:
        placed = self._placed.get(lane.number)
        if placed is not None:
            with contextlib.suppress(ConnectionError):  # its chunks learn of that by themselves
                self._spawn(self._look(placed, stop=stop, kill=kill))

    async def _look(self, placed: _Placed, *, stop: bool, kill: bool) -> None:
        address, number = placed.member.address, placed.assignment.number
        with contextlib.suppress(Exception):  # whatever is wrong there, the chunk itself will tell
            # Asked by name: another process may have got that address since.
            asked = (placed.member.id, self._id, number, stop, kill)
            there = {"workers": [address], "on_error": "ignore", "asynchronous": True}
            said = await self._client.run(_dask_worker.look, *asked, **there)
            if said.get(address) is not None:
                placed.lane.tell(number, Watched(said[address], time.monotonic(), stopped=stop))

    @override
    def has_begun(self, lane: Lane) -> bool:
        self.ask(lane)
        return False  # as far as it is known now; the answer comes

    @override
    def done_with(self, lane: Lane) -> None:
        with self._lock:
            placed = self._placed.pop(lane.number, None)
            if placed is None:
                self._homeless = deque(one for one in self._homeless if one[0] is not lane)
            elif self._homes.get(placed.member.address) is placed.member:
                self._placement.give_back(placed.member.address)
        if placed is not None and placed.task is not None:
            placed.task.cancel()  # if it is not over: it lets go of the task of dask, which then is not begun any more

    # --- for the group ------------------------------------------------------------------------------------------------

    @property
    @override
    def room(self) -> Room | None:
        return self._room

    @override
    def refusal(self) -> str:
        return self._lost

    @override
    def open(self, shared: SharedData, setup: m.Setup = m.NO_SETUP, max_tasks: int | None = None) -> None:
        super().open(shared, setup, max_tasks)
        try:
            self._watching = self._spawn(self._watch())
        except ConnectionError:
            super().close()
            raise

    @override
    def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None
        with contextlib.suppress(Exception):  # a cluster that is gone has nothing to let go of
            self._spawn(self._let_go()).result(_FORGET_SECONDS)
        self._placed.clear()
        super().close()
        self._close_client()

    async def _let_go(self) -> None:
        self._data.clear()
        await self._client.run(_dask_worker.forget, self._id, on_error="ignore", asynchronous=True)

    def _close_client(self) -> None:
        if self._address is not None:
            self._client.close()

    def __repr__(self) -> str:
        """Name the scheduler and say how large the cluster is.

        Returns:
            str: Such as ``<DaskEngine of tcp://10.0.0.1:8786, 4 threads>``.
        """
        scheduler = self._client.scheduler
        address = scheduler.address if scheduler is not None else "no scheduler"
        return f"<{type(self).__name__} of {address}, {self._room.workers} threads>"


def _why(future: DaskFuture) -> str:
    # Not `exception`, which would wait in this thread, the event loop's.
    error = future._state.exception  # noqa: SLF001 - see above
    return f"{type(error).__name__}: {error}"


def _given(shared: m.Share) -> Given:
    return Given(shared.key, shared.group, pack(shared.payload))


def _size(carried: Carried) -> int:
    return carried.nbytes if isinstance(carried, Crate) else len(carried)
