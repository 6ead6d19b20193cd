"""Unit: what goes to workers by plain pickle, by value or by the name of ``__main__`` (`_pickles`, `_places`)."""

from __future__ import annotations

import functools
import operator
import os
import pickle
import pickletools
import random
import sys
import threading
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import targets
from hypothesis import given
from hypothesis import strategies as st

from procorch import NotPicklable, Task, _functions, _main, _places, _tokens, _values
from procorch._functions import Functions
from procorch._mentions import _SHORT, LARGE, SHORTEST, mentions_main, names_in_main
from procorch._pickles import Pickles, by_name
from procorch._places import MainModule, NoModule, find_main

TASK = Task("module.function", "7", 3)

SOURCE = """
import enum
factor = 2
def double(number):
    return number * factor
class Point:
    colour = "red"
    def __init__(self, x):
        self.x = x
    def moved(self):
        return Point(self.x + 1)
    def __eq__(self, other):
        return type(self) is type(other) and self.x == other.x
class Kind(enum.Enum):
    ONE = 1
def shown(point):
    return isinstance(point, Point)
"""


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A script without a guard, as ``__main__``; in a file, which tests may write."""
    module = types.ModuleType("__main__")
    module.__file__ = str(tmp_path / "script.py")
    exec(SOURCE, vars(module))
    monkeypatch.setitem(sys.modules, "__main__", module)
    monkeypatch.setitem(sys.modules, "__mp_main__", module)
    write(module, SOURCE)
    return module


def write(main: types.ModuleType, source: str) -> None:
    assert main.__file__ is not None
    Path(main.__file__).write_text(source)
    _places._has_guard.cache_clear()


@pytest.fixture
def no_cloudpickle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_values, "cloudpickle", lambda: None)


def function(value: object, *, have_main: bool = False) -> Any:
    return Pickles(have_main=have_main).function(value, "function", lambda: TASK)


def item(value: object) -> Any:
    return Pickles(have_main=False).item(value, lambda: TASK)


def refusal(value: object) -> NotPicklable:
    got = function(value)
    assert isinstance(got, NotPicklable)
    return got


# --- plain ------------------------------------------------------------------------------------------------------------


def test_plain_data_and_importable_things_go_by_plain_pickle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_values, "cloudpickle", lambda: pytest.fail("not needed"))
    for value in (7, "text", [1, (2, {"three": b"four"})], operator.add, targets.doubler, functools.partial(pow, 2)):
        assert item(value) == pickle.dumps(value, 5)


@pytest.mark.usefixtures("no_cloudpickle")
def test_the_word_alone_is_data() -> None:
    for value in ("__main__", ["__mp_main__", 3], b"x" * 100_000 + b"__main__"):
        assert item(value) == pickle.dumps(value, 5)


@given(
    st.lists(st.sampled_from([b"s" * 10, b"b" * 70_000, "t" * 70_000, bytearray(70_000), "__main__", range(30_000)]))
)
def test_large_data_is_jumped_over_and_nothing_else(pieces: list[Any]) -> None:
    value = [list(piece) if isinstance(piece, range) else piece for piece in pieces]
    assert mentions_main(pickle.dumps(value, 5)) == ("__main__" in pieces)


@pytest.mark.parametrize("size", [0, 70_000, 3_000_000])
def test_a_name_is_found_wherever_it_stands(main: Any, size: int) -> None:
    rng = random.Random(size)
    for value in ((main.Point(1), rng.randbytes(size)), ["x" * size, bytearray(size), {"p": main.Point(1)}]):
        assert mentions_main(pickle.dumps(value, 5))
    assert mentions_main(pickle.dumps([*range(size // 3), main.Point(1), *range(size // 3)], 5))


def test_what_is_too_short_to_be_searched_names_nothing(main: Any) -> None:
    exec("def f(): pass", vars(main))
    assert len(pickle.dumps(main.f, 5)) == SHORTEST


def test_codes_that_are_stepped_over_have_no_arguments() -> None:
    codes = {ord(code.code): code for code in pickletools.opcodes}
    assert all(codes[code].arg is None for code in _SHORT)
    assert {codes[code].name for code in LARGE} == {
        "BINBYTES", "BINBYTES8", "BINUNICODE", "BINUNICODE8", "BYTEARRAY8"
    }  # fmt: skip


# --- by value ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], Any]:
    """Load a pickle as another process would, always the same."""
    from cloudpickle import cloudpickle  # type: ignore[import-untyped]

    tables: dict[str, Any] = {name: {} for name in ("_classes", "_tokens", "_foreign", "_pickles", "_spaces", "_marks")}
    tables |= {"_space_tokens": {}, "_own_spaces": set()}
    classes: dict[str, type] = {}

    def load(payload: bytes) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(cloudpickle, "_DYNAMIC_CLASS_TRACKER_BY_ID", classes)
            for name, table in tables.items():
                patch.setattr(_tokens, name, table)
            return pickle.loads(payload)

    return load


def test_functions_of_main_go_by_value_with_what_they_use(main: Any, elsewhere: Callable[[bytes], Any]) -> None:
    first, payload = elsewhere(function(main.double)), function(main.double)
    main.factor = 3
    assert (first(5), main.double(5)) == (10, 15)
    second = elsewhere(function(main.double))
    assert (first(5), second(5)) == (15, 15)  # of one module
    assert elsewhere(payload)(5) == 10


def test_a_variable_comes_again_only_if_it_is_another(main: Any, elsewhere: Callable[[bytes], Any]) -> None:
    main.things = [main.Point(1), main.double, {"text": 1.5}, None, len, os]
    exec("def use(): return factor, things, double", vars(main))
    there = elsewhere(function(main.use)).__globals__
    there["factor"], there["things"] = "set", "there"
    assert elsewhere(function(main.use))()[:2] == ("set", "there")
    main.things[0].x = 2
    factor, things, _ = elsewhere(function(main.use))()
    assert (factor, things[0].x, things[2:]) == ("set", 2, [{"text": 1.5}, None, len, os])
    main.factor = 7
    assert elsewhere(function(main.use))()[0] == 7


def test_a_function_that_comes_back_has_its_variables_and_changes_none(main: Any) -> None:
    payload = function(main.double)
    main.factor = 5
    builtin = vars(main)["__builtins__"]
    again = pickle.loads(payload)
    assert (again(1), main.factor) == (5, 5)
    assert again.__globals__ is vars(main)
    assert vars(main)["__builtins__"] is builtin


def test_a_class_that_comes_back_is_the_same_and_keeps_what_was_set_meanwhile(main: Any) -> None:
    values = (main.Point(1), main.Kind.ONE, main.Point)
    for value, payload in [(value, pickled(value)) for value in values for pickled in (item, function)]:
        main.Point.colour = "blue"
        again = pickle.loads(payload)
        assert again is value or again == value
        assert main.Point.colour == "blue"
        main.Point.colour = "red"


def test_a_class_is_written_once_for_all_items(main: Any) -> None:
    pickles = Pickles(have_main=False)
    assert b"colour" in pickles.function(main.shown, "function", lambda: TASK)  # type: ignore[operator]
    payload = pickles.item(main.Point(1), lambda: TASK)
    assert b"colour" not in payload  # type: ignore[operator]
    apart = Pickles(have_main=False)
    first = apart.item(main.Point(1), lambda: TASK)
    main.Point.colour = "blue"
    assert b"blue" not in apart.item(main.Point(1), lambda: TASK)  # type: ignore[operator]
    assert b"blue" in item(main.Point(1))
    assert first == apart.item(main.Point(1), lambda: TASK)


def test_a_pickle_that_fails_half_way_has_told_nothing(main: Any) -> None:
    pickles = Pickles(have_main=False)
    assert isinstance(pickles.item([main.Point(1), threading.Lock()], lambda: TASK), NotPicklable)
    assert b"colour" in pickles.item(main.Point(1), lambda: TASK)  # type: ignore[operator]


def test_an_open_file_does_not_become_its_text(main: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    with (tmp_path / "file").open() as file:
        got = function(lambda: file)
    assert isinstance(got, NotPicklable)
    assert "TextIOWrapper" in got.detail


def test_only_what_has_a_name_is_kept(main: Any) -> None:
    functions = Functions(have_main=False)
    for fn, kept in [(targets.doubler, True), (abs, True), (dict, True), (main.double, False), (lambda: 1, False)]:
        first, second = (functions.get(fn, functions.pickles(), lambda: TASK) for _ in range(2))
        assert not isinstance(first, NotPicklable)
        assert (first is second, first.by_reference) == (kept, kept)
    assert by_name(main.double) is None
    assert by_name(lambda: 1) is None


def test_of_many_functions_those_are_kept_that_were_used_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_functions, "_MOST_FUNCTIONS", 2)
    functions = Functions(have_main=False)
    first, second, again, _ = (functions.get(fn, functions.pickles(), lambda: TASK) for fn in (abs, len, abs, ord))
    assert again is first
    assert functions.get(abs, functions.pickles(), lambda: TASK) is first
    assert functions.get(len, functions.pickles(), lambda: TASK) is not second


# --- by name ----------------------------------------------------------------------------------------------------------

LOG = "with open({!r}, 'a') as file: file.write(__name__)"
GUARD = "if __name__ == '__main__':\n    pass\n"


@pytest.mark.usefixtures("no_cloudpickle")
def test_without_cloudpickle_a_guarded_script_is_imported(main: Any) -> None:
    write(main, SOURCE + GUARD)
    payload = function(main.double)
    assert b"load_with_main" in payload
    assert main.__file__.encode() in payload
    assert pickle.loads(payload) is main.double  # here it is already


@pytest.mark.usefixtures("no_cloudpickle")
def test_without_cloudpickle_one_without_a_guard_is_not(main: Any) -> None:
    for value, name in [(main.double, "double"), ([main.Point(1)], "Point"), (main.Kind.ONE, "Kind")]:
        got = refusal(value)
        assert (
            got.detail == f"workers cannot import __main__.{name}, since script.py has no `if __name__ == '__main__':`"
        )
        assert "pip install 'procorch[pickle]'" in got.remedy
        assert "in a file" in got.remedy
        assert got.__cause__ is None


@pytest.mark.usefixtures("no_cloudpickle")
def test_copies_of_this_process_have_its_main(main: Any) -> None:
    assert function(main.double, have_main=True) == pickle.dumps(main.double, 5)


class Once:
    """Can be pickled one time only."""

    def __init__(self) -> None:
        self.left = iter(["__main__"])

    def __reduce__(self) -> Any:
        return list, (next(self.left),)


@pytest.mark.usefixtures("no_cloudpickle")
def test_what_refuses_to_be_looked_through_is_refused() -> None:
    got = item(Once())
    assert isinstance(got, NotPicklable)
    assert "StopIteration" in got.detail
    assert isinstance(got.__cause__, StopIteration)


def test_what_cannot_go_by_value_goes_by_name(main: Any) -> None:
    main.factor = threading.Lock()
    got = refusal(main.double)
    assert "lock" in got.detail
    assert "pip" not in got.remedy
    write(main, SOURCE + GUARD)
    assert b"load_with_main" in function(main.double)


@pytest.mark.parametrize(
    ("end", "found"),
    [
        (GUARD, MainModule),
        ("if 1 == 2 or '__main__' == __name__:\n    pass\n", MainModule),
        ("print(__name__)\nif 1:\n    pass\n", NoModule),
        ("def f():\n    if __name__ == '__main__':\n        pass\n", NoModule),
        ("no python", NoModule),
    ],
)
def test_what_counts_as_a_guard(main: Any, end: str, found: type) -> None:
    write(main, SOURCE + end)
    assert isinstance(find_main(), found)


def test_how_main_is_found(main: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    write(main, GUARD)
    assert find_main() == MainModule("path", main.__file__)
    main.__spec__ = types.SimpleNamespace(name="package.script")
    assert find_main() == MainModule("name", "package.script")
    main.__spec__ = types.SimpleNamespace(name="__main__")  # of a directory
    assert find_main() == MainModule("path", main.__file__)
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    assert isinstance(find_main(), NoModule)
    monkeypatch.delattr(sys, "ps1")
    with monkeypatch.context() as patch:
        patch.setattr(_places, "being_imported", lambda: True)
        assert isinstance(find_main(), NoModule)
    assert isinstance(find_main(), MainModule)
    for file in (None, str(Path(main.__file__).parent)):
        main.__file__ = file
        assert isinstance(find_main(), NoModule)


@pytest.mark.parametrize("kind", ["path", "name"])
def test_a_main_module_is_imported_once(
    main: Any, kind: _main.Kind, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "other.py").write_text(f"{SOURCE}\n{LOG.format(str(tmp_path / 'log'))}\n{GUARD}")
    monkeypatch.syspath_prepend(str(tmp_path))
    where = str(tmp_path / "other.py") if kind == "path" else "other"
    payload = pickle.dumps(main.double)
    for _ in range(2):
        double = _main.load_with_main(kind, where, payload)
        assert double.__module__ == "__mp_main__"
        assert double(4) == 8
    assert (tmp_path / "log").read_text() == "__mp_main__"
    assert not _main.being_imported()
    # What lives there goes on by name.
    assert b"load_with_main" in function(double)


def test_a_main_module_that_fails_is_not_tried_again(
    main: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(_main, "_failure", None)
    (tmp_path / "other.py").write_text(f"{LOG.format(str(tmp_path / 'log'))}\nraise SystemExit(3)")
    for _ in range(2):
        with pytest.raises(SystemExit):
            _main.load_with_main("path", str(tmp_path / "other.py"), b"")
    assert (tmp_path / "log").read_text() == "__mp_main__"


def test_the_names_that_count(main: Any) -> None:
    assert names_in_main([main.Point(1), targets.doubler, "__main__"]) == ["__main__.Point", "__main__.Point"]
    assert names_in_main([Path("/"), functools.partial(targets.doubler, 2)]) == []


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_a_function_or_argument_that_cannot_be_pickled_is_named() -> None:
    for what, refused in [
        ("function", function(threading.Lock())),
        ("argument", item(threading.Lock())),
    ]:
        assert isinstance(refused, NotPicklable)
        assert (refused.what, refused.step, refused.task, refused.attempts) == (what, "dumps", TASK, 0)
        assert "lock" in refused.detail
        assert refused.remedy
        assert refused.__cause__ is None  # it would add nothing
        assert f"the {what} of item 3 (7) of module.function cannot be pickled on its way to the worker" in str(refused)


class Refusing:
    def __reduce__(self) -> Any:
        self.count = getattr(self, "count", 0) + 1
        raise LookupError("not now")


class RefusingLikePickle:
    def __reduce__(self) -> Any:
        raise TypeError("not this one")


def test_an_error_of_the_object_s_own_code_is_the_cause() -> None:
    for value, error in [(Refusing(), LookupError), (RefusingLikePickle(), TypeError)]:
        assert isinstance(refusal(value).__cause__, error)
    refusing = Refusing()
    refusal([refusing])
    assert refusing.count == 1


@pytest.mark.usefixtures("no_cloudpickle")
def test_what_cloudpickle_could_send_is_told() -> None:
    class Local:
        pass

    for value in (lambda: 1, Local, [Local()]):
        got = refusal(value)
        assert "pip install 'procorch[pickle]'" in got.remedy
        assert "top level of an importable module" in got.remedy
        assert got.__cause__ is None
    assert "pip" not in refusal(threading.Lock()).remedy


# --- classes ----------------------------------------------------------------------------------------------------------


def test_many_classes_are_forgotten_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tokens, "_MOST_CLASSES", len(_tokens._classes) + 2)
    kinds = [type(f"Kind{number}", (), {}) for number in range(4)]
    payloads = [_values.dumps(kind, {}) for kind in kinds]
    assert len(_tokens._classes) == _tokens._MOST_CLASSES
    assert pickle.loads(payloads[3]) is kinds[3]
    forgotten = next(token for token in [os.urandom(12).hex()] if token not in _tokens._classes)
    with pytest.raises(LookupError, match="not known"):
        _tokens.known_class(forgotten)


def test_a_class_from_elsewhere_is_made_once(elsewhere: Callable[[bytes], Any]) -> None:
    class Local:
        content = (1,)

    payload = _values.dumps(Local(), {}, apart=True)
    first, second = elsewhere(payload), elsewhere(payload)
    assert type(first) is type(second)
    assert type(first) is not Local
    assert type(first).content == (1,)
    type(first).content = (2,)
    assert type(elsewhere(payload)).content == (2,)  # the same pickle changes nothing
    Local.content = (3,)
    assert type(elsewhere(_values.dumps(Local(), {}, apart=True))).content == (3,)
    assert type(first).content == (3,)


def test_no_process_is_forked_while_the_lock_is_held() -> None:
    stop = threading.Event()

    def hold() -> None:
        while not stop.is_set():
            with _tokens.lock:
                for _ in range(10_000):
                    pass

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        for _ in range(10):
            child = os.fork()
            if child == 0:
                os._exit(0 if free_for_others() else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        stop.set()
        thread.join()


def free_for_others() -> bool:
    got = [_tokens.lock.acquire(timeout=2)]
    if got[0]:
        _tokens.lock.release()
    other = threading.Thread(target=lambda: got.append(_tokens.lock.acquire(timeout=2)))
    other.start()
    other.join()
    return all(got)
