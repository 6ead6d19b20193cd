"""Libraries of extras; no process."""

from __future__ import annotations

import sys
import types

import pytest

from procorch import _extras


def test_what_stands_in_a_library_s_place_is_not_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _extras.is_installed("json")
    assert not _extras.is_installed("no_such_thing")
    monkeypatch.setitem(sys.modules, "no_such_thing", types.ModuleType("no_such_thing"))
    assert not _extras.is_installed("no_such_thing")


def test_what_is_there_is_loaded() -> None:
    assert _extras.load("json.decoder", extra="x", purpose="reading").JSONDecoder


def test_what_is_missing_is_named_with_the_command_that_installs_it() -> None:
    with pytest.raises(ImportError, match=r"^drawing needs no_such_thing: pip install 'procorch\[plot\]'$") as failed:
        _extras.load("no_such_thing.inner", extra="plot", purpose="drawing")
    assert failed.value.name == "no_such_thing"
