"""Functions for child processes, of tests with large data."""

from __future__ import annotations

import os
import resource
import signal
from pathlib import Path
from typing import Any

import targets

import procorch
from procorch import _buffers


def lower_threshold(least: int) -> None:
    """Let smaller data count as large, in this process."""
    _buffers.LEAST = least


def give(value: Any) -> Any:
    return value


def give_unless_none(value: Any) -> Any:
    if value is None:
        raise ValueError("none")
    return value


def make_bytes(size: int) -> bytes:
    return bytes(size)


def make_filled(size: int, fill: int) -> bytearray:
    return bytearray([fill]) * size


def fill_and_sum(data: bytearray) -> int:
    """Write to an argument, and tell what it was."""
    before = sum(data)
    data[:] = bytes([255]) * len(data)
    return before


def fill_logged(log: str, number: int, data: bytearray) -> bytearray:
    targets.append(log, f"{number} {os.getpid()}")
    assert data == bytearray([number % 251]) * len(data)
    data[:] = bytes([255 - number % 251]) * len(data)
    return data


def die_once(mark: str, data: bytearray) -> int:
    """Overwrite the argument and die; in the next try, tell what it was."""
    before = sum(data)
    data[:] = bytes([1]) * len(data)
    if not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return before


def take_descriptors() -> None:
    """Open files until there is no room for another."""
    while True:
        try:
            os.open(os.devnull, os.O_RDONLY)
        except OSError:
            return


def take_descriptors_and_go_on(number: int) -> int:
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    take_descriptors()
    return number


def give_descriptors_back(number: int) -> int:
    os.closerange(50, 64)
    return number


def count_memfds() -> int:
    links = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            links.append(str(link.readlink()))
        except FileNotFoundError:
            continue
    return sum("memfd:procorch" in link for link in links)


# --- shared -----------------------------------------------------------------------------------------------------------


def value_at(shared: procorch.Shared[Any], index: int) -> Any:
    return shared.value[index]


def same_each_time(shared: procorch.Shared[Any], _: int) -> tuple[int, bool]:
    return os.getpid(), shared.value is shared.value


def write_to(shared: procorch.Shared[Any], index: int) -> Any:
    shared.value[index] = -1
    return os.getpid(), list(shared.value)


def die_with(shared: procorch.Shared[Any], mark: str) -> Any:
    if not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return shared.value


def private_bytes(shared: procorch.Shared[Any]) -> tuple[int, int]:
    """Tell how much of this process's memory is its own alone, before and after all of what is shared is read."""
    before = _own()
    assert max(shared.value[::4096]) == 1
    return before, _own()


def _own() -> int:
    text = Path("/proc/self/smaps_rollup").read_text()
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Anonymous:")) << 10


def wait_and_use(log: str, gate: str, shared: procorch.Shared[Any]) -> Any:
    targets.begin_and_wait(log, gate)
    return shared.value


class Unloadable:
    """Can be pickled, and raises when it is opened."""

    def __reduce__(self) -> tuple[Any, ...]:
        return not_here, ()


def not_here() -> None:
    raise LookupError("not here")


def pass_on(shared: procorch.Shared[Any], method: Any) -> tuple[Any, str]:
    """Use it here, and try to use it in a worker of this worker."""
    value = shared.value[0]
    with procorch.ProcessGroup(1, mp_context=method) as group:
        try:
            return value, group.submit(value_at, shared, 0).result()
        except procorch.NotPicklable as error:
            return value, str(error)
