"""Architecture: which file may import which, read from the source, and what a fresh process has loaded."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import attrs
import pytest

import procorch

PACKAGE = Path(procorch.__file__).parent

FLOORS = {
    "__main__": 28,
    "__init__": 27,
    "_commands.map": 26,
    "_commands.mapping": 25,
    "aio": 24,
    "testing": 24,
    "trace": 24,
    "_aio.tasks": 23,
    "_commands.doctor": 23,
    "_aio.streams": 22,
    "_commands.checkup": 22,
    "_aio.bridge": 21,
    "_commands.demo": 21,
    "_commands.round_trip": 21,
    "_group": 20,
    "_facades": 19,
    "_executors.pool": 18,
    "_executors.executor": 17,
    "engines": 18,
    "engines.ray": 19,
    "engines._ray_lane": 18,
    "engines._ray_api": 17,
    "_recorded_stream": 15,
    "engines._ray_actor": 15,
    "_tasks": 16,
    "_process_stream": 13,
    "_ahead": 12,
    "_aio.stream_handle": 15,
    "engines._executors": 15,
    "engines.dask": 17,
    "engines._dask_worker": 15,
    "_agent": 14,
    "_aio.handle": 14,
    "_executors.maps": 14,
    "_watched_stream": 14,
    "_aio.calls": 13,
    "_configured": 13,
    "_executors.future": 13,
    "_stream": 13,
    "_future": 12,
    "_handle": 12,
    "_handles": 13,
    "_starts": 14,
    "_local": 12,
    "_supply": 12,
    "_popen": 11,
    "_supervisor": 11,
    "_channel": 10,
    "_lanes": 10,
    "_loop": 10,
    "_server": 10,
    "_core": 9,
    "_far": 9,
    "_checkpoints.run": 8,
    "_checkpoints.ledger": 7,
    "_checkpoints.code": 7,
    "_checkpoints.decisions": 7,
    "_checkpoints.journal": 6,
    "_checkpoints.digests": 6,
    "_assignments": 6,
    "_fed_intake": 9,
    "_process": 9,
    "_aio.gentle": 8,
    "_child": 8,
    "_mail": 6,
    "_functions": 8,
    "_current": 7,
    "_hands": 8,
    "_intake": 8,
    "_records": 8,
    "_runner": 7,
    "_shares": 8,
    "_arrivals": 7,
    "_commands.reader": 7,
    "_job": 7,
    "_scheduler": 8,
    "_judge": 7,
    "_dedicated": 7,
    "_agenda": 6,
    "_late_logs": 7,
    "_pickles": 7,
    "_commands.lines": 6,
    "_logs": 6,
    "_setup": 6,
    "_verdict": 6,
    "_revived": 5,
    "_checkpoints.in_band": 5,
    "_commands.trace": 5,
    "_pace": 6,
    "_inbox": 5,
    "_outcome": 4,
    "_recall": 5,
    "_roster": 5,
    "_sender": 5,
    "_shape": 5,
    "_share": 5,
    "_tally": 7,
    "_talk": 5,
    "_restarted": 6,
    "_writer": 5,
    "_backlog": 4,
    "_buffers": 3,
    "_crates": 4,
    "_engine": 4,
    "_observer": 7,
    "_options": 4,
    "_passing": 4,
    "_queue": 4,
    "_slot": 4,
    "_timelines.as_rich": 4,
    "_checkpoints.store": 3,
    "_checkpoints.files": 2,
    "_aio.feeds": 3,
    "_events": 3,
    "_executors.async_result": 3,
    "_memory": 2,
    "_mentions": 3,
    "_plain": 3,
    "_timelines.as_plot": 3,
    "_timelines.as_text": 3,
    "_wire": 3,
    "_noting": 2,
    "_checkpoint": 2,
    "_aio.hops": 2,
    "_aio.imaps": 3,
    "_aio.maps": 3,
    "_bar": 2,
    "_callbacks": 2,
    "_commands.scripts": 2,
    "_executors.pending": 2,
    "_messages": 2,
    "_pgroup": 2,
    "_places": 2,
    "_signatures": 3,
    "_spares": 1,
    "_spin": 2,
    "_timelines.reading": 2,
    "_timelines.rows": 2,
    "_timelines.words": 2,
    "_usable": 2,
    "_values": 3,
    "_rows": 3,
    "_targets": 4,
    "_way": 2,
    "_gaps": 1,
    "_checkpoints": 1,
    "_aio": 1,
    "_aio.coroutines": 1,
    "_cgroups": 1,
    "_chunks": 1,
    "_commands": 1,
    "_commands.halting": 1,
    "_commands.numbers": 1,
    "_commands.references": 1,
    "_commands.stopping": 1,
    "_cpus": 1,
    "_errors": 1,
    "_executors": 1,
    "_exit": 1,
    "_extras": 1,
    "_forked": 1,
    "_feed": 1,
    "_info": 2,
    "_items": 1,
    "_main": 1,
    "_parcel": 0,
    "_policy": 1,
    "_restart": 2,
    "_services": 3,
    "_progress": 1,
    "_signals": 1,
    "_staying": 1,
    "_threads": 1,
    "_timelines": 1,
    "_timelines.axis": 1,
    "_timelines.timeline": 1,
    "_titles": 1,
    "_tokens": 1,
    "_tree": 1,
    "_waits": 1,
    "engines._dask_data": 1,
    "engines._dask_members": 1,
    "engines._needs": 1,
    "engines._placement": 1,
    "events": 1,
    "_condition": 0,
    "_daemon": 0,
    "_notes": 0,
    "_public": 0,
}
"""A file imports files of lower floors only. `aio`, `testing` and `engines` are annexes: high up, for nobody."""

MIND = (
    "_policy",
    "_chunks",
    "_items",
    "_events",
    "_slot",
    "_backlog",
    "_roster",
    "_restart",
    "_services",
    "_recall",
    "_way",
    "_pace",
    "_agenda",
    "_judge",
    "_dedicated",
    "_scheduler",
)
NOT_IN_THE_MIND = {"multiprocessing", "threading", "queue", "pickle", "time", "random"}
"""What decides must not act, wait, or read a clock: neither itself nor through what it imports of ours."""

INSIDE_FUNCTIONS = {
    ("_commands.demo", "procorch._group"): "its workers import it for its functions, and make no group",
    ("_commands.map", "procorch._commands.mapping"): "help needs no group",
    ("_current", "asyncio"): "who waits so has loaded it",
    ("_mail", "procorch._share"): "few workers have something shared with them",
    ("_tasks", "procorch._recorded_stream"): "few calls keep what they have done, and this loads a database",
    ("_rows", "asyncio"): "a worker needs it only once it runs an async generator function",
    ("_aio.coroutines", "asyncio"): "a worker needs it only once it runs a coroutine function",
    ("__init__", "importlib"): "few who import the package need it at once",
    ("engines", "procorch.engines.dask"): "its library is there only where an executor of dask comes from",
    ("_late_logs", "procorch._logs"): "it loads logging, which a worker needs only if something in it logs",
    ("_late_logs", "logging"): "likewise; a warning is about to be logged",
    ("_commands.lines", "traceback"): "a worker whose lines do not fail need not load it",
    ("_outcome", "traceback"): "a worker whose items do not fail need not load it",
    ("_pgroup", "procorch._daemon"): "only where the system cannot tie a worker to its parent by a signal",
    ("_setup", "procorch._threads"): "few workers have a bound on their threads",
    ("_setup", "resource"): "few workers have a limit on their memory",
    ("_outcome", "procorch._values"): "a worker whose results have names in the parent need not load it",
}
"""The imports that are not at the top of their file, and why."""

BY_NAME = {
    ("_configured", "procorch.engines"): "an annex: who runs on this machine needs none of it",
}
"""The files of ours that are loaded by their names, past the stair, and why."""

HEAVY = {"argparse", "asyncio", "attr", "attrs", "dataclasses", "inspect", "logging", "sqlite3", "typing_extensions"}
"""What takes long to load, and what a worker's side must do without."""

