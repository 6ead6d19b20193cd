"""A smoke test of procorch as it was installed: needs nothing but the package, and says so in one line if all is well.

Run it as a script in an empty folder, with the Python of the environment and no tests beside. What is tried runs in a
process of its own, so that what that leaves behind can be seen from outside.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import itertools
import multiprocessing
import os
import platform
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import procorch
from procorch import ProcessGroup, Restart, TaskTimeout, WorkerCrashed, current_process
from procorch.aio import AsyncProcessGroup

METHODS: tuple[Literal["forkserver", "spawn", "fork"], ...] = ("forkserver", "spawn", "fork")


def doubler(number: int) -> int:
    return number * 2


def doubler_but_seven(number: int) -> int:
    if number == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * 2


def doubler_noted(notes: str, number: int) -> int:
    note(notes, f"{number}")
    return number * 2


def rows(count: int) -> Iterator[int]:
    yield from range(count)


def serve(notes: str) -> None:
    me = current_process()
    me.ready()
    me.stopping.wait()
    note(notes, me.name)


def note(notes: str, text: str) -> None:
    with Path(notes).open("a") as file:
        file.write(f"{text}\n")


def check_installed() -> None:
    assert importlib.metadata.version("procorch") == procorch.__version__
    assert Path(procorch.__file__).is_relative_to(sysconfig.get_path("purelib")), procorch.__file__
    program = "import sys, procorch; print({'asyncio', 'numpy'} & set(sys.modules))"
    assert output(sys.executable, "-c", program) == "set()\n"
    assert output(sys.executable, "-m", "procorch", "doctor").endswith("result: procorch works here\n")
    script = f"{sysconfig.get_path('scripts')}/procorch"
    assert output(script, "map", "--json", "math:sqrt", given="4\n9\n") == "2.0\n3.0\n"


def output(*command: str, given: str = "") -> str:
    return subprocess.run(command, input=given, stdout=subprocess.PIPE, text=True, check=True).stdout


def check_groups(method: Literal["forkserver", "spawn", "fork"]) -> None:
    with ProcessGroup(2, mp_context=method) as group:
        assert group.map(doubler, range(1000)) == list(range(0, 2000, 2))
        results = group.map(doubler_but_seven, range(20), return_exceptions=True)
        assert [number for number, result in enumerate(results) if result != number * 2] == [7], results
        assert isinstance(results[7], WorkerCrashed)
        assert results[7].exitcode == -signal.SIGKILL
        assert isinstance(group.options(timeout=0.1).submit(time.sleep, 3600).exception(), TaskTimeout)
        stream = group.imap(doubler, (number for number in itertools.count()), buffersize=8)  # it has no end
        assert list(itertools.islice(stream, 100)) == list(range(0, 200, 2))
        stream.close()
    with ProcessGroup(name="doubler", mp_context=method) as group:
        group.start(doubler, 5)
        group.start(doubler, 10)
        group.start(doubler, 2, name="Test")
        ended = {process.name: process.result() for process in group.as_completed()}
        assert ended == {"doubler-1": 10, "doubler-2": 20, "Test": 4}
        assert list(group.start(rows, 100)) == list(range(100))


def check_services(notes: str) -> None:
    with ProcessGroup(name="service") as group:
        first, second = (group.start(serve, notes, restart=Restart(backoff=0.01)) for _ in range(2))
        assert first.wait_ready(60)
        assert second.wait_ready(60)
        os.kill(second.pid or 0, signal.SIGKILL)
        wait_until(lambda: second.restarts, "the service was not started again")
        assert second.wait_ready(60)
    assert Path(notes).read_text() == "service-2\nservice-1\n"  # the last one first


def check_resuming(checkpoint: str, notes: str) -> None:
    for items in (10, 20):
        results = ProcessGroup.map(doubler_noted, [notes] * items, range(items), checkpoint=checkpoint)
        assert results == list(range(0, 2 * items, 2))
    assert sorted(map(int, Path(notes).read_text().split())) == list(range(20))


async def check_asyncio() -> None:
    async with AsyncProcessGroup(2) as group:
        assert [result async for result in group.imap(doubler, range(100))] == list(range(0, 200, 2))
        sleep = asyncio.create_task(group.run(time.sleep, 3600))
        assert not (await asyncio.wait([sleep], timeout=0.1))[0]
        sleep.cancel()
        assert await group.run(doubler, 5) == 10


def check_all() -> None:
    assert ProcessGroup.map(doubler, range(1000)) == list(range(0, 2000, 2))  # the fork server is there from now on
    before = descriptors()
    for method in METHODS:
        check_groups(method)
    with tempfile.TemporaryDirectory() as folder:
        check_services(f"{folder}/services")
        check_resuming(f"{folder}/run.db", f"{folder}/items")
    asyncio.run(check_asyncio())
    assert not multiprocessing.active_children()
    assert descriptors() == before, f"left open: {descriptors() - before}"
    check_installed()


def descriptors() -> Counter[str]:
    links = [link for link in Path("/proc/self/fd").iterdir() if link.exists()]  # not that of the listing itself
    return Counter(str(link.readlink()).partition(":[")[0] for link in links)


def belongs(process: Path, mark: str) -> bool:
    try:
        return mark in (process / "environ").read_text(errors="replace")
    except OSError:
        return False  # it has ended, or is somebody else's


def wait_until(true: Callable[[], object], otherwise: str, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.005)


def main() -> None:
    began, memory = time.monotonic(), set(Path("/dev/shm").iterdir())
    mark = f"{os.getpid()}-{time.time_ns()}"  # all processes that are started have it in their environment
    subprocess.run([sys.executable, __file__, "check"], env=os.environ | {"SMOKE": mark}, timeout=300, check=True)
    wait_until(lambda: not any(belongs(one, mark) for one in Path("/proc").glob("[0-9]*")), "processes are left", 5.0)
    wait_until(lambda: set(Path("/dev/shm").iterdir()) <= memory, "files are left in /dev/shm", 5.0)
    print(f"smoke: ok on {platform.python_version()}, {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    check_all() if sys.argv[1:] else main()
