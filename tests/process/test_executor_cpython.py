"""Process: CPython's own tests of executors, those of them that are the public contract, from the installed library.

They are one module until Python 3.11.5, and a package since. Some installations lack them, or all of the library's
tests.
"""

from __future__ import annotations

import importlib
import importlib.util
import multiprocessing
import unittest
from multiprocessing.context import BaseContext
from typing import Any

import pytest

from procorch import GroupExecutor, ProcessGroup

PACKAGE = "test.test_concurrent_futures"

NOT_HERE = {
    "test_max_workers_negative": "makes executors by itself, and looks for a text; ours are made of a group",
    "test_max_workers_too_large": "of Windows",
    "test_interpreter_shutdown": "a script that makes a ProcessPoolExecutor; see test_executor_exit.py",
    "test_submit_after_interpreter_shutdown": "likewise",
    "test_hang_issue83386": "likewise",
    "test_hang_gh83386": "likewise",
    "test_killed_child": "wants that one killed process breaks the whole pool; see test_executor.py",
    "test_traceback": "wants a private class of the library's as the cause; see test_executor.py",
    "test_saturation": "counts the processes in a private attribute",
    "test_idle_process_reuse_one": "likewise",
    "test_idle_process_reuse_multiple": "likewise",
    "test_max_tasks_per_child": "likewise",
    "test_max_tasks_per_child_defaults_to_spawn_context": "looks at a private attribute; we have no such default",
    "test_python_finalization_error": "replaces a private function of threading, and counts its calls",
}
"""What is left out of the classes below, and why. Whatever else a Python brings is run.

Left out as a whole: tests of threads and of sub-interpreters; of `Future` by itself, by its private state; of what a
failing initializer logs (see test_executor.py); of private attributes after a shutdown; and those of deadlocks, which
want a broken pool after each crash (see test_windows.py, test_maps.py and the contract's tests for what we want)."""

CLASSES = {
    "ProcessPoolExecutorTest": "test_process_pool",  # has those of all executors, too
    "WaitTests": "test_wait",
    "AsCompletedTests": "test_as_completed",
    "ExecutorShutdownTest": "test_shutdown",
    "InitializerMixin": "test_init",
}
"""With the module of the package."""


class OwnGroupExecutor(GroupExecutor):
    """An executor with a group of its own, made as the library's are."""

    def __init__(self, max_workers: int, mp_context: BaseContext | None = None, **options: Any) -> None:
        self._own = ProcessGroup(max_workers, mp_context=mp_context, **options)
        super().__init__(self._own)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        super().shutdown(wait, cancel_futures=cancel_futures)
        self._own.close()
        if wait:
            assert self._own.join(20)


def find(module: str, name: str) -> Any:
    whole = importlib.import_module(PACKAGE)
    part = importlib.import_module(f"{PACKAGE}.{module}") if hasattr(whole, "__path__") else whole
    return getattr(part, name)


def have_tests() -> bool:
    try:
        return importlib.util.find_spec(PACKAGE) is not None
    except ModuleNotFoundError:  # no package `test` at all
        return False


if not have_tests():
    pytest.skip(f"this Python is installed without {PACKAGE}", allow_module_level=True)


def make_class(name: str) -> type[unittest.TestCase]:
    tests, mixin, base = find(CLASSES[name], name), find("util", "ExecutorMixin"), find("util", "BaseTestCase")

    def set_up(self: Any) -> None:
        mixin.setUp(self)
        # A worker is there, as the tests of shutdown expect something to have begun by then: the library's pools count
        # what is in a queue for processes that are still starting.
        self.executor.submit(int).result()

    def get_context(self: object) -> BaseContext:
        return multiprocessing.get_context("spawn")  # a manager's fork server would outlive the test

    ours = {"executor_type": OwnGroupExecutor, "setUp": set_up, "get_context": get_context}
    left_out = dict.fromkeys(NOT_HERE)
    bases = (tests, type("OwnGroupMixin", (mixin,), ours), base)
    cls: type[unittest.TestCase] = type(f"Group{name}", bases, {**left_out, "__module__": __name__})
    return cls


globals().update({f"Group{name}": make_class(name) for name in CLASSES})
