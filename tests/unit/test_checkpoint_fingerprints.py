"""Unit: what tells one function, and one item, from another, and what makes no difference."""

from __future__ import annotations

import functools
import importlib.util
import operator
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from procorch._aio.coroutines import InLoop
from procorch._checkpoints.code import fingerprint
from procorch._checkpoints.digests import digest_of


def load(folder: Path, source: str) -> ModuleType:
    """Make a module of some source: each in a file of its own, always of the same name."""
    path = folder / f"{len(list(folder.iterdir()))}.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location("the_module", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BASE = """
def work(x, step=2):
    return x + step
"""

SAME = {
    "comments": "\n\ndef work(x, step=2):\n    # of the step\n    return x + step  # the sum\n",
    "layout": "def work(\n    x,\n    step = 2,\n):\n\n    return (x\n        + step)\n",
    "a text": 'def work(x, step=2):\n    """Add."""\n    return x + step\n',
    "neighbours": "import os\n\ndef other():\n    return 3\n\n" + BASE,
    "indented": "if True:\n    def work(x, step=2):\n        return x + step\n",
}

OTHER = {
    "an operator": BASE.replace("x + step", "x - step"),
    "a default": BASE.replace("step=2", "step=3"),
    "a constant": BASE.replace("x + step", "x + step + 0"),
    "a type of constant": BASE.replace("step=2", "step=2.0"),
    "a name": BASE.replace("work", "wirk"),
    "what None is returned": BASE.replace("x + step", "None"),
    "nothing returned": BASE.replace(" x + step", ""),
    "a decorator": "def same(f):\n    return f\n\n@same\n" + BASE.strip() + "\n",
}


def code_of(module: ModuleType) -> str:
    function: Callable[..., Any] = getattr(module, "work", None) or module.wirk
    return "".join(fingerprint(function))


@pytest.mark.parametrize("source", SAME.values(), ids=SAME)
def test_a_function_stays_the_same(source: str, tmp_path: Path) -> None:
    assert code_of(load(tmp_path, source)) == code_of(load(tmp_path, BASE))


@pytest.mark.parametrize("source", OTHER.values(), ids=OTHER)
def test_a_function_changes(source: str, tmp_path: Path) -> None:
    assert code_of(load(tmp_path, source)) != code_of(load(tmp_path, BASE))


def test_all_of_these_functions_differ(tmp_path: Path) -> None:
    codes = {code_of(load(tmp_path, source)) for source in OTHER.values()}
    assert len(codes) == len(OTHER)


def test_it_is_the_same_on_every_version_of_python(tmp_path: Path) -> None:
    source = """
    def work(x: int, *args: int, k: int = 3, **kw: int) -> object:
        y = f"{x!r:>{k}} and {x}" "more" f"{y=}"
        with open(x) as f, open(y) as g:
            return [i for i in f if i] or {**kw}, lambda z: z + 1.5
    """
    assert fingerprint(load(tmp_path, f"if True:{source}").work).code == "code:e598aeeb740e232a"


def test_a_function_without_source_is_known_by_its_bytecode() -> None:
    def make(source: str) -> str:
        names: dict[str, Any] = {"__name__": "nowhere"}
        exec(source, names)
        return fingerprint(names["work"]).code

    assert make(BASE) == make(SAME["comments"])
    for what in ("an operator", "a default", "a constant"):
        assert make(BASE) != make(OTHER[what])
    inner = "def work(x):\n    def inner(y):\n        return y + 1\n    return inner(x)\n"
    assert make(inner) == make(inner)
    assert make(inner) != make(inner.replace("y + 1", "y + 2"))


def test_a_function_may_close_over_what_is_not_there_yet() -> None:
    def make() -> Callable[[], int]:
        def work() -> int:
            return coming

        before = fingerprint(work)
        coming: int = 1
        assert fingerprint(work) != before
        return work

    assert fingerprint(make()) == fingerprint(make())


def test_how_a_text_is_cut_makes_no_difference(tmp_path: Path) -> None:
    cut, whole, other = (
        code_of(load(tmp_path, f"def work(x):\n    return {text}\n"))
        for text in ("f'a{x}b' 'c' f'd{x}'", "f'a{x}bcd{x}'", "f'a{x}bc{x}d'")
    )
    assert cut == whole
    assert cut != other


def adder(step: Any) -> Callable[[int], Any]:
    def add(x: int) -> Any:
        return x + step

    return add


def itself() -> Callable[[int], int]:
    def again(x: int) -> int:
        return again(x - 1) if x else 0

    return again


class Scale:
    def __init__(self, by: Any) -> None:
        self.by = by

    def __call__(self, x: int) -> Any:
        return x * self.by

    def times(self, x: int) -> Any:
        return x * self.by


@functools.cache
def cached(x: int) -> int:
    return x


async def later(x: int) -> int:
    return x


first, second = (lambda x: x + 1), [lambda x: x + 1, 1]
third = lambda x: x + 2  # noqa: E731


def named(x: int, by: Any = None) -> Any:
    return by(x)


def steps(by: Any) -> Callable[[int], Any]:
    def step(x: int, *, by: Any = by) -> Any:
        return by(x)

    return step


PAIRS: dict[str, tuple[Callable[..., Any], Callable[..., Any], bool]] = {
    "what a closure holds": (adder(1), adder(2), False),
    "the same closure": (adder(1), adder(1), True),
    "a closure over functions": (adder(adder(1)), adder(adder(2)), False),
    "a closure over what cannot be pickled": (adder(open), adder(sys.stdout), False),
    "a closure over itself": (itself(), itself(), True),
    "a partial": (functools.partial(operator.add, 1), functools.partial(operator.add, 2), False),
    "what a partial names": (functools.partial(named, by=first), functools.partial(named, by=third), False),
    "a default that is named": (steps(first), steps(third), False),
    "methods of built-in types": (re.compile("a").match, re.compile("b").match, False),
    "the same method of a built-in type": (re.compile("a").match, re.compile("a").match, True),
    "the same partial": (functools.partial(operator.add, 1), functools.partial(operator.add, 1), True),
    "a partial and its function": (functools.partial(adder(1)), adder(1), False),
    "a method of another": (Scale(1).times, Scale(2).times, False),
    "a method of one that is equal": (Scale(1).times, Scale(1).times, True),
    "an object that is called": (Scale(1), Scale(2), False),
    "an equal object that is called": (Scale(1), Scale(1), True),
    "built-ins": (operator.neg, operator.pos, False),
    "the same built-in": (operator.neg, operator.neg, True),
    "classes": (int, float, False),
    "cached functions": (cached, functools.cache(third), False),
    "a coroutine function, wrapped anew": (InLoop(later), InLoop(later), True),
    "lambdas": (first, third, False),
}


@pytest.mark.parametrize(("one", "other", "same"), PAIRS.values(), ids=PAIRS)
def test_what_calls_a_function_counts(one: Callable[..., Any], other: Callable[..., Any], same: bool) -> None:
    assert (fingerprint(one).code == fingerprint(other).code) is same


def test_names_say_which_function() -> None:
    assert fingerprint(functools.partial(adder)).name == f"{__name__}.adder"
    assert fingerprint(InLoop(later)).name == f"{__name__}.later"
    assert fingerprint(Scale(1)).name == f"{__name__}.Scale"
    assert fingerprint(cached).name == f"{__name__}.cached"


# --- items ------------------------------------------------------------------------------------------------------------


class Thing:
    def __init__(self, value: Any) -> None:
        self.value = value


class Refuses:
    def __reduce__(self) -> str:
        raise ValueError("not this one")


DIFFERENT = [
    None, 0, 1, 1.0, True, -1, 1 << 80, "", "1", b"1", bytearray(b"1"), (), (1,), (1, 2), ((1, 2),), ((1,), (2,)),
    [1, 2], [[1], 2],
    {1: 2}, {1: 2, 3: 4}, {3: 4, 1: 2}, {1, 2}, frozenset({1, 2}), {"a", "b"}, [{"a", "b"}], "x" * 1000, ["x" * 1000],
    b"x" * 1000, Thing(1), Thing(2), [Thing(1)], 1j, float("inf"), Thing,
]  # fmt: skip


def test_different_items_have_different_fingerprints() -> None:
    digests = [digest_of(item) for item in DIFFERENT]
    assert None not in digests
    assert len(set(digests)) == len(DIFFERENT)


@pytest.mark.parametrize("item", DIFFERENT, ids=range(len(DIFFERENT)))
def test_a_copy_has_the_same_fingerprint(item: Any) -> None:
    assert digest_of(pickle.loads(pickle.dumps(item))) == digest_of(item)


def test_it_does_not_matter_which_objects_are_one() -> None:
    text, other = ("nothing"[:half] + "nothing"[half:] for half in (2, 4))
    assert text is not other
    assert digest_of([text, text]) == digest_of([text, other])
    assert digest_of({"a": [text]}) == digest_of({"a": [sys.intern(other)]})


def test_sets_are_the_same_in_each_process() -> None:
    program = (
        "from procorch._checkpoints.digests import digest_of; print(digest_of([{'a', 'b', 'c', 4}, frozenset('xyz')]))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert "None" not in outputs.pop()


def test_what_cannot_be_pickled_has_none() -> None:
    assert digest_of(lambda: None) is None
    assert digest_of([Refuses()]) is None


def test_what_holds_itself_has_one() -> None:
    loop: list[Any] = [1]
    loop.append(loop)
    assert digest_of(loop) is not None
    loop.append(Refuses())
    assert digest_of(loop) is None


class Buffered:
    """Gives its data beside the pickle, as arrays do."""

    def __init__(self, data: bytearray) -> None:
        self.data = data

    def __reduce_ex__(self, protocol: Any) -> tuple[type, tuple[pickle.PickleBuffer]]:
        return Buffered, (pickle.PickleBuffer(self.data),)


def test_what_is_beside_a_pickle_counts() -> None:
    one, same, other = (digest_of(Buffered(bytearray(data))) for data in (b"data", b"data", b"date"))
    assert one is not None
    assert one == same != other
