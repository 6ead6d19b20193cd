"""Unit: bad input is refused at the call, by a message that names the argument and what is allowed; nothing starts."""

# mypy: disable-error-code="arg-type, call-arg, call-overload"
# That is what this file is about.

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import pytest
import targets

from procorch import Checkpoint, NotPicklable, ProcessGroup
from procorch.testing import Clock

CASES: list[tuple[Callable[[ProcessGroup], Any], type[Exception], str]] = [
    (lambda _: ProcessGroup(0), ValueError, "max_workers must be at least 1, not 0"),
    (lambda _: ProcessGroup(-3), ValueError, "max_workers must be at least 1"),
    (lambda _: ProcessGroup(2.5), TypeError, "max_workers must be an int"),
    (lambda _: ProcessGroup(True), TypeError, "max_workers must be an int"),
    (lambda _: ProcessGroup(name=""), ValueError, "name must not be empty"),
    (lambda _: ProcessGroup(name=3), TypeError, "name must be a str"),
    (lambda _: ProcessGroup(mp_context="vfork"), ValueError, "mp_context must be one of"),
    (lambda _: ProcessGroup(mp_context=3), TypeError, "mp_context must be one of"),
    (lambda _: ProcessGroup(initializer=3), TypeError, "initializer must be callable"),
    (lambda _: ProcessGroup(finalizer=3), TypeError, "finalizer must be callable"),
    (lambda _: ProcessGroup(finalargs=3), TypeError, "finalargs must be iterable"),
    (lambda _: ProcessGroup(forward_logs=1), TypeError, "forward_logs must be True or False, not 1"),
    (lambda _: ProcessGroup(initargs=3), TypeError, "initargs must be iterable"),
    (lambda _: ProcessGroup(initializer=threading.Lock().acquire), NotPicklable, "lock"),
    (lambda group: group.map(3, []), TypeError, "fn must be callable, not 3"),
    (lambda group: group.imap(None, []), TypeError, "fn must be callable, not None"),
    (lambda group: group.submit("x"), TypeError, "fn must be callable"),
    (lambda group: group.start("x"), TypeError, "fn must be callable"),
    (lambda group: group.map(targets.doubler), TypeError, "map needs at least one iterable"),
    (
        lambda group: group.map(abs, [], timeout=1),
        TypeError,
        r"^ProcessGroup\.map\(\) got an unexpected keyword argument",
    ),
    (lambda _: ProcessGroup.map(abs, [], timeout=1), TypeError, r"^ProcessGroup\.map\(\) got an unexpected keyword"),
    (lambda group: group.imap(abs, [], timeout=1), TypeError, r"^ProcessGroup\.imap\(\) got an unexpected keyword"),
    (lambda group: group.start(), TypeError, r"^ProcessGroup\.start\(\) missing 1 required positional argument"),
    (lambda group: group.submit(), TypeError, r"^ProcessGroup\.submit\(\) missing 1 required positional argument"),
    (lambda group: group.map(targets.doubler, 5), TypeError, "iterable 1 of map must be iterable, not 5"),
    (lambda group: group.imap(targets.add, [1], 5), TypeError, "iterable 2 of imap must be iterable, not 5"),
    (lambda group: group.map(targets.doubler, [], chunksize=0), ValueError, "chunksize must be at least 1"),
    (lambda group: group.map(targets.doubler, [], chunksize=1.5), TypeError, "chunksize must be an int"),
    (lambda group: group.imap(targets.doubler, [], buffersize=0), ValueError, "buffersize must be at least 1"),
    (lambda group: group.map(targets.doubler, [], buffersize="3"), TypeError, "buffersize must be an int"),
    (lambda group: group.map(targets.doubler, [], timeout=3), TypeError, "timeout"),
    (
        lambda group: group.map(targets.doubler, [], checkpoint=3),
        TypeError,
        "checkpoint must be a path, a Checkpoint or None, not 3",
    ),
    (lambda group: group.imap(targets.doubler, [], checkpoint=b"x"), TypeError, "checkpoint must be a path"),
    (lambda _: ProcessGroup.map(targets.doubler, [], checkpoint=""), ValueError, "must name a file, not ''"),
    (lambda _: Checkpoint("a\0b"), ValueError, "must name a file"),
    (lambda _: Checkpoint("x", key=3), TypeError, "key must be callable, not 3"),
    (lambda _: Checkpoint("x", version=1.5), TypeError, "version must be a str, an int or None, not 1.5"),
    (lambda _: Checkpoint("x", version=True), TypeError, "version must be a str, an int or None"),
    (lambda _: Checkpoint("x", results=1), TypeError, "results must be True or False, not 1"),
    (
        lambda group: group.map(targets.doubler, [], progress=3),
        TypeError,
        "progress must be True, False, None or callable",
    ),
    (
        lambda group: group.imap(targets.doubler, [], progress="x"),
        TypeError,
        "progress must be True, False, None or call",
    ),
    (
        lambda _: ProcessGroup.map(targets.doubler, [], progress=[]),
        TypeError,
        "progress must be True, False, None or call",
    ),
    (lambda group: group.options(retries=-1), ValueError, "retries must be at least 0"),
    (lambda group: group.options(retries=None), TypeError, "retries must be an int"),
    (lambda group: group.start(targets.doubler, 1, name=""), ValueError, "name must not be empty"),
    (lambda group: group.start(targets.doubler, 1, name=b"x"), TypeError, "name must be a str"),
    (lambda group: group.join(timeout=-1), ValueError, "timeout must be at least 0"),
    (lambda group: group.join(timeout=math.nan), ValueError, "timeout must be at least 0"),
    (lambda group: group.join(timeout="soon"), TypeError, "timeout must be a number"),
    (lambda _: ProcessGroup.map(3, []), TypeError, "fn must be callable"),
    (lambda _: Clock().advance(-1), ValueError, "seconds must be at least 0, not -1"),
    (lambda _: Clock().advance(math.nan), ValueError, "seconds must be at least 0, not nan"),
]


IDS = [f"{number} {case[2]}" for number, case in enumerate(CASES)]


@pytest.mark.parametrize(("call", "error", "text"), CASES, ids=IDS)
def test_refused_at_the_call(call: Callable[[Any], Any], error: type[Exception], text: str) -> None:
    group = ProcessGroup(1)
    with pytest.raises(error, match=text):
        call(group)
    assert group.processes == ()
