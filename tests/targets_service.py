"""The functions that tests of services and messages run in processes of their own."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

from helpers import wait_until
from targets import append

import procorch
from procorch import current_process


def serve(log: str = "") -> str:
    """Be ready, wait for the request to stop, and note it."""
    me = current_process()
    me.ready()
    me.stopping.wait()
    if log:
        append(log, f"stopped {me.name}")
        time.sleep(0.05)  # whoever is not waited for would be overtaken
        append(log, f"ended {me.name}")
    return "stopped"


def serve_and_take_its_time(seconds: float) -> str:
    me = current_process()
    me.ready()
    me.stopping.wait()
    time.sleep(seconds)
    return "stopped late"


async def serve_in_a_loop() -> str:
    """The same as `serve`, in an event loop."""
    me = current_process()
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.001)
            ticks += 1

    ticking = asyncio.create_task(tick())
    while not ticks:
        await asyncio.sleep(0)
    me.ready()
    await me.stopping
    await me.stopping  # once it is asked for, it is
    ticking.cancel()
    return "stopped" if ticks else "the loop stood still"


def run_loop() -> str:
    return asyncio.run(serve_in_a_loop())


def deaf(started: str) -> None:
    """Never ask whether to stop."""
    Path(started).touch()
    while True:
        time.sleep(60)


def deaf_to_signals(started: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    deaf(started)


def come_to_an_end(log: str, ends: list[str]) -> str:
    """End as the list says, one entry for each start."""
    number = len(Path(log).read_text().splitlines()) if Path(log).exists() else 0
    append(log, str(os.getpid()))
    end = ends[number]
    match end:
        case "raise":
            raise ValueError(f"start {number}")
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit 0":
            raise SystemExit(0)
        case "exit 3":
            raise SystemExit(3)
        case "hang":
            time.sleep(60)
        case "serve":
            return serve()
        case _:
            pass
    return end


def echo() -> str:
    """Send back each message doubled."""
    me = current_process()
    for message in me:
        me.send(message * 2)
    return "stopped"


def answer_with(kind: str) -> None:
    """Send one message of a kind that is hard to send, after "before", and "after" after it."""
    me = current_process()
    me.send("before")
    if kind == "lock":
        try:
            me.send(threading.Lock())
        except TypeError as error:
            me.send(str(error))
    elif kind == "breaks when loaded":
        me.send(BreaksWhenLoaded())
    me.send("after")


class BreaksWhenLoaded:
    """Cannot be rebuilt from its pickle."""

    def __reduce__(self) -> tuple[Any, ...]:
        return int, ("no number",)


def count_messages(log: str) -> int:
    """Note each message when it has been taken, and again when it is done; until "end" comes."""
    me = current_process()
    for message in me.messages(int):
        append(log, f"{message} taken")
        if message < 0:
            return message
        append(log, f"{message} done")
    return 0


def send_many(count: int, log: str = "") -> None:
    me = current_process()
    for number in range(count):
        me.send(number)
        if log:
            append(log, str(number))


def send_and_die(count: int) -> None:
    me = current_process()
    for number in range(count):
        me.send(number)
    os._exit(3)


def send_from_threads(threads: int, count: int) -> None:
    me = current_process()

    def send(thread: int) -> None:
        for number in range(count):
            me.send((thread, number))

    every = [threading.Thread(target=send, args=(thread,)) for thread in range(threads)]
    for one in every:
        one.start()
    for one in every:
        one.join()


def send_while_taking(threads: int, count: int) -> int:
    """Send from some threads what this one takes meanwhile."""
    me = current_process()
    sys.setswitchinterval(1e-6)

    def send() -> None:
        for number in range(count):
            me.send(number)

    every = [threading.Thread(target=send) for _ in range(threads)]
    for one in every:
        one.start()
    for number in range(count):
        assert me.receive() == number
    for one in every:
        one.join()
    return count


def take_one_and_wait(gate: str) -> Any:
    """Take a message, and ask for no other before a file is there."""
    message = current_process().receive()
    wait_until(Path(gate).exists)
    return message


def send_without_waiting() -> int:
    """Send until there is no room, and tell how often there was."""
    me = current_process()
    for number in range(10_000):
        try:
            me.send(number, timeout=0)
        except TimeoutError:
            return number
    return -1


def serve_and_crash() -> None:
    """Crash when asked to stop."""
    serve()
    os.kill(os.getpid(), signal.SIGSEGV)


def double_messages() -> Generator[int]:
    """Make a row of each message."""
    for message in current_process().messages(int):
        yield 2 * message


def fail_if_there(file: str) -> None:
    """Be an initializer that fails from some time on."""
    if Path(file).exists():
        raise RuntimeError("no database")


def talk_in_a_copy() -> list[str]:
    """Try in a forked copy what is for this process only."""
    me = current_process()
    me.ready()
    reader, writer = os.pipe()
    if not os.fork():
        told: list[str] = []
        for call in (me.ready, lambda: me.send(1), me.receive, me.stopping.is_set, lambda: me.stopping.wait(1)):
            try:
                call()
            except RuntimeError as error:
                told.append(str(error))
        os.write(writer, "\n".join(told).encode())
        os._exit(0)
    os.close(writer)
    os.wait()
    with os.fdopen(reader) as file:
        return [*file.read().splitlines(), me.receive()]


def take_after(gate: str, count: int) -> list[Any]:
    """Take so many messages once a file is there."""
    wait_until(Path(gate).exists)
    me = current_process()
    return [me.receive() for _ in range(count)]


def take_one(timeout: float | None, kind: type | None = None) -> Any:
    me = current_process()
    me.ready()
    try:
        return me.receive(kind, timeout)
    except (EOFError, TimeoutError, TypeError) as error:
        return repr(error)


def take_shared() -> Any:
    """Take a handle of what is shared, while this runs, and give what it holds."""
    shared: procorch.Shared[Any] = current_process().receive(procorch.Shared)
    return shared.value


def who_may_talk(_: object = None) -> str:
    try:
        return current_process().name
    except RuntimeError as error:
        return str(error)


def fork_and_talk() -> tuple[str, str]:
    """Ask for the current process in a forked copy, too."""
    mine = who_may_talk()
    reader, writer = os.pipe()
    if not os.fork():
        os.write(writer, who_may_talk().encode())
        os._exit(0)
    os.close(writer)
    os.wait()
    with os.fdopen(reader) as file:
        return mine, file.read()


def talk_within() -> tuple[str, Any]:
    """Have a group of one's own, whose process talks with this one."""
    me = current_process()
    with procorch.ProcessGroup(name="inner", mp_context="fork") as group:
        inner = group.start(echo)
        inner.send(me.receive())
        answer = inner.receive()
        inner.stop()
        return inner.name, answer


def thread_that_talks_late(gate: str) -> None:
    """Return, and leave a thread that asks for the current process only then."""

    def ask(log: str) -> None:
        wait_until(Path(gate).exists)
        append(log, who_may_talk())

    threading.Thread(target=ask, args=(f"{gate}.log",)).start()
