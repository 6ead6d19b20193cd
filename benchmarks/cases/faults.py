"""A worker is killed: what becomes of the work, and how soon does it go on?"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from pathlib import Path

import work
from peers.base import NotOffered, Peer, Pending
from records import Found
from typing_extensions import override
from watch import Watch

from cases.base import Case, Setting, warm

_CALLS = 200


class Recovery(Case):
    """One item of many is the last of its worker: SIGKILL."""

    name = "recovery"
    title = (
        "a worker is killed by its item. `calls`: until the last of 200 `submit`s has an outcome; "
        "`next`: until the first result afterwards; `map`: until a `map` of 200 items returns or raises"
    )
    unit = "ms after the kill"
    call = "submit"
    variants = ("calls", "next", "map")
    quick_variants = ("calls",)
    tunable = False
    has_serial = False
    most_rounds = 1
    seconds = (20.0, 15.0)

    @override
    def run(self, setting: Setting, peer: Peer, watch: Watch) -> Found:
        # Not in a block: some cannot be closed in an orderly way afterwards.
        peer.open()
        warm(peer)
        note = Path(tempfile.mkdtemp()) / "killed"
        patience = 2.0 if setting.quick else 5.0
        with watch:
            if setting.variant == "calls":
                return _calls(peer, note, patience)
            if setting.variant == "next":
                return _next(peer, note, patience)
            return _map(peer, note)


def _calls(peer: Peer, note: Path, patience: float) -> Found:
    items = [str(note) if number == _CALLS // 2 else "" for number in range(_CALLS)]
    outcomes: Counter[str] = Counter()
    pending: list[Pending] = []
    for item in items:
        try:
            pending.append(peer.submit(work.die_or_sleep, item))
        except NotOffered:
            raise
        except Exception:  # noqa: BLE001 - broken pools refuse
            outcomes["refused"] += 1
    until = time.monotonic() + patience
    for one in pending:
        outcomes[_outcome(one, until)] += 1
    took = _since(note)
    word = ", ".join(f"{count} {what}" for what, count in outcomes.most_common())
    if not outcomes["without an answer"]:
        word += _close(peer)
    # A pool that gives up at once is not the faster one.
    costs_one = outcomes["delivered"] == _CALLS - 1 and not outcomes["without an answer"]
    return Found(took if costs_one else None, _CALLS, word, {"known after ms": took})


def _next(peer: Peer, note: Path, patience: float) -> Found:
    lost = _outcome(peer.submit(work.die_or_sleep, str(note)), time.monotonic() + patience)
    if lost == "without an answer":
        return Found(word="the call never ends")
    word = "goes on"
    try:
        peer.submit(work.die_or_sleep, "").result(patience)
    except Exception as error:  # noqa: BLE001 - broken for good; users then make a new one
        word = f"had to be opened anew: {type(error).__name__}{_close(peer)}"
        peer.open()
        peer.submit(work.die_or_sleep, "").result(patience)
    took = _since(note)
    return Found(took, 1, word + _close(peer))


def _map(peer: Peer, note: Path) -> Found:
    items = [str(note) if number == _CALLS // 2 else "" for number in range(_CALLS)]
    word = "returns"
    try:
        peer.map(work.die_or_sleep, items, 1)
    except Exception as error:  # noqa: BLE001 - each has its own
        word = f"raises {type(error).__name__}"
    took = _since(note)
    return Found(took, _CALLS, word + _close(peer))


def _close(peer: Peer) -> str:
    """Close it; what comes of that belongs to the answer."""
    try:
        peer.close()
    except Exception as error:  # noqa: BLE001 - see above
        return f"; closing it raises {type(error).__name__}"
    return ""


def _outcome(pending: Pending, until: float) -> str:
    try:
        pending.result(max(0.001, until - time.monotonic()))
    except TimeoutError:
        return "without an answer"
    except BaseException:  # noqa: BLE001 - cancelled ones are of no use either
        return "failed"
    return "delivered"


def _since(note: Path) -> float:
    """Milliseconds since the kill."""
    if not note.exists() or not note.stat().st_size:
        raise RuntimeError("nobody was killed")
    return (time.monotonic() - float(note.read_text())) * 1000