WORKER_LOADS = {
    "mmap": "the shared page",
    "gc": "what is loaded first is not looked through for garbage; a part of the interpreter",
    "faulthandler": "the stack of a process that crashes or is stopped",
    "typing": "the messages are named tuples",
    "_typing": "part of typing",
    "typing.io": "part of typing, until Python 3.12",
    "typing.re": "part of typing, until Python 3.12",
    "__future__": "annotations are not evaluated",
}
"""What a worker's side may load beyond what a worker of the standard library has loaded anyway."""


@attrs.frozen
class Import:
    """One imported module, with its full name, and where that stands."""

    file: str
    module: str
    line: int
    at_top: bool

    @property
    def floor(self) -> str | None:
        """The file of ours that is imported; None if it is none."""
        name, _, rest = self.module.partition(".")
        if name != "procorch":
            return None
        return rest or "__init__"

    def __str__(self) -> str:
        return f"{self.file}.py:{self.line} imports {self.module}"


def files() -> list[str]:
    return sorted(name_of(path) for path in PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    return name if name == "__init__" else name.removesuffix(".__init__")


def path_of(file: str) -> Path:
    path = PACKAGE / Path(*file.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def imports_of(file: str) -> tuple[Import, ...]:
    return tuple(_imports(file, ast.parse(path_of(file).read_text()), at_top=True))


def _imports(file: str, node: ast.AST, *, at_top: bool) -> Iterator[Import]:
    match node:
        case ast.Import(names=names):
            for alias in names:
                yield Import(file, alias.name, node.lineno, at_top)
        case ast.ImportFrom(module=module, names=names, level=level):
            assert not level, f"{file}.py:{node.lineno}: relative imports are not read here"
            for alias in names:
                # What is imported from our package may be a module of it.
                inner = (PACKAGE.parent / Path(*str(module).split("."), f"{alias.name}.py")).exists()
                yield Import(file, f"{module}.{alias.name}" if inner else str(module), node.lineno, at_top)
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
            at_top = False
        case _:
            pass
    for child in ast.iter_child_nodes(node):
        yield from _imports(file, child, at_top=at_top)


every_file = pytest.mark.parametrize("file", files())


@every_file
def test_every_file_has_a_floor(file: str) -> None:
    assert file in FLOORS


@every_file
def test_arrows_point_down(file: str) -> None:
    for one in imports_of(file):
        if one.floor is not None and one.floor != "__init__":
            assert FLOORS[one.floor] < FLOORS[file], f"{one}: an arrow that does not point down"


@every_file
def test_nobody_imports_the_face_from_within(file: str) -> None:
    # `__main__` stands above the face: nobody imports it.
    assert [str(one) for one in imports_of(file) if one.floor == "__init__" and file != "__main__"] == []


def test_imports_inside_functions_have_a_reason() -> None:
    inside = {(one.file, one.module) for file in files() for one in imports_of(file) if not one.at_top}
    assert inside == set(INSIDE_FUNCTIONS)


def test_what_of_ours_is_loaded_by_name_has_a_reason() -> None:
    by_name = {
        (file, name.value)
        for file in files()
        for node in ast.walk(ast.parse(path_of(file).read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module")
        if isinstance(name := node.args[0], ast.Constant) and str(name.value).startswith("procorch.")
    }
    assert by_name == set(BY_NAME)


@pytest.mark.parametrize("file", MIND)
def test_the_mind_has_no_hands(file: str) -> None:
    todo, seen = [file], {file}
    while todo:
        for one in imports_of(todo.pop()):
            assert one.module.partition(".")[0] not in NOT_IN_THE_MIND, f"{one}, and {file} imports that"
            if one.floor is not None and one.floor not in seen:
                seen.add(one.floor)
                todo.append(one.floor)


# --- what a fresh process has loaded ----------------------------------------------------------------------------------

# What a worker of the standard library has loaded, whatever its start method.
_STANDARD_WORKER = (
    "import multiprocessing.spawn, multiprocessing.forkserver, multiprocessing.popen_fork, multiprocessing.connection"
)


def loaded_by(statement: str) -> set[str]:
    # Without site: a development install may load anything from .pth files, before we come.
    program = f"import sys; sys.path[:] = {sys.path!r}; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-S", "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.fixture(scope="module")
def standard_worker() -> set[str]:
    return loaded_by(_STANDARD_WORKER)


def test_importing_the_package_loads_next_to_nothing() -> None:
    ours = {name for name in loaded_by("import procorch") if name.partition(".")[0] == "procorch"}
    assert ours == {"procorch"}
    added = loaded_by("import procorch") - loaded_by("import typing") - {"procorch", "__future__"}
    assert added == set()


def test_a_group_of_processes_loads_nothing_for_other_engines() -> None:
    loaded = loaded_by("from procorch import ProcessGroup; ProcessGroup(1)")
    others = {"_lanes", "_far", "_agent", "_crates", "engines", "engines._executors", "engines.dask"}
    assert loaded & {f"procorch.{other}" for other in others} == set()


def test_only_calls_that_keep_what_they_have_done_load_a_database() -> None:
    loaded = loaded_by("from procorch import Checkpoint, ProcessGroup; Checkpoint('x'); ProcessGroup(1).imap(abs, [])")
    assert loaded & {"sqlite3", "procorch._recorded_stream", "procorch._noting"} == set()
    assert loaded_by("import procorch._process, procorch._noting") & HEAVY == set()


def test_an_engine_for_executors_needs_no_library_of_a_cluster() -> None:
    loaded = loaded_by("import procorch.engines")
    assert loaded & {"distributed", "dask", "ray", "procorch.engines.dask"} == set()


def test_a_worker_loads_little_more_than_one_of_the_standard_library(standard_worker: set[str]) -> None:
    loaded = loaded_by(f"{_STANDARD_WORKER}; import procorch._process")
    ours = {name for name in loaded if name.partition(".")[0] == "procorch"}
    assert ours == {
        "procorch",
        "procorch._buffers",
        "procorch._child",
        "procorch._condition",
        "procorch._cpus",
        "procorch._forked",
        "procorch._late_logs",
        "procorch._mail",
        "procorch._messages",
        "procorch._outcome",
        "procorch._parcel",
        "procorch._passing",
        "procorch._pgroup",
        "procorch._plain",
        "procorch._memory",
        "procorch._process",
        "procorch._queue",
        "procorch._runner",
        "procorch._sender",
        "procorch._setup",
        "procorch._signals",
        "procorch._spares",
        "procorch._spin",
        "procorch._titles",
        "procorch._wire",
        "procorch._writer",
    }
    assert loaded - ours - standard_worker <= set(WORKER_LOADS)


def test_a_worker_loads_nothing_heavy() -> None:
    assert loaded_by("import procorch._process") & HEAVY == set()
