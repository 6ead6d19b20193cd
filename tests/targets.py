"""The functions that tests run in worker processes. Importable there by name, whatever the start method.

Each of thousands of workers imports this, so it imports what a worker has anyhow: names of procorch's face are loaded
when they are used, which most functions never do.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import current_process, util
from pathlib import Path
from typing import Any, NoReturn

from helpers import Method

import procorch
from procorch import _sender, _wire
from procorch._messages import Bytes, Kind, Large
from procorch._sender import Sender
from procorch._wire import Piece, WithDescriptor
from procorch._writer import Writer


def crash(exitcode: int = -signal.SIGKILL) -> NoReturn:
    from procorch import testing  # here: it brings all that a fake engine needs

    testing.crash(exitcode)


def doubler(number: Any) -> Any:
    return number * 2


def double_logged(log: str, index: int, value: Any) -> Any:
    """Double, and append one line to a file for the execution: O_APPEND makes each write whole."""
    append(log, f"{index} {os.getpid()}")
    return value * 2


def append(log: str, line: str) -> None:
    fd = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(fd, f"{line}\n".encode())
    finally:
        os.close(fd)


def whoami(_: object = None) -> tuple[str, int]:
    return current_process().name, os.getpid()


def whoami_parent(_: object = None) -> tuple[int, int, bool]:
    return os.getpid(), os.getpgid(0), current_process().daemon


def add(first: int, second: int) -> int:
    return first + second


def add_three(first: int, second: int, *, third: int = 0) -> int:
    return first + second + third


def keywords(**kwargs: Any) -> dict[str, Any]:
    return kwargs


def divide(number: float) -> float:
    return 1 / number


def raise_key_error(key: object) -> None:
    raise KeyError(key)


def crash_on(bad: int, value: int) -> int:
    if value == bad:
        crash()
    return value


def crash_on_three(value: int) -> int:
    return crash_on(3, value)


def crash_with(exitcode: int) -> None:
    crash(exitcode)


def crash_until(folder: str, times: int) -> int:
    """Crash the first ``times`` times; give the number of the attempt that did not."""
    path = Path(folder) / "attempts"
    append(str(path), "x")
    attempt = len(path.read_text().splitlines())
    if attempt <= times:
        crash()
    return attempt


def exit_with(code: object) -> None:
    raise SystemExit(code)


def os_exit(code: int) -> None:
    os._exit(code)


def interrupt() -> None:
    raise KeyboardInterrupt


def wait_for(path: str) -> str:
    """Wait until a file is there; the test makes it, or ends this process."""
    while not Path(path).exists():
        time.sleep(0.002)
    return path


def begin_and_wait(log: str, gate: str, value: Any = None) -> Any:
    append(log, f"{value} {os.getpid()}")
    wait_for(gate)
    return value


def stall_or_double(log: str, gate: str, stalls: int, value: int) -> int:
    append(log, str(value))
    if value == stalls:
        wait_for(gate)
    return value * 2


def fail_after(gate: str, value: int) -> int:
    """Item 0 waits and then fails, item 1 fails at once and opens the gate."""
    if value == 0:
        wait_for(gate)
        raise KeyError(value)
    if value == 1:
        append(gate, "open")
        raise ValueError(value)
    return value


def ignore_sigterm_and_wait(log: str, gate: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    begin_and_wait(log, gate)


def leave_thread(gate: str) -> int:
    threading.Thread(target=wait_for, args=(gate,)).start()
    return 7


def fork_and_return(_: int) -> int:
    """Return from the function in two processes."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
    return os.getpid()


def fork_and_raise(error: type[BaseException], *args: object) -> int:
    """Raise in a forked copy, and give the exit code that it ends with.

    The error is made here: tblib, once something has loaded it, pickles a `SystemExit` without its code.
    """
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    raise error(*args)


def nested(numbers: list[int], method: Method) -> list[int]:
    with procorch.ProcessGroup(2, mp_context=method) as group:
        return group.map(doubler, numbers)


def nested_left_open(method: Method) -> int:
    group = procorch.ProcessGroup(1, mp_context=method)
    result: int = group.submit(doubler, 21).result()
    return result


class Unloadable:
    """Pickles, and cannot be rebuilt."""

    def __reduce__(self) -> Any:
        return _refuse, ()


def _refuse() -> None:
    raise RuntimeError("will not be rebuilt")


class Undumpable:
    """Cannot be pickled."""

    def __reduce__(self) -> Any:
        raise RuntimeError("will not be pickled")


class DiesWhenLoaded:
    """Ends the process that rebuilds it."""

    def __reduce__(self) -> Any:
        return os._exit, (9,)


