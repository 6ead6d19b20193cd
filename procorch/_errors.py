"""The errors of procorch, and nothing else: a small tree whose members carry fields.

Each is an attrs class without slots whose fields are positional, which is the form that survives pickling: an exception
is rebuilt by calling its class with `args`, and attrs hands all fields on to `args`.
"""

from __future__ import annotations

import signal
from typing import Literal

import attrs

from procorch._public import public


@public
@attrs.frozen
class Task:
    """Which piece of work an error speaks of.

    Attributes:
        function (str): Module and qualified name of the function, as in ``"package.module.double"``.
        item (str): The item, or the arguments, as a shortened ``repr`` made in the parent.
        index (int | None): Position of the item in the input of `map` or `imap`, from 0; None for `submit` and `start`.
    """

    function: str
    item: str
    index: int | None = None

    def __str__(self) -> str:
        """Name the work in a few words.

        Returns:
            str: Such as ``"item 3 (7) of module.double"`` or ``"module.double(7)"``.
        """
        if self.index is None:
            return f"{self.function}({self.item})"
        return f"item {self.index} ({self.item}) of {self.function}"


@public
@attrs.define(eq=False, slots=False)
class ProcorchError(Exception):
    """Anything that procorch itself raises. What a function of yours raises is not one of these: it comes as itself."""


@public
@attrs.define(eq=False, slots=False)
class GroupClosed(ProcorchError):
    """The group takes no more work: it was closed, left, terminated, or its workers cannot start.

    Attributes:
        group (str): The group's name.
        reason (str): Why, as the end of the sentence "the group ...".
    """

    group: str
    reason: str

    def __str__(self) -> str:
        """Say which group and why.

        Returns:
            str: One sentence.
        """
        return f"the group {self.group!r} {self.reason}"


@public
@attrs.define(eq=False, slots=False)
class NotSupported(ProcorchError, TypeError):
    """The engine of the group cannot keep what was asked for; nothing was begun. Without that option the group works.

    Attributes:
        option (str): What was asked for, such as ``"options(timeout=)"``.
        engine (str): The engine.
        why (str): What it cannot do, as the end of the sentence "the engine ...".
    """

    option: str
    engine: str
    why: str

    def __str__(self) -> str:
        """Say what is not to be had, where and why.

        Returns:
            str: One sentence.
        """
        return f"{self.option} is not to be had on {self.engine}, which {self.why}"


@public
@attrs.define(eq=False, slots=False)
class WorkerStartError(ProcorchError):
    """A worker process ended, again and again, before it was ready for work. The group stops; make a new one.

    An initializer that raises is not this: its own error is what the caller gets.

    Attributes:
        worker (str): The worker's name.
        exitcode (int | None): Its exit code; negative is the number of the signal that killed it, None is not known.
        detail (str): What is known beyond that; may be empty.
    """

    worker: str
    exitcode: int | None
    detail: str = ""

    def __str__(self) -> str:
        """Say which worker and how it ended.

        Returns:
            str: One or two sentences.
        """
        text = f"worker {self.worker!r} {describe_exit(self.exitcode)} before it was ready"
        return f"{text}: {self.detail}" if self.detail else text


@public
@attrs.define(eq=False, slots=False)
class TaskError(ProcorchError):
    """One piece of work has no result for a reason of ours, not of its function. The group stays usable.

    Attributes:
        task (Task): The function and the item.
        attempts (int): How many times it was begun, this one included; 0 when it was never begun.
    """

    task: Task
    attempts: int


@public
@attrs.define(eq=False, slots=False)
class WorkerCrashed(TaskError):
    """The process died under the work: whether the work took effect is not known, and it was not silently run again.

    Only the item that was running is lost; what the process had finished has been delivered, what it had not begun
    goes to another process. The group stays usable and the worker is replaced.

    Attributes:
        worker (str): Name of the process.
        pid (int | None): Its process id; None if it had none yet.
        exitcode (int | None): Its exit code; negative is the number of the signal that killed it, None is not known.
        stack (str | None): Where its threads were in their Python code, as `faulthandler` writes it; None if it did
            not come to that, as with SIGKILL.
        cause (str | None): Why it probably died, where the system tells: that it ran out of memory, or reached a
            limit; None if nothing is known beyond the exit code.
    """

    worker: str
    pid: int | None
    exitcode: int | None
    stack: str | None = None
    cause: str | None = None

    def __str__(self) -> str:
        """Say what was lost, where, how, after how many tries, and why if that is known.

        Returns:
            str: One sentence.
        """
        if self.attempts:
            when = f"while running it ({self.attempts} attempt{'s' * (self.attempts > 1)})"
        else:
            when = "before it began, and there is no further try"
        text = f"{self.task} was lost: process {self.worker!r} (pid {self.pid}) {describe_exit(self.exitcode)} {when}"
        return f"{text}; likely cause: {self.cause}" if self.cause is not None else text


@public
@attrs.define(eq=False, slots=False)
class TaskTimeout(TaskError, TimeoutError):
    """The work ran longer than `ProcessGroup.options` allows, and its process was stopped.

    Also a `TimeoutError`; but one that is none of these comes from ``result(timeout=...)``, which only stops waiting.
    Only the item that took too long is lost; the group stays usable and the worker is replaced.

    Attributes:
        limit (float): The time it was allowed, in seconds.
        worker (str): Name of the process.
        pid (int | None): Its process id.
        stack (str | None): Where its threads were in their Python code when the time was up, as `faulthandler` writes
            it; None if it did not come to that.
    """

    limit: float
    worker: str
    pid: int | None
    stack: str | None = None

    def __str__(self) -> str:
        """Say what took too long, where, and after how many tries.

        Returns:
            str: One sentence.
        """
        tries = f"{self.attempts} attempt{'s' * (self.attempts > 1)}"
        where = f"process {self.worker!r} (pid {self.pid})"
        return f"{self.task} ran longer than its limit of {self.limit:g} s in {where}, which was stopped ({tries})"


