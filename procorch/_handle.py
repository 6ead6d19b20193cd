"""One named process of its own, as `start` gives it out."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar, overload

from typing_extensions import override

from procorch._condition import Condition
from procorch._current import checked
from procorch._engine import Function
from procorch._errors import GroupClosed, NotPicklable, NotRunning, Task, WorkerCrashed
from procorch._events import Outcome, Outcomes, ProcessStopped, StopAsked
from procorch._job import Call, Job, Sink
from procorch._messages import Payload, Plain, Style, Value
from procorch._options import TaskOptions
from procorch._pickles import Pickles
from procorch._policy import check_limit, check_wait
from procorch._public import public
from procorch._restart import Restart
from procorch._revived import open_value
from procorch._supervisor import Supervisor
from procorch._talk import Over, Talk
from procorch._verdict import Ending, Place, settle, shorten
from procorch._waits import SafeFuture

R = TypeVar("R")
T = TypeVar("T")

_ENDS = {0, -signal.SIGTERM, -signal.SIGKILL}
"""Exit codes of a process that was asked to stop, and did not crash."""


@public
class ProcessHandle(Generic[R]):
    """A process that runs one function, and what the function returned.

    Made by `ProcessGroup.start`. As with `multiprocessing.Process`, the exit code is 0 if the function returned, 1 if
    it raised, and the negative number of the signal that ended the process otherwise. Methods may be called from any
    thread.
    """

    def __init__(
        self, supervisor: Supervisor, name: str, pickles: Callable[[], Pickles], task: Callable[[], Task]
    ) -> None:
        """Not for users: `ProcessGroup.start` makes handles.

        Args:
            supervisor (Supervisor): Of the group.
            name (str): The process's name.
            pickles (Callable[[], Pickles]): Pickle messages.
            task (Callable[[], Task]): Names the work.
        """
        self._name = name
        self._pickles = pickles
        self._task = task
        self._talk = Talk()
        self._restarts = 0
        self._supervisor = supervisor
        self._number = 0  # of its job; 0 for none
        self._future = SafeFuture[R]()
        self._collected = False
        self._asked_to_end = False
        self._asked_to_stop = False
        self._change = Condition()
        self._launched = False
        self._over = False
        self._pid: int | None = None
        self._exitcode: int | None = None
        self._when_over: list[Callable[[ProcessHandle[R]], object]] = []
        self._when_launched: list[Callable[[], object]] = []

    @property
    def name(self) -> str:
        """The process's name: the group's with a number, or the one given to `ProcessGroup.start`."""
        return self._name

    @property
    def pid(self) -> int | None:
        """The process id. Waits the moment until the system has made the process; None if it refused to.

        Of a service that of its present process; between two of them that of the last, which is gone.
        """
        with self._change:
            self._change.wait_for(lambda: self._launched or self._over)
            return self._pid

    @property
    def restarts(self) -> int:
        """How often the process was started again, see `Restart`."""
        return self._restarts

    @property
    def exitcode(self) -> int | None:
        """The exit code, as of `multiprocessing.Process`: negative is a signal's number; None while it lives."""
        with self._change:
            return self._exitcode

    def is_alive(self) -> bool:
        """Tell whether the process has not ended yet.

        Returns:
            bool: True from the call of `ProcessGroup.start` on.
        """
        with self._change:
            return not self._over

    def join(self, timeout: float | None = None) -> bool:
        """Wait until the process has ended. What became of its function is no matter here.

        Args:
            timeout (float | None): Seconds to wait at most; None for no limit.

        Returns:
            bool: Whether it has ended.

        Raises:
            TypeError: ``timeout`` is neither a number nor None.
            ValueError: ``timeout`` is negative or not a number.
        """
        wait = check_wait("timeout", timeout)
        with self._change:
            return self._change.wait_for(lambda: self._over, wait)

    def terminate(self) -> None:
        """End the process with SIGTERM. Does not wait; `result` raises `WorkerCrashed` unless it had finished.

        Raises:
            NotSupported: The engine cannot end it.
        """
        self._end(kill=False)

    def kill(self) -> None:
        """End the process with SIGKILL. Does not wait; `result` raises `WorkerCrashed` unless it had finished.

        Raises:
            NotSupported: The engine cannot end it.
        """
        self._end(kill=True)

    def _end(self, *, kill: bool) -> None:
        if not self._supervisor.capabilities.kill:
            what = "kill" if kill else "terminate"
            raise self._supervisor.unsupported(f"ProcessHandle.{what}()", "cannot end what it runs")
        if not self._future.done():
            self._asked_to_end = True  # what it fails with from now on is no news
        if self._number:
            self._supervisor.post(ProcessStopped(self._number, kill))

    def result(self, timeout: float | None = None) -> R:
        """Wait for what the function returns. The process itself may end a moment later; see `join`.

        Args:
            timeout (float | None): Seconds to wait at most; None for no limit. The process runs on after it.

        Returns:
            R: What the function returned in the process.

        Raises:
            TimeoutError: Not there after ``timeout`` seconds.
            BaseException: What the function raised; a `TaskError` if there is no result for another reason.
            TypeError: ``timeout`` is neither a number nor None.
            ValueError: ``timeout`` is negative or not a number.
        """
        wait = check_wait("timeout", timeout)
        try:
            self._future.exception(wait)
            self._collected = True
            return self._future.result()
        finally:
            del self  # or the exception's traceback would keep this handle, and this handle the exception

    # --- while it runs ------------------------------------------------------------------------------------------------

    def stop(self, grace: float | None = None) -> None:
        """Ask the function to come to its end: `CurrentProcess.stopping` is set. Does not wait; see `join`.

        If it has not ended after ``grace``, the process gets SIGTERM, and SIGKILL 1.5 s later; a function that has not
        asked for `current_process` gets SIGTERM at once, as it cannot be asked. A service is not started again.

        Args:
            grace (float | None): Seconds that it gets, more than 0; None for 5.

        Raises:
            NotSupported: The engine cannot ask what it runs to stop.
            TypeError: ``grace`` is neither a number nor None.
            ValueError: ``grace`` is not above 0, or not a number.
        """
        seconds = check_limit("grace", grace)
        self._check_talks("stop")
        if self._number:
            self._supervisor.post(StopAsked(self._number, seconds))

    def wait_ready(self, timeout: float | None = None) -> bool:
        """Wait until the function says that it is ready to serve, by `CurrentProcess.ready`.

        Args:
            timeout (float | None): Seconds to wait at most; None for no limit.

        Returns:
            bool: Whether it is; False also if the process has ended for good. After a restart it is not ready before it
            says so again.

        Raises:
            NotSupported: The engine cannot hear what it runs.
            TypeError: ``timeout`` is neither a number nor None.
            ValueError: ``timeout`` is negative or not a number.
        """
        self._check_talks("wait_ready")
        return self._talk.wait(lambda: self._talk.serves, check_wait("timeout", timeout))

    def send(self, obj: object, timeout: float | None = None) -> None:
        """Send a message to the function, which takes it by `CurrentProcess.receive`, or by iterating.

        Messages are taken in this order, each at most once, whatever becomes of the process: those that it had not
        taken go to the one in its place, if there is one. Waits while 64 are not known to have been taken.

        Args:
            obj (object): Pickled here.
            timeout (float | None): Seconds to wait for room at most; None for no limit.

        Raises:
            NotPicklable: ``obj`` cannot be pickled.
            NotRunning: The process has ended for good.
            NotSupported: The engine cannot talk to what it runs.
            TimeoutError: There was no room within ``timeout`` seconds; the message was not sent.
            TypeError: ``timeout`` is neither a number nor None.
            ValueError: ``timeout`` is negative or not a number.
        """
        wait = check_wait("timeout", timeout)
        self._check_talks("send")
        payload = self._pickles().item(obj, lambda: Task("procorch.ProcessHandle.send", shorten(obj)))
        if isinstance(payload, NotPicklable):
            raise payload
        try:
            has_room = self._talk.put(payload, wait)
        except Over:
            raise self._not_running() from None
        if not has_room:
            raise TimeoutError(f"no room for a message to {self._name!r} within {timeout} s")
        self._supervisor.say(self._talk)

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until every message that was sent has been taken.

        Args:
            timeout (float | None): Seconds to wait at most; None for no limit.

        Returns:
            bool: Whether that is so; False if the time was up, or the process has ended for good without taking all.

        Raises:
            NotSupported: The engine cannot talk to what it runs.
            TypeError: ``timeout`` is neither a number nor None.
            ValueError: ``timeout`` is negative or not a number.
        """
        wait = check_wait("timeout", timeout)
        self._check_talks("flush")
        talk = self._talk
        talk.watch(1)
        try:
            self._supervisor.say(talk)
            return talk.wait(lambda: not talk.untaken, wait)
        finally:
            talk.watch(-1)

    @overload
    def receive(self, kind: type[T], timeout: float | None = None) -> T: ...
    @overload
    def receive(self, kind: None = None, timeout: float | None = None) -> Any: ...
    def receive(self, kind: type[Any] | None = None, timeout: float | None = None) -> Any:
        """Take the next message that the function has sent by `CurrentProcess.send`, and wait for it.

        What was sent arrives, in its order, also from a process that has died since.

        Args:
            kind (type[Any] | None): Of which type it must be; None for any.
            timeout (float | None): Seconds to wait at most; None for no limit.

        Returns:
            Any: The message. Rebuilt here.

        Raises:
            NotPicklable: It cannot be rebuilt from its pickle.
            NotRunning: The process has ended for good, and there is no further message.
            NotSupported: The engine cannot hear what it runs.
            TimeoutError: None came within ``timeout`` seconds.
            TypeError: The message is of another type, and has been taken; or ``timeout`` is neither a number nor None.
            ValueError: ``timeout`` is negative or not a number.
        """
        wait = check_wait("timeout", timeout)
        self._check_talks("receive")
        if self._number and not self._talk.has_news:
            wait = self._supervisor.help(lambda: self._talk.has_news, wait, again=True)
        try:
            payload, go_on = self._talk.take(wait)
        except Over:
            raise self._not_running() from None
        if payload is None:
            raise TimeoutError(f"no message from {self._name!r} within {timeout} s")
        if go_on:
            self._supervisor.say(self._talk)
        return checked(open_value(Value(payload), lambda: Task("procorch.CurrentProcess.send", "...")), kind)

    @overload
    def messages(self, kind: type[T]) -> Iterator[T]: ...
    @overload
    def messages(self, kind: None = None) -> Iterator[Any]: ...
    def messages(self, kind: type[Any] | None = None) -> Iterator[Any]:
        """Take one message of the function after the other.

        Args:
            kind (type[Any] | None): As of `receive`.

        Yields:
            Any: Each, until the process has ended for good, and all that was sent has been given.
        """
        while True:
            try:
                message = self.receive(kind)
            except NotRunning:
                return
            yield message

    def __iter__(self) -> Iterator[Any]:
        """Take one message of the function after the other.

        Returns:
            Iterator[Any]: As of `messages`.
        """
        return self.messages()

    def _check_talks(self, method: str) -> None:
        if not self._supervisor.capabilities.converse:
            raise self._supervisor.unsupported(f"ProcessHandle.{method}()", "cannot talk to what it runs")
        self._supervisor.check_own()

    def _not_running(self) -> NotRunning:
        return NotRunning(self._name, self.exitcode)

    # --- for the group ------------------------------------------------------------------------------------------------

    def _give_up(self) -> None:
        """Take in that nobody wants its result, and end the process where that can be done."""
        self._asked_to_end = True
        if self._supervisor.capabilities.kill:
            self._end(kill=False)

    def _job_for(self, function: Function, payload: Payload, options: TaskOptions, restart: Restart | None) -> Job:
        """Make its job."""
        spec = options.spec(dedicated=True, name=self._name, restart=restart)
        sink = HandleSink(self, self._task, self._supervisor.ending)
        return Call(function, Style.CALL, spec, sink, payload=payload, talk=self._talk_for_job)

    def _refuse(self, error: NotPicklable) -> None:
        """Take in that there will be no process: something could not cross."""
        self._future.set_exception(error)
        self._set_over(None)

    @property
    def _talk_for_job(self) -> Talk | None:
        """What its job is to have; None where nobody can talk with what runs."""
        return self._talk if self._supervisor.capabilities.converse else None

    def _bind(self, job: Job) -> None:
        """Take in which job it is."""
        self._number = job.number

    def _resolve(self, outcome: Outcome | Plain, task: Callable[[], Task], place: Place | None, ending: Ending) -> None:
        settle(self._future, outcome, task, place, ending)

    def _set_started(self, pid: int | None) -> None:
        with self._change:
            self._launched, self._pid = True, pid
            self._change.notify_all()
        self._tell_launched()

    def _set_stopping(self, *, rests: bool) -> None:
        self._asked_to_stop = True
        self._asked_to_end |= rests

    def _set_restarted(self) -> None:
        self._restarts += 1

    def _set_over(self, exitcode: int | None) -> None:
        self._exitcode = exitcode
        self._talk.over()  # whoever learns that the process has ended finds nothing left of it
        with self._change:
            self._over = True
            self._change.notify_all()
        self._tell_launched()
        for call in tuple(self._when_over):
            call(self)
            self._forget_call(call)  # only now: after an interrupt it is called once more rather than never

    def _tell_launched(self) -> None:
        for call in tuple(self._when_launched):
            call()
            with self._change, contextlib.suppress(ValueError):  # another thread has called it, too
                self._when_launched.remove(call)  # likewise

    def _call_when_launched(self, call: Callable[[], object]) -> None:
        """Call once `pid` does not wait any more, or twice; at once if it does not."""
        with self._change:
            self._when_launched.append(call)
            waits = not (self._launched or self._over)
        if not waits:
            self._tell_launched()

    def _call_when_over(self, call: Callable[[ProcessHandle[R]], object]) -> None:
        """Call with this handle once the process has ended, or twice; at once if it has."""
        with self._change:
            if not self._over:
                self._when_over.append(call)
                return
        call(self)

    def _forget_call(self, call: Callable[[ProcessHandle[R]], object]) -> None:
        """Call that no more: who wanted to know may be gone long before a service is."""
        with self._change, contextlib.suppress(ValueError):  # it has been called
            self._when_over.remove(call)

    @property
    def _is_settled(self) -> bool:
        """Whether the process has ended and its result was asked for."""
        return self._over and self._collected

    def _uncollected_failure(self) -> BaseException | None:
        """Give the failure that nobody has asked for; None if there is none or the process was ended on purpose."""
        if self._collected or self._asked_to_end or not self._future.done():
            return None
        error = self._future.exception()
        if self._asked_to_stop and isinstance(error, WorkerCrashed) and error.exitcode in _ENDS:
            return None  # it has come to its end in another way than by returning, or was ended for not doing so
        if isinstance(error, GroupClosed) or (isinstance(error, SystemExit) and error.code in {None, 0}):
            return None
        return error

    def __repr__(self) -> str:
        """Say name, pid and state.

        Returns:
            str: Such as ``<ProcessHandle 'doubler-1' pid=4711 ended, exit code 0>``.
        """
        with self._change:
            if not self._over:
                state = "alive" if self._launched else "starting"
            else:
                state = f"ended, exit code {self._exitcode}"
            return f"<{type(self).__name__} {self._name!r} pid={self._pid} {state}>"


class HandleSink(Sink):
    """Brings what becomes known of a process to its handle."""

    def __init__(self, handle: ProcessHandle[Any], task: Callable[[], Task], ending: Ending) -> None:
        """Wait for news.

        Args:
            handle (ProcessHandle[Any]): Where they go.
            task (Callable[[], Task]): Names the work.
            ending (Ending): Of the group.
        """
        self._handle = handle
        self._task = task
        self._ending = ending

    @override
    def deliver(self, items: Sequence[int], outcomes: Outcomes, place: Place | None) -> None:
        self._handle._resolve(outcomes if isinstance(outcomes, Plain) else outcomes[0], self._task, place, self._ending)

    @override
    def started(self, pid: int | None) -> None:
        self._handle._set_started(pid)

    @override
    def stopping(self, *, rests: bool) -> None:
        self._handle._set_stopping(rests=rests)

    @override
    def restarted(self) -> None:
        self._handle._set_restarted()

    @override
    def ended(self, exitcode: int | None) -> None:
        self._handle._set_over(exitcode)
