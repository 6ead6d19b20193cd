"""The little of ray that is used, typed. Whatever else the library offers, no other file here calls it.

A call of ray's after `ray.shutdown` may start another ray. So `Session.is_on` is asked first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, Protocol, cast

from procorch import _extras
from procorch.engines._ray_actor import GROUPS, ProcorchActor

SHUT_DOWN = "ray was shut down in this process"
"""Why whatever was going on is over; for people."""


class Ref(Protocol):
    """What a call will have returned, or an object that ray keeps; an argument may be one in its place."""

    def future(self) -> Future[Any]:
        """Give a future of it. Its callbacks run in the one thread that ray has for that: they must not wait."""
        ...


class Method(Protocol):
    """A method of an actor."""

    def remote(self, *args: object) -> Ref:
        """Call it there."""
        ...

    def options(self, *, concurrency_group: str) -> Method:
        """Choose the threads that it runs in."""
        ...


class Actor(Protocol):
    """A `ProcorchActor` from afar."""

    hello: Method
    run: Method
    look: Method
    stack: Method
    live: Method
    leave: Method


class Session:
    """The ray that this process is connected to, from the moment at which this was made."""

    def __init__(self) -> None:
        """Take it as it is.

        Raises:
            ImportError: Ray is not installed.
            RuntimeError: It is not initialised.
        """
        self._ray: Any = _extras.load("ray", extra="ray", purpose="RayEngine")
        if not self._ray.is_initialized():
            raise RuntimeError(
                "ray is not initialised in this process; call ray.init() before RayEngine(), for a cluster with its "
                "address. It stays yours: the engine does not shut it down"
            )
        self._id = self._now()
        self._make = self._ray.remote(concurrency_groups=GROUPS, max_restarts=0, max_task_retries=0)(ProcorchActor)

    def _now(self) -> tuple[str, str]:
        context = self._ray.get_runtime_context()
        return str(context.get_node_id()), str(context.get_job_id())

    @property
    def is_on(self) -> bool:
        """Whether it is still the same."""
        try:
            return bool(self._ray.is_initialized()) and self._now() == self._id
        except Exception:  # noqa: BLE001 - it is being shut down in this moment
            return False

    def fit(self, needs: Mapping[str, float]) -> int:
        """Count how many actors the living nodes have resources for, whoever uses these now.

        Args:
            needs (Mapping[str, float]): What one needs, by name; not all of it 0.

        Returns:
            int: Each node counts for itself, as an actor is on one.
        """
        counted = [(name, need) for name, need in needs.items() if need > 0]
        nodes: list[Mapping[str, float]] = [one["Resources"] for one in self._ray.nodes() if one["Alive"]]
        return sum(min(int(node.get(name, 0.0) / need + 1e-9) for name, need in counted) for node in nodes)

    def start(self, options: Mapping[str, object]) -> Actor:
        """Order an actor; it comes to be when there is a place for it.

        Args:
            options (Mapping[str, object]): Of ray's, for actors.

        Returns:
            Actor: It lives as long as this is kept.
        """
        return cast("Actor", self._make.options(**options).remote())

    def kill(self, actor: Actor) -> None:
        """End an actor's process, whatever it is doing.

        Args:
            actor (Actor): One that may not have come to be, or be dead.
        """
        self._ray.kill(actor, no_restart=True)

    def put(self, value: object) -> Ref:
        """Let ray keep an object.

        Args:
            value (object): Pickled.

        Returns:
            Ref: Ray keeps it as long as this is kept.
        """
        return cast("Ref", self._ray.put(value))


def beside(method: Method, group: str) -> Method:
    """Give a method as one that is answered while a chunk runs.

    Args:
        method (Method): Of an actor.
        group (str): Of `_ray_actor.GROUPS`.

    Returns:
        Method: The same in those threads.
    """
    return method.options(concurrency_group=group)


def when_done(ref: Ref, hear: Callable[[object], None], fail: Callable[[BaseException], None]) -> None:
    """Hear what becomes of a call. In ray's thread: neither may wait, nor call ray.

    Args:
        ref (Ref): The call's.
        hear (Callable[[object], None]): Told what it returned.
        fail (Callable[[BaseException], None]): Told why it did not.
    """

    def done(future: Future[Any]) -> None:
        try:
            value = future.result(0)
        except BaseException as error:  # noqa: BLE001 - ray has many ways to lose a call
            fail(error)
        else:
            hear(value)

    ref.future().add_done_callback(done)


def says_dead(error: BaseException) -> bool:
    """Tell whether an actor is known to be dead, and not just out of reach.

    Args:
        error (BaseException): Of ray's, in the place of what a call returned.

    Returns:
        bool: Whether it is.
    """
    return any(one.__name__ == "ActorDiedError" for one in type(error).__mro__)


def text_of(error: BaseException) -> str:
    """Put what ray says of a failure into one line.

    Args:
        error (BaseException): Of ray's.

    Returns:
        str: Of a death, its reason.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    why = [line for line in lines if line.startswith("The actor is dead because")]
    if why and "its owner has died" in why[0] and "INTENDED_USER_EXIT" in why[0]:
        return SHUT_DOWN  # the owner is this process, which lives: while ray ends here, it still tells of some ends
    return (why or lines[:1] or [type(error).__name__])[0]
