"""The engine that is a cluster of ray: ``ProcessGroup(engine=RayEngine())``. Needs the extra ``ray``.

    group's threads --assignment, and what ray keeps--> actor: _agent.run, or _far.run
                    <--(ray's thread)-- answer --------
                    --"how far, and no further"-------> actor, in another thread: _far.look
                    --kill----------------------------> ray ends its process

Each worker is an actor, which ray never starts again by itself, nor repeats a call of. So a chunk is begun at most
once. An actor is a process of its own, and can be stopped whatever it is doing.
"""

from __future__ import annotations

import contextlib
import time
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import Literal

from typing_extensions import override

from procorch._assignments import Assignment, Given
from procorch._crates import Crate, pack
from procorch._engine import Capabilities, Room, SharedData
from procorch._lanes import Lane
from procorch._messages import NO_SETUP, Setup
from procorch._policy import check_bool, check_count
from procorch.engines._needs import check_need, check_needs
from procorch.engines._ray_api import SHUT_DOWN, Ref, Session, beside, text_of
from procorch.engines._ray_lane import ActorEngine, ActorLane

__all__ = ["RayEngine"]

_APART_BYTES = 1 << 18
"""A function's pickle from which on ray keeps it, once for all actors, instead of sending it with each chunk."""
_MOST_APART = 4
"""Functions that are kept so; the one used longest ago goes first."""
_CHECK_SECONDS = 1.0
"""Between two looks at what ray does not tell by itself, while there is work: that it was shut down, and the nodes."""
_ANSWER_SECONDS = 0.25
"""How long a look may remain without an answer. Python code beside it costs it up to 30 ms, and C code any time."""


def _keeps(crash_isolation: Literal["item", "chunk"]) -> Capabilities:
    return Capabilities(
        kill=True,
        limit=True,
        cancel="running",
        names=True,
        crash_isolation=crash_isolation,
        broadcast=True,
        recall=True,
        prepare=crash_isolation == "item",
        recycle=True,
    )


ISOLATED = _keeps("item")
"""With a process of procorch beside each actor's. The loss of an actor costs the chunk that it had."""

BARE = _keeps("chunk")
"""Without."""


