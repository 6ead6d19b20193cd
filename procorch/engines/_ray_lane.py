"""A lane that is an actor of ray: a process of its own, which can be killed.

    ordered -> hello was answered: `WorkerReady` -> chunks, one at a time -> told to leave, killed, or died
            -> ray says so, and of its last call it is known what became -> the process is gone: `WorkerDied`

Ray tells of a death some milliseconds before the process is gone. Where its pid means something in this process, it is
waited for.
"""

from __future__ import annotations

import abc
import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Iterator

from typing_extensions import override

from procorch._assignments import Answer, Assignment, Progress
from procorch._daemon import Daemon
from procorch._events import Looked, WorkerEvent, WorkerReady
from procorch._lanes import Died, Lane, LaneEngine, Watched
from procorch.engines import _ray_actor
from procorch.engines._ray_actor import Hello
from procorch.engines._ray_api import Actor, Ref, beside, says_dead, text_of, when_done

_GONE_SECONDS = 10.0
"""How long a process that ray has told dead is waited for at most. A stopped one takes ray 5 s to kill."""


class ActorEngine(LaneEngine, abc.ABC):
    """What these lanes want of their engine."""

    isolate: bool
    """Whether items run beside the actors."""

    @property
    def id(self) -> str:
        """Its name, unique among all engines of all processes."""
        return self._id

    @abc.abstractmethod
    def let_leave(self, lane: ActorLane) -> None:
        """Ask an actor to end in an orderly way.

        Args:
            lane (ActorLane): Its lane. Its chunk, if it has one, is over.
        """

    @abc.abstractmethod
    def end(self, lane: ActorLane) -> None:
        """Kill an actor.

        Args:
            lane (ActorLane): Its lane.
        """

    @abc.abstractmethod
    def end_soon(self, lane: ActorLane) -> None:
        """Kill an actor, in another thread. Any thread, ray's too.

        Args:
            lane (ActorLane): Its lane.
        """