@public
@attrs.define(eq=False, slots=False)
class TooManyRestarts(TaskError):
    """A service has failed for good: its process ended once more than `Restart` allows. Its cause tells how, at last.

    The other services of its group are stopped then, the one that was started last first.

    Attributes:
        worker (str): Name of the process.
        restarts (int): How often it was started again, over all.
        within (float): Seconds within which the last of these were too many.
        reason (str): What became of it at last: ``"raised"``, ``"crashed"``, ``"timed out"`` or ``"returned"``.
    """

    worker: str
    restarts: int
    within: float
    reason: str

    def __str__(self) -> str:
        """Say which service, after how many restarts, and what became of it.

        Returns:
            str: One sentence.
        """
        times = f"{self.restarts} restart{'s' * (self.restarts != 1)}"
        return f"service {self.worker!r} has failed for good after {times}: {self.task} {self.reason}"


@public
@attrs.define(eq=False, slots=False)
class NotRunning(ProcorchError):
    """There is nobody to talk with: the process of `ProcessGroup.start` has ended for good.

    Attributes:
        worker (str): Name of the process.
        exitcode (int | None): Its exit code; negative is the number of the signal that ended it, None is not known.
    """

    worker: str
    exitcode: int | None

    def __str__(self) -> str:
        """Say which process and how it ended.

        Returns:
            str: One sentence.
        """
        return f"the process {self.worker!r} {describe_exit(self.exitcode)}"


@public
@attrs.define(eq=False, slots=False)
class NotPicklable(TaskError):
    """Something could not cross between the processes. Only this one piece of work is affected.

    Attributes:
        what (str): What could not cross: ``"function"``, ``"argument"``, ``"result"`` or ``"exception"``.
        step (str): ``"dumps"``: it could not be pickled where it was; ``"loads"``: it could not be rebuilt on arrival.
        detail (str): Type and text of the error that pickle, or the object's own code, raised; for ``"exception"``,
            type and text of that exception.
        remedy (str): What to do about it.
    """

    what: Literal["function", "argument", "result", "exception"]
    step: Literal["dumps", "loads"]
    detail: str
    remedy: str

    def __str__(self) -> str:
        """Say what could not cross, in which direction, why, and what helps.

        Returns:
            str: Two or three sentences.
        """
        verb = "be pickled" if self.step == "dumps" else "be rebuilt from its pickle"
        way = "on its way to the worker" if self.what in {"function", "argument"} else "on its way back"
        return f"the {self.what} of {self.task} cannot {verb} {way}: {self.detail}. {self.remedy}"


@public
@attrs.define(eq=False, slots=False)
class TaskInterrupted(TaskError):
    """The work had begun, and had no recorded outcome, when an earlier run ended: whether it took effect is not known.

    Comes from `map` and `imap` with a checkpoint, in the place of the item's result. It was not run again, since it had
    no try left (``options(retries=)``); as it has been reported now, the next call with the checkpoint tries it again.

    Attributes:
        checkpoint (str): The checkpoint's path.
        certain (bool): Whether it is known that it had begun. If not, what had begun is lost: the file beside the
            checkpoint was removed or replaced.
        others (tuple[int, ...]): Positions of other items of which the same is true, where this error ends the call
            before their turn: they are reported by this.
    """

    checkpoint: str
    certain: bool = True
    others: tuple[int, ...] = ()

    def __str__(self) -> str:
        """Say what is not known of which item, and what the next call does.

        Returns:
            str: Two sentences, or three.
        """
        began = f"had begun ({self.attempts} attempt{'s' * (self.attempts != 1)})"
        if not self.certain:
            began = "may have begun (what had is not known)"
        text = (
            f"{self.task} {began} when an earlier run with the checkpoint {self.checkpoint!r} ended, and no outcome of "
            "it is recorded: whether it took effect is not known. The next call tries it again"
        )
        if self.others:
            text += f". The same is true of the item{'s' * (len(self.others) > 1)} {', '.join(map(str, self.others))}"
        return text


@public
@attrs.define(eq=False, slots=False)
class CheckpointError(ProcorchError):
    """The file of a call's checkpoint cannot be used: nothing more was begun, and what is recorded in it stays.

    Attributes:
        path (str): The file.
        reason (str): Why, as the end of the sentence "the checkpoint ...".
    """

    path: str
    reason: str

    def __str__(self) -> str:
        """Say which file and why.

        Returns:
            str: One sentence.
        """
        return f"the checkpoint {self.path!r} {self.reason}"


@public
@attrs.define(eq=False, slots=False)
class CheckpointMismatch(CheckpointError):
    """The checkpoint was made by another call: what it has recorded is not what this call would have done.

    Attributes:
        what (str): What differs: ``"function"``, ``"code"``, ``"version"``, ``"key"``, ``"results"`` or ``"item"``.
        recorded (str): What it was then.
        now (str): What it is now.
    """

    what: str
    recorded: str
    now: str


def describe_exit(exitcode: int | None) -> str:
    """Put an exit code into words, with signals by name.

    Args:
        exitcode (int | None): As `multiprocessing.Process.exitcode`; negative is a signal's number.

    Returns:
        str: Such as ``"was killed by SIGKILL"`` or ``"ended with exit code 3"``.
    """
    if exitcode is None:
        return "ended in an unknown way"
    if exitcode >= 0:
        return f"ended with exit code {exitcode}"
    try:
        name = signal.Signals(-exitcode).name
    except ValueError:
        name = f"signal {-exitcode}"
    return f"was killed by {name}"