class RayEngine(ActorEngine):
    """Runs a group's items in actors of ray. For one group at a time; several engines may use one ray."""

    def __init__(
        self,
        *,
        num_cpus: float = 1.0,
        num_gpus: float = 0.0,
        resources: Mapping[str, float] | None = None,
        runtime_env: Mapping[str, object] | None = None,
        actors: int | None = None,
        isolate: bool = True,
    ) -> None:
        """Use the ray that this process is connected to, and see how much room it has.

        Args:
            num_cpus (float): Of each actor, as ray's; below 1 several share a processor, and 0 needs ``actors``, or one
                of the others.
            num_gpus (float): Likewise.
            resources (Mapping[str, float] | None): Others that each actor needs, by their names, as ray's.
            runtime_env (Mapping[str, object] | None): Of each actor, as ray's: packages, environment variables.
            actors (int | None): How many there are at most. None takes as many as the nodes that there are have
                resources for, whoever uses these now; nodes that join later count. A cluster that grows with what is
                asked of it needs the number.
            isolate (bool): Whether items run in a process of procorch beside each actor's, so that a crash or a limit
                costs an item, and that process. False runs them in the actor itself, where they can call ray: a crash
                costs the chunk, a limit an item, and both cost the actor.

        Raises:
            ImportError: Ray is not installed.
            RuntimeError: It is not initialised.
            TypeError: ``actors`` or an amount is no number, or ``isolate`` neither True nor False.
            ValueError: ``actors`` is below 1; or it is None, and an actor needs nothing that could be counted; or an
                amount is negative, or without an end.
        """
        super().__init__(ISOLATED if check_bool("isolate", isolate) else BARE, keeps_limits=isolate)
        self.isolate = isolate
        others = check_needs("resources", resources)
        self._needs = {"CPU": check_need("num_cpus", num_cpus), "GPU": check_need("num_gpus", num_gpus), **others}
        if actors is not None:
            check_count("actors", actors, least=1)
        elif not any(need > 0 for need in self._needs.values()):
            raise ValueError("an actor that needs no resources fits any number of times; give actors=")
        self._options: dict[str, object] = {"num_cpus": num_cpus, "num_gpus": num_gpus}
        if others:
            self._options["resources"] = others
        if runtime_env:
            self._options["runtime_env"] = dict(runtime_env)
        self._session = Session()
        self._actors = actors
        self._room = Room(0, 0)
        self._look_for_room()
        self._lost = ""
        self._check_at: float | None = None  # when to look at what ray does not tell; None while there is no work
        self._unanswered: deque[tuple[float, ActorLane, int, int]] = deque()  # looks, and when they should have been
        self._doomed: SimpleQueue[ActorLane] = SimpleQueue()  # to be killed by a thread that may call ray
        self._kept: dict[int, Ref] = {}  # what is shared, by number
        self._apart: OrderedDict[int, Ref] = OrderedDict()  # functions

    # --- for lanes: under the group's lock ----------------------------------------------------------------------------

    @override
    def launch(self, lane: Lane, assignment: Assignment) -> None:
        assert isinstance(lane, ActorLane)
        self._watch()
        if self._session.is_on:
            try:
                function, assignment = self._part(assignment)
                lane.launch(assignment, function, self._keep_shared())
            except Exception as error:  # noqa: BLE001 - its store is full, or it is being shut down
                lane.refuse(f"ray did not take the chunk: {text_of(error)}")
        else:
            lane.refuse(self._lose())

    def _part(self, assignment: Assignment) -> tuple[Ref | None, Assignment]:
        key, payload, _, _ = function = assignment.function
        if len(payload) < _APART_BYTES:
            return None, assignment
        if key not in self._apart:
            self._apart[key] = self._session.put(Crate(b"", payload))
            if len(self._apart) > _MOST_APART:
                self._apart.popitem(last=False)
        self._apart.move_to_end(key)
        return self._apart[key], assignment._replace(function=function._replace(payload=b""))

    def _keep_shared(self) -> dict[int, Ref]:
        if self._kept.keys() != self._given.keys():
            for key in self._kept.keys() - self._given.keys():
                del self._kept[key]
            for key in self._given.keys() - self._kept.keys():
                message = self._given[key]
                self._kept[key] = self._session.put(Given(key, message.group, pack(message.payload)))
        return self._kept

    @override
    def take_back(self, lane: Lane) -> None:
        self.ask(lane)

    @override
    def ask(self, lane: Lane) -> None:
        assert isinstance(lane, ActorLane)
        if self._session.is_on:
            asked = lane.asked()  # first: the answer may be there before the call returns
            with contextlib.suppress(Exception):  # what is wrong with the actor, its end will tell
                lane.look_later(lane.number, stop=lane.withdrawn)
            self._unanswered.append((time.monotonic() + _ANSWER_SECONDS, lane, *asked))
            self.wake()

    @override
    def has_begun(self, lane: Lane) -> bool:
        return True  # an actor that gets a chunk has nothing else to do

    @override
    def let_leave(self, lane: ActorLane) -> None:
        self._watch()
        if not self._session.is_on:
            lane.lose(self._lose())
            return
        try:
            beside(lane.actor.leave, "look").remote()
        except Exception:  # noqa: BLE001 - it cannot be reached
            self.end(lane)

    @override
    def end(self, lane: ActorLane) -> None:
        self._watch()
        if not self._session.is_on:
            lane.lose(self._lose())
            return
        try:
            self._session.kill(lane.actor)
        except Exception as error:  # noqa: BLE001 - what cannot be told to end tells nothing any more
            lane.lose(f"ray cannot be reached: {text_of(error)}")

    @override
    def end_soon(self, lane: ActorLane) -> None:
        self._doomed.put(lane)
        self.wake()

    # --- what ray does not tell ---------------------------------------------------------------------------------------

    def _watch(self) -> None:
        if self._check_at is None:
            self._check_at = time.monotonic() + _CHECK_SECONDS
            self.wake()

    def _look_for_room(self) -> None:
        # One at least, so that a cluster that has none yet is asked.
        workers = self._actors or max(1, self._session.fit(self._needs))
        if workers != self._room.workers:
            self._room = Room(workers, workers)

    def _lose(self) -> str:
        self._lost = SHUT_DOWN
        return self._lost

    def _check(self, now: float) -> None:
        self._check_at = None  # first: who gets something to do from now on sets it again
        lanes = [lane for lane in tuple(self._lanes) if isinstance(lane, ActorLane)]
        if not self._session.is_on:
            for lane in lanes:
                lane.lose(self._lose())
            return
        if not all(one.is_settled for one in lanes):
            self._check_at = now + _CHECK_SECONDS
        with contextlib.suppress(Exception):  # it cannot be asked now
            self._look_for_room()
        coming = [one for one in lanes if one.is_coming]
        # Actors wait for a place that others of ours may hold with nothing to do.
        late = sum(one.ordered < now - _CHECK_SECONDS for one in coming)
        for lane in lanes:
            if late and lane.is_idle_before(now - _CHECK_SECONDS) and lane.yield_place():
                late -= 1
                self.let_leave(lane)

    def _look_after(self) -> None:
        now = time.monotonic()
        while self._unanswered and self._unanswered[0][0] <= now:
            _, lane, number, looks = self._unanswered.popleft()
            lane.no_answer(number, looks)
        with contextlib.suppress(Empty):
            while True:
                lane = self._doomed.get_nowait()
                self.end(lane)
        if self._check_at is not None and self._check_at <= now:
            self._check(now)

    def _next_look(self) -> float | None:
        times = [self._check_at] if self._check_at is not None else []
        if self._unanswered:
            times.append(self._unanswered[0][0])
        return min(times, default=None)

    # --- for the group ------------------------------------------------------------------------------------------------

    @property
    @override
    def room(self) -> Room | None:
        return self._room

    @override
    def refusal(self) -> str:
        return self._lost

    @override
    def open(self, shared: SharedData, setup: Setup = NO_SETUP, max_tasks: int | None = None) -> None:
        super().open(shared, setup, max_tasks)
        if not self._session.is_on:
            self._lose()
        else:
            self._look_for_room()

    @override
    def start(self, slot: int, name: str) -> ActorLane:
        if not self._session.is_on:
            raise OSError(self._lose())
        lane = ActorLane(self, slot, name, self._session.start(self._options))
        self._lanes.add(lane)
        lane.begin()
        self._watch()
        return lane

    @override
    def wait(self, timeout: float | None) -> Sequence[Lane]:
        self._look_after()
        until = self._next_look()
        if until is not None:
            left = max(0.0, until - time.monotonic())
            timeout = left if timeout is None else min(timeout, left)
        return super().wait(timeout)

    @override
    def close(self) -> None:
        super().close()
        self._kept.clear()
        self._apart.clear()
        self._unanswered.clear()
        self._doomed = SimpleQueue()
        self._check_at = None

    def __repr__(self) -> str:
        """Say how large it is.

        Returns:
            str: Such as ``<RayEngine of 8 actors>``.
        """
        return f"<{type(self).__name__} of {self._room.workers} actors>"