class ActorLane(Lane):
    """See the module's text, and `_engine.Worker`."""

    @override
    def __init__(self, engine: ActorEngine, slot: int, name: str, actor: Actor) -> None:
        super().__init__(engine, slot, name)
        self._is_new = False  # it tells by itself when it is ready
        self._place = engine
        self.actor: Actor = actor
        self.known: set[int] = set()
        """What is shared that it has been given, by number."""
        self.ordered: float = time.monotonic()
        """When the actor was."""
        self.idle_since: float | None = None
        """Since when it has had no chunk; None while it has one, or is not ready."""
        self._sent = 0.0  # when its chunk was
        self._looks = 0  # that were answered
        self._traced = False  # whether its stack was asked for
        self._cause = ""  # of its end, if that is not ray's to tell
        self._lock = threading.Lock()
        # --- under that lock
        self._hello: Hello | None = None
        self._leaves = False
        self._killed = False
        self._launched = False  # whether its chunk was
        self._called = False  # whether its call is still open
        self._ended = False  # whether the actor is no more
        self._buried = False  # whether its end has been taken in
        # --- the last that becomes known
        self._is_over = False
        self._greeted = False

    def begin(self) -> None:
        """Ask the actor to say when it is there, and when it is not any more."""
        when_done(self.actor.hello.remote(), self._heard_hello, self._never_came)
        when_done(beside(self.actor.live, "life").remote(), lambda _: None, self._has_ended)

    # --- orders: under the group's lock -------------------------------------------------------------------------------

    @override
    def look(self) -> list[WorkerEvent]:
        if self._traced:  # about to be stopped
            return [Looked(self.slot, self._begun, None, stack=bool(self.stack))]
        return super().look()

    @override
    def show_stack(self) -> None:
        self._traced = True
        with contextlib.suppress(Exception):  # it goes without
            when_done(beside(self.actor.stack, "look").remote(), self._heard_stack, lambda _: None)

    @override
    def ask(self) -> None:
        with self._lock:
            is_ready, self._leaves = self._hello is not None, True
        if is_ready:
            self._place.let_leave(self)
        else:
            self.kill()

    @override
    def terminate(self) -> None:
        self.kill()  # to an actor, SIGTERM says that it is to end after what it does now

    @override
    def kill(self) -> None:
        self._killed = True
        self._place.end(self)

    def yield_place(self) -> bool:
        """Let an actor leave that has nothing to do, for another that waits for its place. Any thread.

        Returns:
            bool: Whether it will.
        """
        with self._lock:
            free = self._hello is not None and not self.number and not (self._leaves or self._ended)
            self._leaves |= free
        return free

    @property
    def is_coming(self) -> bool:
        """Whether its actor has not answered yet."""
        return self._hello is None and not self._ended

    @property
    def is_settled(self) -> bool:
        """Whether nothing is expected of it: it is ready, has no chunk, and was not told to end."""
        return self._hello is not None and self.number == 0 and not (self._leaves or self._killed or self._ended)

    def is_idle_before(self, when: float) -> bool:
        """Tell whether it has had nothing to do for some time.

        Args:
            when (float): Since then; monotonic seconds.

        Returns:
            bool: False also for one that is not ready.
        """
        return self.idle_since is not None and self.idle_since < when

    # --- its chunk ----------------------------------------------------------------------------------------------------

    def launch(self, assignment: Assignment, function: Ref | None, shared: dict[int, Ref]) -> None:
        """Send a chunk to the actor.

        Args:
            assignment (Assignment): The chunk.
            function (Ref | None): The function's pickle, if ray keeps it.
            shared (dict[int, Ref]): What items may refer to, by number.

        Raises:
            Exception: Ray does not take it; `refuse` follows.
        """
        with self._lock:
            self.idle_since = None
            self._launched = self._called = not (self._leaves or self._ended)
            if not self._called:
                return  # its end, which is under way, tells that nothing of the chunk has begun
        self._sent = time.monotonic()
        new = [key for key in shared if key not in self.known]
        number = assignment.number
        ref = self.actor.run.remote(self._place.isolate, assignment, function, *(shared[key] for key in new))
        self.known.update(new)
        when_done(ref, lambda answer: self._answered_call(number, answer), self._lost_call)

    def refuse(self, why: str) -> None:
        """Take in that a chunk cannot be sent.

        Args:
            why (str): For people.
        """
        self._cause = self._cause or why
        with self._lock:
            self._launched = self._called = False
        self._place.end(self)

    def asked(self) -> tuple[int, int]:
        """Tell what a look that is made now is about.

        Returns:
            tuple[int, int]: The chunk, and how many looks were answered before.
        """
        return self.number, self._looks

    def look_later(self, number: int, *, stop: bool) -> None:
        """Ask the actor how far a chunk is.

        Args:
            number (int): Which one.
            stop (bool): Whether it is to begin nothing more of it.
        """

        def heard(progress: object) -> None:
            assert isinstance(progress, Progress)
            self._looks += 1
            self.tell(number, Watched(progress, time.monotonic(), stopped=stop))

        ref = beside(self.actor.look, "look").remote(self._place.id, number, stop)
        when_done(ref, heard, lambda _: None)

    def no_answer(self, number: int, looks: int) -> None:
        """Take in that a look should have been answered by now. Any thread.

        C code may hold the lock of the interpreter there for any time. What one item in a chunk of its own is doing is
        known without an answer.

        Args:
            number (int): From `asked`.
            looks (int): Likewise.
        """
        if self.number == number and self._looks == looks and self._items == 1:
            now = time.monotonic()
            self.tell(number, Watched(Progress(1, now - self._sent), now, stopped=self.withdrawn))

    # --- news: in ray's thread ----------------------------------------------------------------------------------------

    def _heard_hello(self, hello: object) -> None:
        assert isinstance(hello, Hello)
        own = _ray_actor.version()
        if hello.version != own:
            self._cause = f"the node {hello.address} has procorch {hello.version}, and this process {own}"
            self._place.end_soon(self)
            return
        with self._lock:
            self._hello = hello
        self.idle_since = time.monotonic()
        self._place.announce(self)

    def _never_came(self, error: BaseException) -> None:
        self._cause = self._cause or f"the actor could not begin: {text_of(error)}"
        self._place.end_soon(self)

    def _heard_stack(self, stack: object) -> None:
        self.set_stack(str(stack))

    def _answered_call(self, number: int, answer: object) -> None:
        assert isinstance(answer, Answer)
        self.tell(number, answer)
        with self._lock:
            self._called = False
        self._bury_if_over()

    def _lost_call(self, error: BaseException) -> None:
        with self._lock:
            self._called = False
        self._cause = self._cause or text_of(error)
        if not says_dead(error):
            self._place.end_soon(self)  # it has lost the answer, or cannot be reached
        self._bury_if_over()

    def _has_ended(self, error: BaseException) -> None:
        self._cause = self._cause or text_of(error)
        with self._lock:
            self._ended = True
        if not says_dead(error):
            self._place.end_soon(self)  # a node that cannot be reached may come back
        self._bury_if_over()

    def lose(self, why: str) -> None:
        """Take in that ray is gone, and tells nothing any more. Any thread.

        Args:
            why (str): For people.
        """
        self._cause = why
        with self._lock:
            self._ended, self._called = True, False
        self._bury_if_over()

    def _bury_if_over(self) -> None:
        with self._lock:
            if not self._ended or self._called or self._buried:
                return
            self._buried = True
            hello = self._hello
        if hello is not None and hello.system and hello.system == _ray_actor.system():
            Daemon(self._await_end, "procorch-ray-end", (hello.pid,)).start()
        else:
            self._finish()

    def _await_end(self, pid: int) -> None:
        try:
            descriptor = os.pidfd_open(pid)
        except OSError:
            pass  # it is gone
        else:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            poll.poll(1000 * _GONE_SECONDS)
            os.close(descriptor)
        self._finish()

    def _finish(self) -> None:
        self._is_over = True
        self._place.announce(self)

    # --- for the group ------------------------------------------------------------------------------------------------

    @override
    def read(self) -> Iterator[WorkerEvent]:
        is_over = self._is_over  # first: what it told before is there by now
        hello = self._hello
        if hello is not None and not self._greeted:
            self._greeted = True
            self.set_place(hello.pid, hello.address)
            yield WorkerReady(self.slot)
        yield from super().read()
        if is_over and not self._is_gone:
            begun = self._launched and bool(self.number)
            killed = -signal.SIGKILL if self._killed else None
            yield from self._die(Died(self._cause, begun), self._exitcode if self._leaves else killed)

    @override
    def _let_go(self) -> None:
        super()._let_go()
        self._launched = False
        self.idle_since = time.monotonic()
