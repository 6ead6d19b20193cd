"""Process: ``python -m procorch`` as a whole: help, exit codes, and signals."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import lines, ran, started
from helpers import Method, environment, executions, is_gone, wait_until

from procorch import __version__


def test_without_a_command_there_is_help() -> None:
    done = ran()
    assert (done.returncode, done.stdout) == (2, "")
    assert "map" in done.stderr
    assert "demo" in done.stderr


def test_help_and_version() -> None:
    assert ran("--version").stdout == f"procorch {__version__}\n"
    for arguments in ([], ["map"], ["demo"]):
        done = ran(*arguments, "--help")
        assert (done.returncode, done.stderr) == (0, "")
        assert "xample:" in done.stdout


def test_an_unknown_command() -> None:
    done = ran("mop")
    assert done.returncode == 2
    assert "invalid choice: 'mop'" in done.stderr


@pytest.mark.limit(90)
def test_the_doctor() -> None:
    done = ran("doctor", limit=80)
    assert done.returncode == 0, done.stdout
    assert f"{sys.version_info.major}.{sys.version_info.minor}" in done.stdout


@pytest.mark.parametrize("text", ["soon", "0", "nan"])
def test_what_is_no_time_for_the_doctor(text: str) -> None:
    done = ran("doctor", "--timeout", text)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(f"argument --timeout: {text!r} is not a number of seconds above 0\n")


def test_help_loads_no_group() -> None:
    program = "import sys; from procorch.__main__ import parser_for; parser_for('--help').format_help()"
    program += "; parser_for('map').format_help(); print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:] = {sys.path!r}; {program}"],
        capture_output=True,
        text=True,
        check=True,
    )
    heavy = {"attr", "asyncio", "multiprocessing", "logging", "procorch._group"}
    assert heavy & set(done.stdout.split()) == set()


def test_the_demonstration_may_be_cut_off() -> None:
    program = f"{sys.executable} -m procorch demo | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, env=environment(), check=False)
    assert lines(done.stdout)[1] in {"0", "141"}
    assert done.stderr == ""


# --- signals ----------------------------------------------------------------------------------------------------------


@pytest.mark.limit(60)
@pytest.mark.parametrize(("signum", "code", "word"), [("SIGINT", 130, "interrupted"), ("SIGTERM", 143, "terminated")])
@pytest.mark.parametrize("way", ["wait", "gil"])
def test_signals(signum: str, code: int, word: str, way: str, method: Method, log: Path, gate: Path) -> None:
    with started("map", "-j2", "--mp-context", method, "targets_command:log_and_obey") as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write("".join(f"{log} {number} {way} {gate}\n" for number in range(100)).encode())
        wait_until(lambda: len(executions(log)) == 2)
        sent = time.monotonic()
        os.killpg(process.pid, signal.Signals[signum])
        assert process.wait(10) == code
        assert time.monotonic() - sent < 2
        assert process.stderr.read().decode() == f"procorch: {word}\n"
    assert all(is_gone(int(line.split()[1])) for line in log.read_text().splitlines())


def test_ctrl_c_while_nothing_comes(gate: Path) -> None:
    with started("map", "builtins:len") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(b"1\n")
        assert process.stdout.readline() == b"1\n"
        sent = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(10) == 130
        assert time.monotonic() - sent < 2
        assert process.stderr.read() == b"procorch: interrupted\n"


def test_many_ctrl_c_are_as_one(log: Path, gate: Path) -> None:
    with started("map", "-j1", "targets_command:log_and_obey") as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(f"{log} 1 gil\n".encode())
        wait_until(log.read_text)
        sent = time.monotonic()
        while process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
            select.select([], [], [], 0.002)
        assert process.returncode == 130
        assert time.monotonic() - sent < 2
        assert process.stderr.read() == b"procorch: interrupted\n"


def test_a_signal_that_is_ignored_stays_so(log: Path, gate: Path) -> None:
    """As under ``nohup``, or in the background of a script."""
    ignoring = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)}
    with started("map", "-j1", "targets_command:log_and_obey", **ignoring) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{log} 1 wait {gate}\n".encode())
        wait_until(log.read_text)
        os.killpg(process.pid, signal.SIGINT)
        gate.touch()
        assert process.stdout.readline() == b'"1"\n'


def test_a_worker_that_is_asked_to_end_says_nothing(method: Method) -> None:
    """Not even a forked one: what these signals raise is the parent's way to end."""
    with started("map", "-j1", "--mp-context", method, "targets_command:pid") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(b"1\n")
        worker = int(process.stdout.readline())
        os.kill(worker, signal.SIGTERM)
        wait_until(lambda: is_gone(worker))
        process.stdin.close()
        assert process.wait(10) == 0
        assert process.stderr.read() == b""


def test_being_stopped_without_standard_error_writes_to_no_other_file() -> None:
    with started("map", "builtins:len", preexec_fn=lambda: os.close(2)) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"1\n")
        assert process.stdout.readline() == b"1\n"
        process.terminate()
        assert process.stdout.read() == b""
        assert process.wait(10) == 143


def test_being_stopped_when_nobody_reads_standard_error() -> None:
    with started("map", "builtins:len") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(b"1\n")
        assert process.stdout.readline() == b"1\n"
        process.stderr.close()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
