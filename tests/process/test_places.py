"""Process: any place: scripts without a main guard, standard input, ``-c``, packages, the REPL, a notebook's kernel."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from conftest import METHODS
from helpers import Method, read_all

from procorch import ProcessGroup

TOP = Path(__file__).parents[2]

Place: TypeAlias = Callable[[Path, str], tuple[list[str], str]]
"""Makes, in a directory and of a program, the command that runs it, and what that reads."""


def as_file(directory: Path, program: str) -> tuple[list[str], str]:
    (directory / "script.py").write_text(program)
    return ["script.py"], ""


def as_input(directory: Path, program: str) -> tuple[list[str], str]:
    return ["-"], program


def as_argument(directory: Path, program: str) -> tuple[list[str], str]:
    return ["-c", program], ""


def as_session(directory: Path, program: str) -> tuple[list[str], str]:
    return ["-q", "-i"], program


def as_module(directory: Path, program: str) -> tuple[list[str], str]:
    (directory / "package").mkdir()
    (directory / "package" / "module.py").write_text(program)
    return ["-m", "package.module"], ""


def as_package(directory: Path, program: str) -> tuple[list[str], str]:
    (directory / "package").mkdir()
    (directory / "package" / "__main__.py").write_text(program)
    return ["-m", "package"], ""


def as_directory(directory: Path, program: str) -> tuple[list[str], str]:
    (directory / "app").mkdir()
    (directory / "app" / "__main__.py").write_text(program)
    return ["app"], ""


PLACES = [as_file, as_input, as_argument, as_session, as_module, as_package, as_directory]
FILES = [as_file, as_module, as_package, as_directory]


def environment(directory: Path, *, cloudpickle: bool = True) -> dict[str, str]:
    paths = [str(TOP)]
    if not cloudpickle:
        (directory / "without").mkdir(exist_ok=True)
        (directory / "without" / "cloudpickle.py").write_text("raise ImportError('not installed')\n")
        paths.insert(0, str(directory / "without"))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "RUNS": str(directory / "runs")}


def run(place: Place, directory: Path, program: str, *, cloudpickle: bool = True) -> subprocess.CompletedProcess[str]:
    arguments, given = place(directory, program)
    return subprocess.run(
        [sys.executable, *arguments],
        input=given,
        cwd=directory,
        env=environment(directory, cloudpickle=cloudpickle),
        capture_output=True,
        text=True,
        timeout=25,
        check=False,
    )


def runs(directory: Path) -> int:
    """How many processes have run the program from its top."""
    return len((directory / "runs").read_text().splitlines())


# Without empty lines inside of blocks, so that the REPL takes it too.
PROGRAM = """
import os
from procorch import ProcessGroup
with open(os.environ["RUNS"], "a") as file:
    print(os.getpid(), file=file)

class Point:
    colour = "red"
    def __init__(self, x):
        self.x = x
    def moved(self):
        return Point(self.x + 1)

class OddError(Exception):
    def __init__(self, code, reason):
        super().__init__(f"{code}: {reason}")
        self.code = code

def double(number):
    return 2 * number

def move(point):
    return point.moved()

def fail(number):
    raise OddError(number, "odd")

factor = 2
setting = None
kept = {}

def prepare(value):
    global setting, extra
    setting = extra = kept["value"] = value

def prepared(_):
    return setting, extra, kept["value"]

def scaled(number):
    return number * factor

def check_values(group):
    global factor
    factor = 2
    three = 3
    assert group.map(lambda number: number * three, [1, 2]) == [3, 6]
    assert group.submit(lambda: (lambda: three)).result()() == 3
    twice = group.imap(scaled, range(40), chunksize=1)
    assert [next(twice), next(twice)] == [0, 2]
    factor = 3
    thrice = group.imap(scaled, range(2, 40), chunksize=1)
    assert list(zip(twice, thrice)) == [(2 * number, 3 * number) for number in range(2, 40)]
    back = group.submit(lambda: scaled).result()
    factor = 4
    assert (back(1), factor, group.submit(scaled, 1).result()) == (4, 4, 4)
    assert group.submit(prepared, 0).result() == ("yes", "yes", "yes")

