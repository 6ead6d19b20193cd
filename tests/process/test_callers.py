"""Process: any caller: several threads, groups inside workers, forked copies, scripts that never close."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import targets
from conftest import METHODS
from helpers import Method

from procorch import GroupClosed, ProcessGroup


def test_several_threads_at_once(method: Method) -> None:
    with ProcessGroup(2, mp_context=method) as group, ThreadPoolExecutor(6) as threads:

        def submit(number: int) -> Any:
            return group.submit(targets.doubler, number).result()

        def start(number: int) -> Any:
            return group.start(targets.doubler, number).result()

        mapped = [threads.submit(group.map, targets.doubler, range(n, n + 50)) for n in range(6)]
        submitted = [threads.submit(submit, n) for n in range(30)]
        started = [threads.submit(start, n) for n in range(4)]
        for n, future in enumerate(mapped):
            assert future.result() == [2 * x for x in range(n, n + 50)]
        assert [future.result() for future in submitted] == [2 * n for n in range(30)]
        assert [future.result() for future in started] == [2 * n for n in range(4)]


@pytest.mark.parametrize("inner", METHODS)
def test_a_group_inside_a_worker(method: Method, inner: Method) -> None:
    with ProcessGroup(1, mp_context=method) as group:
        assert group.submit(targets.nested, [1, 2, 3], inner).result() == [2, 4, 6]


@pytest.mark.parametrize("inner", METHODS)
def test_a_group_left_open_inside_a_worker(method: Method, inner: Method) -> None:
    with ProcessGroup(1, mp_context=method) as group:
        assert group.submit(targets.nested_left_open, inner).result() == 42


def test_fork_while_threads_are_alive_and_hold_locks() -> None:
    """Workers of the default start method come from a process without threads: nothing they need can be locked."""
    stop = threading.Event()
    lock = threading.Lock()

    def hold() -> None:
        with lock:
            stop.wait()

    threads = [threading.Thread(target=hold) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        with ProcessGroup(2) as group:
            assert group.map(targets.doubler, range(100)) == list(range(0, 200, 2))
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_forked_copy_of_the_group_refuses_work(method: Method) -> None:
    with ProcessGroup(1, mp_context=method) as group:
        group.submit(targets.doubler, 1).result()
        child = os.fork()
        if child == 0:
            try:
                group.submit(targets.doubler, 1)
            except GroupClosed as error:
                group.close()
                group.join()
                os._exit(7 if "belongs to process" in str(error) else 8)
            os._exit(9)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert group.submit(targets.doubler, 2).result() == 4


def test_a_system_without_room_for_a_thread(method: Method, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with ProcessGroup(1, mp_context=method) as group:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            with pytest.raises(RuntimeError, match="can't start"):
                group.submit(targets.doubler, 1)
        assert group.submit(targets.doubler, 1).result() == 2


SCRIPT = """
import sys
sys.path[:0] = {path!r}
import targets
from procorch import ProcessGroup

if __name__ == "__main__":
    group = ProcessGroup(2, mp_context={method!r})
    print(group.submit(targets.doubler, 21).result())
    print(group.map(targets.doubler, range(3)))
    {last}
"""


@pytest.mark.parametrize("last", ["", "group.submit(targets.wait_for, '/nowhere')", "raise SystemExit(3)"])
def test_a_script_that_never_closes_its_group_ends(method: Method, last: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    here = Path(__file__).parent.parent
    script.write_text(SCRIPT.format(path=[str(here), str(here.parent)], method=method, last=last))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=20, check=False)
    assert done.stdout == "42\n[0, 2, 4]\n"
    assert ("RuntimeWarning: the program has ended before" in done.stderr) == ("wait_for" in last)
    assert "Traceback" not in done.stderr
    assert done.returncode == (3 if "SystemExit" in last else 0)


def test_functions_of_a_guarded_script(method: Method, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parent.parent.parent)!r})\n"
        "from procorch import ProcessGroup\n"
        "def triple(number):\n"
        "    return 3 * number\n"
        "if __name__ == '__main__':\n"
        f"    with ProcessGroup(2, mp_context={method!r}) as group:\n"
        "        print(group.map(triple, [1, 2]))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=20, check=False)
    assert (done.stdout, done.stderr) == ("[3, 6]\n", "")
