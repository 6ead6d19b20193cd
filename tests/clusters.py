"""What tests with a cluster share: one of dask, in processes of its own for the whole run, a client for each test."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Generator, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from helpers import environment

if TYPE_CHECKING:
    from distributed import Client

HERE = Path(__file__).parent


@contextlib.contextmanager
def program(*command: str) -> Generator[subprocess.Popen[str]]:
    """Run something that ends with its standard input, and whose processes find the functions of tests."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment() | {"PYTHONWARNINGS": "ignore"},
    )
    try:
        yield process
    finally:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.wait(20)
        process.stdout.close()


@contextlib.contextmanager
def dask_cluster(workers: int, threads: int = 1) -> Generator[str]:
    """Run a cluster of dask over TCP; give the address of its scheduler."""
    if find_spec("distributed") is None:
        pytest.skip("needs distributed")
    with program(sys.executable, str(HERE / "dask_cluster.py"), str(workers), str(threads)) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()


@pytest.fixture(scope="session")
def dask_address() -> Iterator[str]:
    """The scheduler of a cluster of two worker processes with one thread each. Nobody is to end these."""
    with dask_cluster(2) as address:
        yield address


@pytest.fixture
def dask_client(dask_address: str) -> Iterator[Client]:
    """A client of that cluster."""
    from distributed import Client  # here: it may not be installed

    with Client(dask_address, set_as_default=False) as client:
        yield client