class DiesWhenDumped:
    """Ends the process that pickles it."""

    def __reduce__(self) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


def make(kind: str) -> object:
    makers: dict[str, Callable[[], object]] = {
        "unloadable": Unloadable,
        "undumpable": Undumpable,
        "dies": DiesWhenDumped,
        "lock": threading.Lock,
    }
    return makers[kind]()


def identity(value: Any) -> Any:
    return value


def call(pair: tuple[Any, Any]) -> Any:
    return pair[0](pair[1])


class TwoArguments(Exception):
    """Needs more than it stores: its own pickle cannot be rebuilt."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(f"{why} ({code})")
        self.code = code


def raise_two_arguments(code: int) -> None:
    raise TwoArguments(code, "bad luck")


class Unsendable(Exception):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


def raise_unsendable(text: str) -> None:
    raise Unsendable(text)


def broken_initializer() -> None:
    raise ZeroDivisionError("no luck at the start")


def exiting_initializer() -> None:
    raise SystemExit(3)


def dying_initializer() -> None:
    os._exit(5)


settings: dict[str, Any] = {}


def remember(key: str, value: Any) -> None:
    settings[key] = value


def recall(key: str) -> Any:
    return settings.get(key)


def blob(size: int) -> bytes:
    return bytes(size)


def length(data: bytes) -> int:
    return len(data)


def count_from(start: int, taken: list[int]) -> Iterator[int]:
    """An infinite input that notes what was taken of it."""
    number = start
    while True:
        taken.append(number)
        yield number
        number += 1


# --- initializers that let a worker die at one exact place ------------------------------------------------------------


def kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_half_way_through_a_record(fatal: bytes) -> None:
    """Die when half of the record that holds ``fatal`` is in the page."""
    honest = Writer.put

    def put(self: Writer, kind: Kind, payload: Bytes, now_ns: int) -> bool:
        if fatal in bytes(payload):
            half = len(payload) // 2
            self._page[self._end + 8 : self._end + 8 + half] = bytes(payload)[:half]
            kill_self()
        return honest(self, kind, payload, now_ns)

    Writer.put = put  # type: ignore[method-assign]  # that is the sabotage


def die_before_noting_a_large_result() -> None:
    """Die when a large result has been sent whole and the page does not say so yet."""
    honest = Writer.put

    def put(self: Writer, kind: Kind, payload: Bytes, now_ns: int) -> bool:
        if kind is Kind.BESIDE:
            kill_self()
        return honest(self, kind, payload, now_ns)

    Writer.put = put  # type: ignore[method-assign]  # that is the sabotage


def die_half_way_through_a_frame() -> None:
    """Die when half of a large result's frame has been sent."""
    encode, flush = _wire.encode, Sender._flush

    def encode_half(message: Any) -> list[Piece]:
        header, *payload = encode(message)
        if not isinstance(message, Large):
            return [header, *payload]
        Sender._flush = flush_and_die  # type: ignore[method-assign]  # that is the sabotage
        (piece,) = payload
        if isinstance(piece, WithDescriptor):
            return [header, WithDescriptor(piece.data[: len(piece.data) // 2], piece.descriptor)]
        return [header, piece[: len(piece) // 2]]

    def flush_and_die(self: Sender) -> None:
        flush(self)
        kill_self()

    vars(_sender)["encode"] = encode_half


def die_when_exiting() -> None:
    """Die in the middle of an orderly end."""
    util.Finalize(None, kill_self, exitpriority=5)


def log_and_divide(log: str, number: int) -> float:
    append(log, str(number))
    return 1 / number


def stall_or_divide(log: str, gate: str, number: int) -> float:
    """Item 1 waits; 0 fails once item 1 has begun."""
    if number == 0:
        while "1" not in Path(log).read_text().splitlines():
            time.sleep(0.002)
    append(log, str(number))
    if number == 1:
        wait_for(gate)
    return 1 / number


def first_of(values: list[int], _: object) -> int:
    return values[0]


class DiesWhenLoadedAsFunction(DiesWhenLoaded):
    """The same, as a callable."""

    def __call__(self, _: object) -> None:
        raise AssertionError


def fail_at_thirty(number: int) -> float:
    time.sleep(0.004)
    return 1 / (number - 30)


def submit_as_daemon() -> int:
    current_process()._config["daemon"] = True  # type: ignore[attr-defined]  # as a worker of multiprocessing.Pool
    try:
        with procorch.ProcessGroup(1) as group:
            result: int = group.submit(doubler, 1).result()
            return result
    finally:
        current_process()._config["daemon"] = False  # type: ignore[attr-defined]


def nap(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()
