"""Process: executors at the interpreter's exit, which waits for what they were given."""

from __future__ import annotations

import signal
import subprocess
import textwrap
from pathlib import Path

import pytest
from helpers import Method, script, wait_until

HEAD = """
    import sys, targets
    from procorch import ProcessGroup
    def main():
        executor = ProcessGroup(1, mp_context=METHOD).as_executor()
"""


def run(tmp_path: Path, method: Method, body: str) -> subprocess.Popen[str]:
    path = tmp_path / "program.py"
    text = textwrap.dedent(HEAD).replace("METHOD", repr(method)) + textwrap.indent(textwrap.dedent(body), "    ")
    path.write_text(f"{text}\nif __name__ == '__main__':\n    keep = main()\n")
    with script(str(path), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout_text, process.stderr_text = process.communicate(timeout=25)  # type: ignore[attr-defined]
        return process


@pytest.mark.parametrize("shutdown", ["", "executor.shutdown(wait=False)"])
@pytest.mark.parametrize("call", ["executor.submit(targets.append, LOG, '0')", "executor.map(pow, range(3), range(3))"])
def test_exit_waits_for_what_was_given(method: Method, tmp_path: Path, log: Path, call: str, shutdown: str) -> None:
    body = f"""
        executor.submit(pow, 2, 2).result()  # a process is there: where it is forked, none is started at the exit
        {call.replace("LOG", repr(str(log)))}
        executor.submit(targets.append, {str(log)!r}, '1')
        {shutdown}
        return executor
    """
    process = run(tmp_path, method, body)
    assert process.returncode == 0
    assert process.stderr_text == ""  # type: ignore[attr-defined]
    assert log.read_text().split()[-1] == "1"


def test_after_that_nothing_is_taken(tmp_path: Path) -> None:
    body = """
        import atexit
        executor.submit(pow, 2, 2).result()
        return executor
    """
    path = tmp_path / "program.py"
    text = textwrap.dedent(HEAD).replace("METHOD", "None") + textwrap.indent(textwrap.dedent(body), "    ")
    last = textwrap.dedent(
        """
        import atexit
        @atexit.register
        def last():
            try:
                executor.submit(pow, 2, 2)
            except RuntimeError as error:
                print(error)
        """
    )
    path.write_text(f"{last}{text}\nif __name__ == '__main__':\n    executor = main()\n")
    with script(str(path), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        output, errors = process.communicate(timeout=25)
    assert (output.strip(), errors) == ("cannot schedule new futures after interpreter shutdown", "")


def test_an_interrupt_ends_the_wait(tmp_path: Path, log: Path, gate: Path) -> None:
    path = tmp_path / "program.py"
    body = f"""
        executor.submit(targets.begin_and_wait, {str(log)!r}, {str(gate)!r})
        return executor
    """
    text = textwrap.dedent(HEAD).replace("METHOD", "None") + textwrap.indent(textwrap.dedent(body), "    ")
    path.write_text(f"{text}\nif __name__ == '__main__':\n    keep = main()\n")
    with script(str(path), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        wait_until(log.read_text)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=10)
    assert output == ""
    pid = int(log.read_text().split()[1])
    wait_until(lambda: not Path(f"/proc/{pid}").exists())