def check(method, by_value):
    with ProcessGroup(2, mp_context=method, initializer=prepare, initargs=("yes",)) as group:
        assert group.map(double, range(5)) == [0, 2, 4, 6, 8]
        assert group.map(prepared, [0] * 9) == [("yes", "yes", "yes")] * 9
        assert group.start(double, 21).result() == 42
        Point.colour = "blue"
        points = group.map(move, [Point(1), Point(2)])
        assert [(type(point) is Point, point.x) for point in points] == [(True, 2), (True, 3)]
        assert list(group.imap(Point.moved, points))[1].x == 4
        assert group.submit(type, points[0]).result() is Point
        assert Point.colour == "blue"
        try:
            group.submit(fail, 7).result()
        except OddError as error:
            assert (type(error) is OddError, error.code, str(error)) == (True, 7, "7: odd")
        else:
            raise AssertionError
        if by_value:
            check_values(group)
    return "good"

"""
WORK = "print([check({!r}, {!r})])\n"
GUARD = "if __name__ == '__main__':\n    "


@pytest.mark.parametrize("place", PLACES)
def test_what_lives_in_main_goes_by_value(place: Place, tmp_path: Path) -> None:
    done = run(place, tmp_path, PROGRAM + "".join(WORK.format(method, True) for method in METHODS))
    assert done.stdout == "['good']\n" * len(METHODS)
    if place is as_session:
        assert "Error" not in done.stderr  # the prompts are there
    else:
        assert done.stderr == ""
    assert runs(tmp_path) == 1


@pytest.mark.limit(60)
def test_the_interactive_interpreter(tmp_path: Path) -> None:
    """In a terminal, where newer interpreters have another REPL than on a pipe."""
    session = "\r".join(
        [
            "import os; from procorch import ProcessGroup",
            "with open(os.environ['RUNS'], 'a') as file: print(file=file)",
            "",
            "def double(number): return 2 * number",
            "",
            "class Point: pass",
            "",
            *(f"ProcessGroup(1, mp_context={method!r}).map(double, [1, 2]), {method!r}" for method in METHODS),
            "type(ProcessGroup(1).submit(Point).result()) is Point",
            "exit()",
            "",
        ]
    )
    variables = {**environment(tmp_path), "TERM": "xterm", "PYTHONWARNINGS": "ignore"}
    terminal, other = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-q"], stdin=other, stdout=other, stderr=other, cwd=tmp_path, env=variables
    ) as repl:
        os.close(other)
        os.write(terminal, session.encode())
        output = read_all(terminal)
        assert repl.wait() == 0
    for method in METHODS:
        assert f"([2, 4], '{method}')" in output
    assert "True" in output
    assert runs(tmp_path) == 1


@pytest.mark.limit(90)
def test_a_notebook(tmp_path: Path) -> None:
    cells = [PROGRAM, "group = ProcessGroup(1)\ngroup.map(double, [1])\nprint(group.map(double, [1, 2]))"]
    cells += [WORK.format(method, True) for method in METHODS]
    cells += [
        "def double(number):\n    return f'twice {number}'",
        "print(group.map(double, [1, 2]))",
        "class Point:\n    new = True",
        "print(group.submit(lambda point: (point.new, type(point)), Point()).result() == (True, Point))",
        "group.close()",
    ]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(TOP / "tests" / "kernel.py")],
        input=json.dumps(cells),
        cwd=tmp_path,
        env={**environment(tmp_path), "IPYTHONDIR": str(tmp_path), "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=80,
        check=False,
    )
    good = ["['good']\n"] * len(METHODS)
    assert json.loads(done.stdout) == [
        "", "[2, 4]\n", *good, "", "['twice 1', 'twice 2']\n", "", "True\n", ""
    ], done.stderr  # fmt: skip
    assert runs(tmp_path) == 1


def test_a_class_is_as_it_was_at_the_call(method: Method) -> None:
    class Local:
        colour = "red"

    with ProcessGroup(1, mp_context=method) as group:
        assert group.submit(lambda: Local.colour).result() == "red"
        Local.colour = "blue"
        assert group.submit(lambda: Local.colour).result() == "blue"
        [one] = group.map(lambda _: Local(), [1])
        assert type(one) is Local


# --- without cloudpickle ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", FILES)
def test_without_cloudpickle_a_guard_is_enough(place: Place, method: Method, tmp_path: Path) -> None:
    done = run(place, tmp_path, PROGRAM + GUARD + WORK.format(method, False), cloudpickle=False)
    assert (done.stdout, done.stderr) == ("['good']\n", "")
    # Two workers, or three with that of `start`, have imported it; copies of the caller have it.
    assert runs(tmp_path) == 1 if method == "fork" else 1 < runs(tmp_path) <= 4


@pytest.mark.parametrize("place", PLACES)
def test_without_cloudpickle_copies_of_the_process_need_nothing(place: Place, tmp_path: Path) -> None:
    done = run(place, tmp_path, PROGRAM + WORK.format("fork", False), cloudpickle=False)
    assert done.stdout == "['good']\n"
    assert runs(tmp_path) == 1


CALLS = {
    "class map": ("ProcessGroup.map(double, [1, 2])", "double"),
    "map": ("with ProcessGroup(1, mp_context={!r}) as group:\n    group.map(double, [1, 2])\n", "double"),
    "submit": ("with ProcessGroup(1, mp_context={!r}) as group:\n    group.submit(double, 1).result()\n", "double"),
    "start": ("with ProcessGroup(1, mp_context={!r}) as group:\n    group.start(double, 1).result()\n", "double"),
    "item": ("ProcessGroup.map(str, [Point(1), Point(2)])", "Point"),
    "submitted": (
        "with ProcessGroup(1, mp_context={!r}) as group:\n    group.submit(str, Point(1)).result()\n",
        "Point",
    ),
    "initializer": ("ProcessGroup(1, mp_context={!r}, initializer=prepare)", "prepare"),
    "lambda": ("ProcessGroup.map(lambda number: number, [1])", "lambda"),
}


def check_short_error(done: subprocess.CompletedProcess[str], name: str) -> None:
    error = done.stderr[done.stderr.index("Traceback") :]
    assert error.count("Traceback") == 1
    assert len(error.splitlines()) <= 15
    assert f"__main__.{name}" in error.replace("<lambda>", "lambda")
    assert "pip install 'procorch[pickle]'" in error
    assert done.stdout == ""


@pytest.mark.parametrize("call", CALLS)
def test_without_cloudpickle_and_guard_one_short_error(call: str, tmp_path: Path) -> None:
    work, name = CALLS[call]
    done = run(as_file, tmp_path, PROGRAM + work.format("forkserver"), cloudpickle=False)
    check_short_error(done, name)
    assert done.returncode == 1
    assert runs(tmp_path) == 1


@pytest.mark.parametrize("place", PLACES)
def test_without_cloudpickle_one_short_error_in_any_place(place: Place, tmp_path: Path) -> None:
    work, name = CALLS["map"]
    done = run(place, tmp_path, PROGRAM + work.format("spawn") + "\n", cloudpickle=False)
    check_short_error(done, name)
    assert runs(tmp_path) == 1


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
@pytest.mark.parametrize(
    ("work", "reason"),
    [
        ("group.map(double, [1])", "about to import it"),
        ("group.map(str, [1])", "a worker that imports the main module"),
    ],
)
def test_a_guard_that_guards_nothing_costs_an_item(method: Method, work: str, reason: str, tmp_path: Path) -> None:
    """A worker that imports the main module is to start no worker that imports the main module."""
    program = (
        f"{PROGRAM}\nwith ProcessGroup(1, mp_context={method!r}) as group:\n"
        f"    {work}\n    group.submit(double, 1).result()\n{GUARD}pass\n"
    )
    done = run(as_file, tmp_path, program, cloudpickle=False)
    assert reason in done.stderr
    assert done.stderr.splitlines()[-1].startswith(("procorch.NotPicklable", "procorch: item 0"))
    assert runs(tmp_path) == 2


def test_a_group_inside_a_worker_that_has_imported_main(tmp_path: Path) -> None:
    program = (
        f"{PROGRAM}\ndef inner(number):\n    with ProcessGroup(1) as group:\n"
        "        return group.map(move, [Point(number)])\n"
        f"{GUARD}with ProcessGroup(1) as group:\n        [point] = group.submit(inner, 1).result()\n"
        "        print(type(point) is Point, point.x)\n"
    )
    for cloudpickle in (True, False):
        done = run(as_file, tmp_path, program, cloudpickle=cloudpickle)
        assert (done.stdout, done.stderr) == ("True 2\n", "")
        assert runs(tmp_path) == (1 if cloudpickle else 4)
