"""Process: ``python -m procorch map``, with real pipes: what goes in and out, what fails, and what is refused."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from commands import lines, ran, started
from helpers import Method, environment, executions, wait_until

import procorch

# --- lines in, lines out ----------------------------------------------------------------------------------------------


def test_results_are_json_lines_in_the_order_of_the_input(method: Method) -> None:
    numbers = range(5000)
    done = ran("map", "--mp-context", method, "builtins:int", given="\n".join(map(str, numbers)))
    assert (done.returncode, done.stderr) == (0, "")
    assert lines(done.stdout) == list(map(str, numbers))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (b"", []),
        (b"\n", [b""]),
        (b"a", [b"a"]),
        (b"a\n\nb\n", [b"a", b"", b"b"]),
        (b"a\r\n\r\nb\rc\r\n", [b"a", b"", b"b\rc"]),
        (b"\xff\xfe \xc3\xbc\n", [b"\xff\xfe \xc3\xbc"]),
        ("a\u2028b\x85c\x0bd\n".encode(), ["a\u2028b\x85c\x0bd".encode()]),
        (b"x" * 3_000_000 + b"\ny\n", [b"x" * 3_000_000, b"y"]),
    ],
)
def test_what_a_line_is(given: bytes, expected: list[bytes]) -> None:
    done = ran("map", "targets_command:hexadecimal", given=given)
    assert (done.returncode, done.stderr) == (0, "")
    assert [bytes.fromhex(json.loads(line)) for line in lines(done.stdout)] == expected


def test_results_are_readable_and_always_utf8() -> None:
    done = ran("map", "targets_command:upper", given="grün\n")
    assert done.stdout == '"GRÜN"\n'
    assert ran("map", "targets_command:broken_text", given="1\n").stdout == '"half \\ud800"\n'


def test_a_file(tmp_path: Path) -> None:
    file = tmp_path / "numbers"
    file.write_text("1\n2\n")
    assert ran("map", "builtins:int", str(file)).stdout == "1\n2\n"
    assert ran("map", "builtins:int", "-", given="3").stdout == "3\n"


@pytest.mark.parametrize(
    ("option", "line", "function", "expected"),
    [
        ("--json", '{"a": [1, null]}', "builtins:len", "1\n"),
        ("--json", '"ä"', "builtins:ord", "228\n"),
        ("--star", "[1, 2]", "targets_command:add", "3\n"),
        ("--star", "[1]", "targets_command:add", "11\n"),
        ("--kwargs", '{"second": 5, "first": 1}', "targets_command:add", "6\n"),
        ("--json", "1.5", "targets_command:Shapes.square", "2.25\n"),
    ],
)
def test_json_in(option: str, line: str, function: str, expected: str) -> None:
    assert ran("map", option, function, given=line).stdout == expected


def test_dry_run_writes_the_calls(tmp_path: Path) -> None:
    done = ran("map", "--dry-run", "--kwargs", "targets_command:add", given='{"first": 1, "second": "x"}\nno\n')
    assert done.stdout == "targets_command.add(first=1, second='x')\n"
    assert done.returncode == 1
    assert done.stderr.startswith("line 2: the line is not JSON: ")


def test_a_script_and_the_current_folder(tmp_path: Path) -> None:
    (tmp_path / "my-script.py").write_text(
        "def f(line):\n    return line + '!'\nif __name__ == '__main__':\n    1 / 0\n"
    )
    (tmp_path / "module.py").write_text("from os.path import basename\n")
    assert ran("map", "./my-script.py:f", given="a", cwd=tmp_path).stdout == '"a!"\n'
    assert ran("map", "module:basename", given="a/b", cwd=tmp_path).stdout == '"b"\n'
    (tmp_path / "json.py").write_text("def f(line):\n    return line\n")
    done = ran("map", f"{tmp_path}/json.py:f", given="a")
    assert (done.returncode, done.stdout) == (2, "")
    assert "cannot be imported as a module named 'json'" in done.stderr


# --- when ------------------------------------------------------------------------------------------------------------


def test_a_result_is_there_before_the_next_line() -> None:
    with started("map", "-j2", "builtins:len") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for size in range(20):
            process.stdin.write(b"x" * size + b"\n")
            assert process.stdout.readline() == f"{size}\n".encode()
        process.stdin.close()
        assert process.wait() == 0


def test_lines_that_come_late_run_beside_one_that_takes_long(log: Path, gate: Path) -> None:
    with started("map", "-j2", "--unordered", "targets_command:log_and_obey") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{log} 1 wait {gate}\n".encode())
        wait_until(log.read_text)
        for number in (2, 3, 4):
            process.stdin.write(f"{log} {number} quick\n".encode())
            assert process.stdout.readline() == f'"{number}"\n'.encode()
        gate.touch()
        assert process.stdout.readline() == b'"1"\n'


def shell(program: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = f'map() {{ {sys.executable} -m procorch map "$@"; }}\n{program}'
    return subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, env=environment() | variables, timeout=20, check=False
    )


def test_an_endless_input_ends_with_its_reader() -> None:
    done = shell("yes | map builtins:len | head -3; echo ${PIPESTATUS[1]}")
    assert done.stdout == "1\n1\n1\n141\n"
    assert done.stderr == ""


def test_it_ends_when_nobody_reads_although_there_is_nothing_to_write(log: Path, gate: Path) -> None:
    with started("map", "-j2", "targets_command:log_and_obey") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{log} 1 quick\n{log} 2 wait {gate}\n".encode())
        assert process.stdout.readline() == b'"1"\n'
        wait_until(lambda: executions(log)[2])
        process.stdout.close()
        assert process.wait(5) == 141
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_the_input_is_read_no_further_than_is_good() -> None:
    with started("map", "builtins:len") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"1\n")
        select.select([process.stdout], [], [])  # it runs
        os.set_blocking(process.stdin.fileno(), False)
        given = 0
        full_since = time.monotonic()
        # Nobody reads the results, so at some time no more is taken; else this would go on for ever.
        while time.monotonic() < full_since + 1.0:
            try:
                given += os.write(process.stdin.fileno(), b"line\n" * 1000)
                full_since = time.monotonic()
            except BlockingIOError:
                select.select([], [process.stdin], [], 0.1)
            assert given < 20_000_000
        assert given > 100_000


# --- who writes where -------------------------------------------------------------------------------------------------


def test_standard_output_belongs_to_the_results(method: Method) -> None:
    done = ran("map", "--mp-context", method, "-j1", "targets_command:talk", given="1\n2\n3\n")
    assert done.stdout == '""\n""\n""\n', "standard input is empty for items, and standard output not theirs"
    expected = [f"{what}" for n in (1, 2, 3) for what in (f"printed {n}", "written", "echoed")]
    assert lines(done.stderr) == expected


def test_items_take_nothing_of_the_input(method: Method) -> None:
    with started("map", "-j1", "--mp-context", method, "targets_command:talk") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(3):
            process.stdin.write(b"line\n")
            assert process.stdout.readline() == b'""\n'


def test_what_a_module_prints_when_it_is_imported_is_no_result(tmp_path: Path) -> None:
    (tmp_path / "loud.py").write_text("print('loud')\nfrom builtins import len\n")
    done = ran("map", "-j1", "loud:len", given="abc", cwd=tmp_path)
    assert done.stdout == "3\n"
    assert set(lines(done.stderr)) == {"loud"}


def test_workers_load_little(tmp_path: Path) -> None:
    heavy = {"argparse", "attr", "procorch.__main__", "procorch._group", "procorch._commands.mapping"}
    (tmp_path / "module.py").write_text(f"import sys\ndef f(line):\n    return list({heavy} & set(sys.modules))\n")
    assert ran("map", "--mp-context", "spawn", "module:f", given="1", cwd=tmp_path).stdout == "[]\n"


# --- failures ---------------------------------------------------------------------------------------------------------


def test_failures_are_told_of_in_one_line_each(log: Path) -> None:
    given = f"{log} 1 fine\n{log} 2 fail\n{log} 3 exit\n{log} 4 die\n{log} 5 fine\n"
    done = ran("map", "targets_command:log_and_obey", given=given)
    assert done.returncode == 1
    assert done.stdout == '"1"\n"5"\n'
    two, three, four = lines(done.stderr)
    assert two == "line 2: ValueError: item 2 is bad"
    assert three == "line 3: SystemExit: 3"
    assert four.startswith("line 4: WorkerCrashed: was lost: process 'map-")
    assert "was killed by SIGKILL while running it (1 attempt)" in four
    assert executions(log) == dict.fromkeys(range(1, 6), 1)


@pytest.mark.parametrize("order", [[], ["--unordered"]])
def test_outcomes_say_which_line_they_are_of(order: list[str], log: Path) -> None:
    given = f"{log} 1 fine\n{log} 2 fail\n{log} 3 die\n{log} 4 fine\n"
    done = ran("map", "--outcomes", *order, "targets_command:log_and_obey", given=given)
    assert done.returncode == 1
    outcomes = [json.loads(line) for line in lines(done.stdout)]
    if not order:
        assert [outcome["line"] for outcome in outcomes] == [1, 2, 3, 4]
    outcomes.sort(key=lambda outcome: outcome["line"])
    assert outcomes[0] == {"line": 1, "result": "1"}
    assert outcomes[1] == {"line": 2, "error": "ValueError: item 2 is bad"}
    assert outcomes[2]["error"].startswith("WorkerCrashed: ")
    assert outcomes[3] == {"line": 4, "result": "4"}
    assert sorted(line.split(":")[0] for line in lines(done.stderr)) == ["line 2", "line 3"]


@pytest.mark.parametrize(
    ("arguments", "given", "reason"),
    [
        (["targets_command:set_of"], "set", "the result cannot be written as JSON: TypeError: Object of type set is"),
        (["targets_command:set_of"], "nan", "the result cannot be written as JSON: ValueError: Out of range float"),
        (["--json", "builtins:len"], "", "the line is not JSON: JSONDecodeError"),
        (["--json", "builtins:len"], "[1", "the line is not JSON: JSONDecodeError"),
        (["--json", "builtins:len"], "[" * 200_000, "the line is not JSON: RecursionError"),
        (["--star", "builtins:len"], "{}", "the line is not a JSON array"),
        (["--kwargs", "builtins:len"], "[]", "the line is not a JSON object"),
        (["--kwargs", "targets_command:add"], '{"third": 1}', "TypeError: add() got an unexpected keyword"),
        (["builtins:len", "--timeout", "0.2", "--json"], "5", "TypeError: object of type 'int' has no len()"),
    ],
)
def test_a_line_that_fails_costs_no_other(arguments: list[str], given: str, reason: str) -> None:
    done = ran("map", *arguments, given=f"{given}\n")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"line 1: {reason}"), done.stderr[:300]
    assert len(lines(done.stderr)) == 1


def test_verbose_shows_where(log: Path) -> None:
    done = ran("map", "--verbose", "targets_command:log_and_obey", given=f"{log} 7 fail")
    assert done.stderr.startswith("line 1: ValueError: item 7 is bad\nTraceback (most recent call last):\n")
    assert 'targets_command.py", line' in done.stderr
    assert "_lines.py" not in done.stderr
    assert done.stderr.endswith("ValueError: item 7\nis bad\n")


def test_a_timeout_stops_the_process(log: Path, gate: Path) -> None:
    given = f"{log} 1 fine\n{log} 2 wait {gate}\n{log} 3 gil\n{log} 4 fine\n"
    done = ran("map", "--timeout", "0.5", "targets_command:log_and_obey", given=given)
    assert (done.returncode, done.stdout) == (1, '"1"\n"4"\n')
    two, three = lines(done.stderr)
    assert two.startswith("line 2: TaskTimeout: ran longer than its limit of 0.5 s in process 'map-")
    assert three.startswith("line 3: TaskTimeout: ")


def test_retries_are_for_whatever_fails(log: Path) -> None:
    given = f"{log} 1 again\n{log} 2 die\n{log} 3 fail\n"
    done = ran("map", "--retries", "2", "targets_command:log_and_obey", given=given)
    assert (done.returncode, done.stdout) == (1, '"1"\n')
    assert executions(log) == {1: 3, 2: 3, 3: 3}
    assert [line.split()[2] for line in lines(done.stderr)] == ["WorkerCrashed:", "ValueError:"]


# --- giving up --------------------------------------------------------------------------------------------------------


def obey(log: Path, *words: str) -> str:
    """One line for each word, many that do nothing, and no end of the input."""
    return "".join(f"{log} {number} {word}\n" for number, word in enumerate(words, 1))


def test_halt_soon_lets_what_runs_finish_and_begins_nothing_more(log: Path, gate: Path) -> None:
    words = [f"wait {gate}", "fail", *[f"wait {gate}"] * 1000]
    with started("map", "-j2", "--halt", "soon,fail=1", "targets_command:log_and_obey") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(obey(log, *words).encode())
        # The second has failed, and a third may have begun by then; the turn is the first's. The input is still open.
        wait_until(lambda: executions(log)[2])
        begun = settled(log)
        gate.touch()
        assert process.wait(10) == 1
        assert process.stdout.readline() == b'"1"\n'
        assert executions(log) == begun
        assert set(begun) <= {1, 2, 3}
        assert process.stderr.read() == b"line 2: ValueError: item 2 is bad\nprocorch map: gave up: 1 failed\n"


def settled(log: Path) -> Counter[int]:
    """The executions, once nothing is begun any more: some may be before the failure is known."""
    seen = [executions(log), Counter[int]()]
    since = [time.monotonic()]

    def are_the_same() -> bool:
        seen.append(executions(log))
        if seen[-1] != seen[-2]:
            since.append(time.monotonic())
        return time.monotonic() > since[-1] + 0.3

    wait_until(are_the_same)
    return seen[-1]


def test_halt_now_stops_what_runs(log: Path, gate: Path) -> None:
    with started("map", "-j2", "--halt", "now,fail=2", "targets_command:log_and_obey") as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(obey(log, f"wait {gate}", "fail", "fine", "fail", f"wait {gate}").encode())
        assert process.wait(10) == 1
        assert process.stderr.read().endswith(b"procorch map: gave up: 2 failed\n")


def test_without_halt_all_is_done(log: Path) -> None:
    done = ran("map", "--halt", "never", "targets_command:log_and_obey", given=obey(log, "fail", "fail", "fine"))
    assert (done.returncode, done.stdout) == (1, '"3"\n')


# --- what it cannot begin with ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nosuchmodule:f"], "cannot import nosuchmodule: ModuleNotFoundError: No module named 'nosuchmodule'"),
        (["targets_command:nothing"], "module 'targets_command' has no attribute 'nothing'"),
        (["targets_command:Shapes.circle"], "type object 'Shapes' has no attribute 'circle'"),
        (["targets_command:number"], "targets_command:number cannot be called: it is int"),
        (["targets_command"], "'targets_command' is not of the form MODULE:FUNC"),
        (["./nosuch.py:f"], "there is no file ./nosuch.py"),
        (["builtins:len", "nosuchfile"], "cannot read nosuchfile: No such file or directory"),
        (["builtins:len", "/"], "cannot read /: Is a directory"),
        (["builtins:len", "--initializer", "builtins:nothing"], "module 'builtins' has no attribute 'nothing'"),
        (["builtins:len", "--jobs", "many"], "argument -j/--jobs: 'many' is not a number of at least 1"),
        (["builtins:len", "--jobs", "0"], "argument -j/--jobs: '0' is not a number of at least 1"),
        (["builtins:len", "--timeout", "nan"], "argument --timeout: 'nan' is not a number of seconds above 0"),
        (["builtins:len", "--timeout", "0"], "argument --timeout: '0' is not a number of seconds above 0"),
        (["builtins:len", "--retries", "-1"], "argument --retries: '-1' is not a number of at least 0"),
        (["builtins:len", "--halt", "soon,fail=0"], "argument --halt: 'soon,fail=0' is neither never nor"),
        (["builtins:len", "--json", "--star"], "argument --star: not allowed with argument --json"),
        ([], "the following arguments are required: MODULE:FUNC"),
    ],
)
def test_what_cannot_begin_is_refused(arguments: list[str], reason: str) -> None:
    done = ran("map", *arguments, given="1\n")
    assert (done.returncode, done.stdout) == (2, "")
    last = lines(done.stderr)[-1].removeprefix("procorch map: ").removeprefix("error: ")
    assert last.startswith(reason), done.stderr


def test_closed_descriptors() -> None:
    assert shell("map builtins:len <&-; echo $?").stdout == "2\n"
    assert shell("map builtins:len >&- <<< 1; echo $? >&2").stderr.endswith("standard output is closed\n2\n")
    assert shell("map builtins:int 2>&- <<< 1; echo $?").stdout == "1\n0\n"
    assert shell("map builtins:int /dev/stdin 2>&- <<< x; echo $?").stdout == "1\n"


def test_a_full_disk() -> None:
    done = shell("map builtins:len <<< 1 > /dev/full; echo $?")
    assert done.stdout == "1\n"
    assert done.stderr == "procorch map: OSError: [Errno 28] No space left on device\n"


def test_a_dry_run_to_a_full_disk() -> None:
    done = shell("map --dry-run builtins:len <<< 1 > /dev/full; echo $?")
    assert done.stdout == "1\n"
    assert done.stderr == "procorch map: OSError: [Errno 28] No space left on device\n"


def test_a_folder_that_has_been_removed(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    program = f"cd {tmp_path}/gone && rmdir ../gone && map builtins:len <<< 1; echo $?"
    done = shell(program, PYTHONPATH=str(Path(procorch.__file__).parents[1]))
    assert done.stdout == "2\n"
    assert done.stderr == "procorch map: cannot find the current folder: No such file or directory\n"


def test_each_failure_is_told_of_where_writing_does_not_wait(log: Path) -> None:
    """Others who have the same pipe may have made it so."""
    seen, stderr = os.pipe()
    os.set_blocking(stderr, False)
    filled = os.write(stderr, b"\n" * (1 << 20))
    arguments = ["map", "-j1", "targets_command:log_and_obey"]
    with started(*arguments, stderr=stderr) as process, os.fdopen(seen, "rb") as errors:
        os.close(stderr)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(obey(log, *["fail"] * 200, "fine").encode())
        process.stdin.close()
        wait_until(lambda: executions(log)[2])
        assert not select.select([process.stdout], [], [], 2)[0], "there has been no room for what comes before"
        told = errors.read().decode()[filled:]
        assert process.wait() == 1
    assert [line.split(":")[0] for line in lines(told)] == [f"line {number}" for number in range(1, 201)]


def test_a_dry_run_waits_where_reading_does_not() -> None:
    source, given = os.pipe()
    os.set_blocking(source, False)
    with started("map", "--dry-run", "builtins:len", stdin=source) as process:
        assert process.stdout is not None
        for number in (1, 2, 3):
            os.write(given, f"{number}\n".encode())
            assert process.stdout.readline() == f"builtins.len('{number}')\n".encode()
        os.close(given)
        os.close(source)
        assert process.wait() == 0


def test_an_initializer() -> None:
    arguments = ["map", "--initializer", "targets_command:initialize", "targets_command:was_initialized"]
    assert ran(*arguments, given="1\n2\n").stdout == "true\ntrue\n"
    arguments[2] = "targets_command:initialize_in_vain"
    done = ran(*arguments, given="1\n2\n")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "procorch map: ValueError: no licence\n"


def test_fresh_processes() -> None:
    done = ran("map", "-j1", "--max-tasks-per-child", "1", "targets_command:pid", given="1\n2\n3\n")
    assert len(set(lines(done.stdout))) == 3
