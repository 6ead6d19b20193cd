"""Process: a cluster of dask whose workers are on hosts of their own, network namespaces, and one that is cut off."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import targets_cluster as far
from helpers import environment, executions, wait_until

from procorch import ProcessGroup, WorkerCrashed

pytest.importorskip("distributed")

from procorch.engines.dask import DaskEngine

_NETWORK = f"10.213.{os.getpid() % 250 + 1}"  # another one for each run, as several may share the machine
_HERE = f"prc{os.getpid() % 100_000}"


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def hosts() -> Iterator[list[str]]:
    """Two hosts, each a network namespace with one cable to a bridge of this one. Their cables are named like them."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("needs root and iproute2")
    with contextlib.ExitStack() as stack:

        def make(undo: tuple[str, ...], *words: str) -> None:
            try:
                ip(*words)
            except subprocess.CalledProcessError as error:
                pytest.skip(f"network namespaces cannot be made here: {error.stderr.decode().strip()}")
            stack.callback(ip, *undo)

        bridge = f"{_HERE}b"
        make(("link", "del", bridge), "link", "add", bridge, "type", "bridge")
        ip("addr", "add", f"{_NETWORK}.1/24", "dev", bridge)
        ip("link", "set", bridge, "up")
        names = [f"{_HERE}w{number}" for number in (1, 2)]
        for number, name in enumerate(names, 11):
            make(("netns", "del", name), "netns", "add", name)
            ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", name, "master", bridge, "up")
            ip("-n", name, "addr", "add", f"{_NETWORK}.{number}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", "eth0", "up")
        yield names


@contextlib.contextmanager
def dask(*words: str, host: str | None = None) -> Iterator[None]:
    """Run a program of dask, on a host."""
    quick = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "11s", "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "3s"}
    there = [] if host is None else ["ip", "netns", "exec", host]
    process = subprocess.Popen(
        [*there, sys.executable, "-m", "dask", *words, "--no-dashboard"],
        env=environment() | quick | {"PYTHONWARNINGS": "ignore"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


@pytest.mark.limit(90)
def test_a_host_that_is_cut_off_costs_what_it_had_and_nothing_runs_twice(hosts: list[str], tmp_path: Path) -> None:
    log, file = tmp_path / "log", tmp_path / "scheduler.json"
    outcomes: list[object] = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(dask("scheduler", f"--host={_NETWORK}.1", "--port=0", f"--scheduler-file={file}"))
        wait_until(lambda: file.exists() and file.read_text().endswith("}"))
        address: str = json.loads(file.read_text())["address"]
        for host in hosts:
            stack.enter_context(dask("worker", address, "--nthreads=1", "--no-nanny", host=host))
        with ProcessGroup(engine=DaskEngine(address)) as group:
            stream = group.imap(partial(far.logged, str(log), seconds=0.02), itertools.count(), return_exceptions=True)
            outcomes += itertools.takewhile(lambda _: len({one.address for one in group.processes}) < 2, stream)
            ip("link", "set", hosts[0], "down")
            for outcome in stream:
                outcomes.append(outcome)
                if any(isinstance(one, WorkerCrashed) for one in outcomes[:-50]):
                    break
            stream.close()
        lost = [one for one in outcomes if isinstance(one, WorkerCrashed)]
        assert lost
        assert all(f"tcp://{_NETWORK}.1" in str(one) for one in lost)  # .11 or .12
        assert set(executions(log).values()) == {1}
