"""Unit: what the pages of reference say is what the code says: names, errors, defaults, texts of messages."""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import pkgutil
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

import procorch
from procorch._commands import doctor
from procorch._commands import map as map_command
from procorch._commands.halting import Halt
from procorch._policy import Limits
from procorch._tree import likely_cause

TOP = Path(__file__).parents[2]
DOCS = TOP / "docs"
PACKAGE = Path(procorch.__file__).parent
MODULES = ("procorch", *(f"procorch.{name}" for name in ("aio", "events", "trace", "testing", "engines")))
ENGINES = ("procorch.engines.dask", "procorch.engines.ray")


def page(name: str) -> str:
    return (DOCS / f"{name}.md").read_text()


# --- names ------------------------------------------------------------------------------------------------------------


def documented() -> Iterator[str]:
    """Read which names the pages have, with their modules."""
    for name in ("api", "api_modules", "errors"):
        module = ""
        for kind, what in re.findall(r"(?m)^\.\. (\w+):: (\S+)$", page(name)):
            if kind in {"module", "currentmodule"}:
                module = what
            elif kind.startswith("auto"):
                yield what if what.startswith("procorch.") else f"{module}.{what}"


def test_every_public_name_is_in_the_reference_once() -> None:
    modules = [importlib.import_module(name) for name in MODULES]
    public = [f"{module.__name__}.{name}" for module in modules for name in module.__all__]
    public += ["procorch.engines.dask.DaskEngine", "procorch.engines.ray.RayEngine"]
    assert sorted(documented()) == sorted(public)


def test_every_error_has_its_cause_and_what_to_do() -> None:
    rows = re.findall(r"(?m)^\| `([A-Z]\w+)` \| (.+?) \| (.*?) \|", page("errors").partition("## Of the standard")[0])
    values = {name: getattr(procorch, name) for name in procorch.__all__}
    errors = {name for name, value in values.items() if isinstance(value, type) and issubclass(value, Exception)}
    assert {name for name, *_ in rows} == errors
    roots = {"ProcorchError", "TaskError"}
    assert [name for name, cause, remedy in rows if not cause or (not remedy and name not in roots)] == []


# --- defaults ---------------------------------------------------------------------------------------------------------

NOT_MADE_BY_USERS = {"AsyncResult", "ProcessInfo", "Progress", "Task", "CpuLimit", "UsableCpus", "Shared"}
SAME_AS_GROUP = {"GroupView", "ProcessStream"}


def defaults_of(made: Callable[..., Any]) -> dict[str, object]:
    parameters = inspect.signature(made).parameters.values()
    return {one.name: one.default for one in parameters if one.default is not one.empty}


def callables_of(owner: type) -> Iterator[tuple[str, Callable[..., Any]]]:
    for name, value in inspect.getmembers(owner):
        if not name.startswith("_") and inspect.isfunction(value):
            yield name, value


def in_code() -> Iterator[tuple[str, str, str]]:
    """List what has a default that users may leave as it is: of what, which, and what it is."""
    group = procorch.ProcessGroup
    calls: list[tuple[str, Callable[..., Any]]] = [("ProcessGroup.map", group._map), ("ProcessGroup.imap", group._imap)]
    for name in set(procorch.__all__) - SAME_AS_GROUP:
        value = getattr(procorch, name)
        if not isinstance(value, type) or issubclass(value, BaseException):
            continue
        if name not in NOT_MADE_BY_USERS:
            calls.append((name, value))
        calls += ((f"{name}.{method}", function) for method, function in callables_of(value))
    for path in (
        "trace.text",
        "trace.save_svg",
        "testing.FakeEngine",
        "testing.Clock",
        "testing.crash",
        "engines.ExecutorEngine",
        "engines.dask.DaskEngine",
        "engines.ray.RayEngine",
    ):
        module, _, name = path.rpartition(".")
        calls.append((path, getattr(importlib.import_module(f"procorch.{module}"), name)))
    for name, made in calls:
        yield from ((name, argument, repr(default)) for argument, default in defaults_of(made).items())
    for command in (map_command, doctor):
        parsers = argparse.ArgumentParser().add_subparsers()
        command.add_to(parsers)
        for name, parser in parsers.choices.items():
            for action in parser._actions:
                if action.option_strings and action.nargs != 0 and action.default is not None:  # flags are off
                    default = "never" if action.default == Halt() else repr(action.default)
                    yield f"procorch {name}", action.option_strings[-1], default


def test_every_default_is_in_the_table() -> None:
    pytest.importorskip("distributed")
    rows = re.findall(r"(?m)^\| `([^`]+)` \| `([^`]+)` \| `([^`]+)` \|", page("defaults").partition("## Numbers")[0])
    assert len(set(rows)) == len(rows)
    assert sorted(rows) == sorted(in_code())


