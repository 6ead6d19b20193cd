"""Change the scheduler in one place at a time, and see whether a test notices: ``python tests/mutation/mutate.py``.

No part of the suite: it takes ten minutes. One process collects the tests and sees which lines each of them runs. Then
each change gets a process of its own, forked from that one, where the changed function's code takes the place of the
old one. The tests that run the changed line follow, the quickest first, up to the first that fails; where none does,
histories of `test_scheduler_machine.py` do. What survives all of them is printed.

Not changed are the defaults of fields, which `docs/defaults.md` is held against, and assertions.
"""

from __future__ import annotations

import argparse
import ast
import gc
import os
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

import attrs
import pytest
from _pytest.runner import runtestprotocol
from changes import Change, changes_of
from hypothesis import HealthCheck, Phase, settings

MODULES = "_scheduler, _agenda, _judge, _dedicated, _roster, _slot, _backlog, _services, _restart, _policy, _chunks, "
MODULES += "_pace, _recall, _way"
TESTS = "scheduler, scheduler_streams, slot, backlog, restarts, policy, chunks, pace, recall, way, distant, "
MACHINE = "scheduler_machine"
VERDICTS = ("survived", "killed by a history", "could not be made", "killed")
SURVIVED, KILLED_BY_HISTORY, FAILED, KILLED = range(4)
"""Exit codes. From the last on, they also tell by the how manyth test, if that is known."""
TIMED_OUT = "timed out"
PATIENCE = 5.0
"""How many times its usual processor time a test may take, and..."""
SLACK = 5.0
"""... so many seconds more. Beyond that, the change makes it hang, and counts as noticed."""
HISTORY = 0.05
"""Seconds that a history takes."""
MEMORY = 2 << 30
"""Bytes; some changes fill a list for ever."""


@attrs.frozen(eq=False)
class Watched:
    """A test, and what it does without a change."""

    item: pytest.Item
    seconds: float
    lines: frozenset[tuple[str | None, int]]


def passes(item: pytest.Item) -> bool:
    return not any(report.failed for report in runtestprotocol(item, log=False, nextitem=None))


def watched(item: pytest.Item, files: frozenset[str]) -> Watched:
    lines: set[tuple[str | None, int]] = set()

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        if frame.f_code.co_filename not in files:
            return None
        lines.add((frame.f_code.co_filename, frame.f_lineno))
        return trace

    begun = time.process_time()
    sys.settrace(trace)
    passed = passes(item)
    sys.settrace(None)
    if not passed:
        sys.exit(f"{item.nodeid} fails without a change")
    return Watched(item, time.process_time() - begun, frozenset(lines))


