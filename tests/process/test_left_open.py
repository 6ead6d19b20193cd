"""Process: groups that nobody has closed when the program comes to its end."""

from __future__ import annotations

import subprocess
import textwrap
from pathlib import Path

import pytest
from helpers import Method, script

SAID = "RuntimeWarning: the program has ended before the work of the group 'etl', which was stopped"

HEAD = """
    import targets, targets_streams
    from procorch import ProcessGroup
    if __name__ == "__main__":
        group = ProcessGroup(1, name="etl", mp_context=METHOD)
"""


def ended(tmp_path: Path, method: Method, body: str) -> str:
    """Run a program to its end, and give what it has printed to the standard error."""
    path = tmp_path / "program.py"
    path.write_text(
        textwrap.dedent(HEAD).replace("METHOD", repr(method)) + textwrap.indent(textwrap.dedent(body), "    ")
    )
    with script(str(path), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        _, errors = process.communicate(timeout=25)
    assert process.returncode == 0
    return errors


@pytest.mark.parametrize(
    "work",
    [
        "group.submit(targets.begin_and_wait, LOG, GATE)",
        "group.start(targets.begin_and_wait, LOG, GATE)",
        "group.start(targets.begin_and_wait, LOG, GATE); group.close()",
    ],
)
def test_work_that_is_stopped_is_told(method: Method, tmp_path: Path, log: Path, gate: Path, work: str) -> None:
    body = work.replace("LOG", repr(str(log))).replace("GATE", repr(str(gate)))
    assert SAID in ended(tmp_path, method, body)


@pytest.mark.parametrize(
    "work",
    [
        "group.map(abs, range(3))",
        "stream = group.imap(abs, range(100)); next(stream)",
        "rows = group.start(targets_streams.count_to, 10**9); next(iter(rows))",
        "group.start(pow, 2, 2).join()",
        "group.submit(targets.begin_and_wait, LOG, GATE); group.terminate()",
        "pass",
    ],
)
def test_nothing_is_told_where_nothing_was_left(
    method: Method, tmp_path: Path, log: Path, gate: Path, work: str
) -> None:
    body = work.replace("LOG", repr(str(log))).replace("GATE", repr(str(gate)))
    assert ended(tmp_path, method, body) == ""