def test_async_groups_have_the_defaults_of_the_others() -> None:
    aio = importlib.import_module("procorch.aio")
    for name in aio.__all__:
        ours, theirs = getattr(aio, name), getattr(procorch, name.removeprefix("Async"))
        for method in ("options", "start", "_map", "_imap", *(method for method, _ in callables_of(ours))):
            if hasattr(ours, method) and hasattr(theirs, method):
                expected = defaults_of(getattr(theirs, method))
                found = defaults_of(getattr(ours, method))
                assert found.items() <= expected.items(), (name, method)


def numbers() -> dict[str, object]:
    rows = re.findall(r"(?m)^\| `([\w.]+)` \| `([\d.]+)` \|", page("defaults").partition("## Numbers")[2])
    return {name: ast.literal_eval(value) for name, value in rows}


def look_up(path: str) -> object:
    module, _, name = path.rpartition(".")
    owner, _, attribute = module.rpartition(".")
    if attribute[:1].isupper():
        kind: Any = getattr(importlib.import_module(f"procorch.{owner}"), attribute)
        return getattr(attrs.fields(kind), name).default
    return getattr(importlib.import_module(f"procorch.{module}"), name)


def test_the_numbers_are_those_of_the_code() -> None:
    pytest.importorskip("distributed")
    found = numbers()
    assert found == {path: look_up(path) for path in found}


def test_every_number_of_the_policy_is_there() -> None:
    arguments = {"max_workers"}
    policy = {
        f"_policy.Limits.{field.name}"
        for field in attrs.fields(Limits)
        if isinstance(field.default, int | float) and not isinstance(field.default, bool)
    }
    assert {name for name in numbers() if ".Limits." in name} == {
        name for name in policy if name.rpartition(".")[2] not in arguments
    }


# --- messages ---------------------------------------------------------------------------------------------------------


TASK = procorch.Task("module.function", "7", 3)


def composed() -> Iterator[str]:
    """Make messages of parts, as users see them."""
    for step in ("dumps", "loads"):
        for what in ("argument", "result"):
            yield str(procorch.NotPicklable(TASK, 0, what, step, "DETAIL", "REMEDY"))
    for attempts, exitcode in ((1, -9), (0, 3), (2, 3)):
        for number in (signal.SIGKILL, signal.SIGSEGV):
            yield str(procorch.WorkerCrashed(TASK, attempts, "P", 1, exitcode, None, likely_cause(-number, 1)))
    yield str(procorch.TaskTimeout(TASK, 1, 5.0, "P", 1))
    yield str(procorch.WorkerStartError("P", 1))
    yield str(procorch.GroupClosed("P", "is closed"))
    yield str(procorch.TaskInterrupted(TASK, 1, "FILE"))


def code() -> str:
    """Read the texts in the code: without what is said of it, and with neighbouring literals joined."""
    sources = "\n".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    return re.sub(r'"\s*\n\s*f?"', "", re.sub(r'(?s)""".*?"""', "", sources))


def headings(text: str) -> Iterator[str]:
    for line in re.findall(r"(?m)^### (.+)$", text):
        yield from re.findall(r"`([^`]+(?:`[^`]+`[^`]+)?)`", line)


def test_the_messages_quoted_in_troubleshooting_are_those_of_the_code() -> None:
    ours, _, others = page("troubleshooting").partition("## From pickle")
    assert others
    texts = "\n".join([code(), *composed()])
    quoted = list(headings(ours))
    assert len(quoted) >= ours.count("\n### ") > 30
    lost = [(message, part) for message in quoted for part in message.split("...") if part.strip() not in texts]
    assert lost == []


# --- the contents -----------------------------------------------------------------------------------------------------


def test_the_contents_are_told_in_the_order_in_which_they_are() -> None:
    text = page("index")
    told: list[str] = re.findall(r"(?m)^- \[[^]]+\]\((\w+)\.md\)", text)
    trees = re.findall(r"```\{toctree\}\n(?::.*\n)*\n((?:\w+\n)+)```", text)
    listed = [name for tree in trees for name in tree.split()]
    assert told == listed
    assert set(listed) | {"index"} == {path.stem for path in DOCS.glob("*.md")}


def test_every_module_of_the_package_that_is_public_is_known_here() -> None:
    found = {f"procorch.{one.name}" for one in pkgutil.iter_modules([str(PACKAGE)]) if not one.name.startswith("_")}
    found |= {f"procorch.engines.{one.name}" for one in pkgutil.iter_modules([str(PACKAGE / "engines")])}
    assert {name for name in found if "._" not in name} == {*MODULES[1:], *ENGINES}