def codes_in(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from codes_in(constant)


def make(change: Change, tree: ast.Module, module: ModuleType) -> None:
    """Change a module as it is loaded here: whoever has one of its functions has the changed one."""
    change.apply()
    ast.fix_missing_locations(tree)
    file = str(module.__file__)
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == change.function:
            exec(compile(ast.Module([node], []), file, "exec"), vars(module))
            return
    (new,) = (one for one in codes_in(compile(tree, file, "exec")) if one.co_qualname == change.function)
    old = [one for one in gc.get_objects() if isinstance(one, FunctionType) and one.__code__.co_filename == file]
    (function,) = (one for one in old if one.__code__.co_qualname == change.function)
    function.__code__ = new


class Mutation:
    """A plugin of pytest: what it does in the place of a run of the tests."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._running: dict[int, tuple[str, Change, list[Watched]]] = {}
        self._keen: dict[str, dict[Watched, None]] = {}  # what has noticed other changes of a function
        self._counts: dict[str, Counter[str]] = {name: Counter() for name in options.modules}

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        modules = {name: import_module(f"procorch.{name}") for name in self._options.modules}
        files = frozenset(str(module.__file__) for module in modules.values())
        quick = [item for item in session.items if MACHINE not in item.path.name]
        histories = [item for item in session.items if item not in quick and self._options.histories]
        for item in histories:
            machine: Any = item
            machine.cls.settings = settings(machine.cls.settings, max_examples=self._options.histories)
        tests = sorted((watched(item, files) for item in quick), key=lambda test: test.seconds)
        print(f"\n{len(tests)} tests, {sum(test.seconds for test in tests):.0f} s", flush=True)
        for name, module in modules.items():
            tree = ast.parse(Path(str(module.__file__)).read_text())
            for change in self._chosen(list(changes_of(tree))):
                while len(self._running) >= self._options.processes:
                    self._wait()
                lines = {(module.__file__, line) for line in change.lines}
                keen = self._keen.setdefault(change.function, {})
                those = [test for test in (*reversed(keen), *tests) if not lines.isdisjoint(test.lines)]
                those = list(dict.fromkeys(those))
                pid = os.fork()
                if not pid:
                    self._be_child(partial(make, change, tree, module), those, histories)
                self._running[pid] = name, change, those
            while self._running:
                self._wait()
            self._count(name, self._counts[name])
        self._count("all", sum(self._counts.values(), Counter()))
        return True

    @staticmethod
    def _count(name: str, counts: Counter[str]) -> None:
        print(
            f"{name}: {counts.total()}",
            *(f"{many} {verdict}" for verdict, many in counts.items()),
            sep=", ",
            flush=True,
        )

    def _chosen(self, changes: list[Change]) -> Sequence[Change]:
        only, most = self._options.only, self._options.sample
        chosen = [one for one in changes if not only or f"{one.function}:{one.statement}" in only]
        return random.Random(self._options.seed).sample(chosen, min(most, len(chosen))) if most else chosen

    def _be_child(
        self, make_change: Callable[[], None], tests: Sequence[Watched], histories: Sequence[pytest.Item]
    ) -> None:
        verdict = FAILED
        try:
            nothing = os.open(os.devnull, os.O_RDWR)
            for descriptor in range(3):
                os.dup2(nothing, descriptor)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            make_change()
            verdict = self._verdict(tests, histories)
        finally:
            os._exit(min(verdict, 255))

    def _verdict(self, tests: Sequence[Watched], histories: Sequence[pytest.Item]) -> int:
        for index, test in enumerate(tests):
            self._allow(test.seconds)
            if not passes(test.item):
                return KILLED + index
        self._allow(self._options.histories * HISTORY)
        return SURVIVED if all(passes(item) for item in histories) else KILLED_BY_HISTORY

    @staticmethod
    def _allow(seconds: float) -> None:
        """Be ended by the system after so much more processor time, and something."""
        most = int(time.process_time() + PATIENCE * seconds + SLACK)
        resource.setrlimit(resource.RLIMIT_CPU, (most, resource.RLIM_INFINITY))

    def _wait(self) -> None:
        pid, status = os.wait()
        name, change, tests = self._running.pop(pid)
        code = os.waitstatus_to_exitcode(status)
        verdict = VERDICTS[min(code, KILLED)] if code >= 0 else TIMED_OUT
        if KILLED <= code < 255:
            self._keen[change.function][tests[code - KILLED]] = None
        self._counts[name][verdict] += 1
        if self._options.verbose or code in (SURVIVED, FAILED):
            print(f"{verdict}: {name}.py:{change.line} {change.function}:{change.statement}  {change.text}", flush=True)


def main() -> None:
    """Parse the arguments, and let pytest collect the tests."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("modules", nargs="*", default=MODULES.split(", "), help="files of the package, without .py")
    parser.add_argument("--histories", type=int, default=100, help="for each change that no other test notices")
    parser.add_argument("--only", nargs="+", help="changes in these statements only, as function:line")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--sample", type=int, help="so many changes of each file, at random")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--verbose", action="store_true", help="print the other changes too")
    options = parser.parse_args()
    phases = [Phase.explicit, Phase.generate]  # how a failure could be made simpler is of no interest
    checks = list(HealthCheck)
    settings.register_profile(
        "mutation", max_examples=30, deadline=None, derandomize=True, phases=phases, suppress_health_check=checks
    )
    settings.load_profile("mutation")
    unit = Path(__file__).parents[1] / "unit"
    # The suite's own conftest would start processes, and look for what each test leaves behind.
    arguments = ["-q", "--noconftest", "-p", "no:cacheprovider", "-o", "addopts=", "-W", "ignore:Module already"]
    arguments += [str(unit / f"test_{name}.py") for name in (TESTS + MACHINE).split(", ")]
    pytest.main(arguments, plugins=[Mutation(options)])


if __name__ == "__main__":
    main()
