"""What tests of executors and pools run in workers."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from targets import append, begin_and_wait, crash, wait_for

import procorch


class FalseError(Exception):
    """Is false."""

    def __bool__(self) -> bool:
        return False


class EmptyError(Exception):
    """Has no length."""

    def __len__(self) -> int:
        return 0


class CallsWhenDumped:
    """Calls something in the process that pickles it, as another thread might meanwhile."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call

    def __reduce__(self) -> tuple[type[int], tuple[int]]:
        self._call()
        return int, (7,)


def raise_false(_: object = None) -> NoReturn:
    raise FalseError


def raise_empty(_: object = None) -> NoReturn:
    raise EmptyError


def logged(item: tuple[str, int]) -> int:
    """Append the number to a file."""
    log, number = item
    append(log, str(number))
    return number


def log_then_wait(item: tuple[str, str, int]) -> int:
    """Append the number to a file, and wait for another; number 0 does not wait."""
    log, gate, number = item
    if number:
        begin_and_wait(log, gate, number)
    return number


def crash_once_then_wait(log: str, gate: str) -> str:
    append(log, "0")
    if len(Path(log).read_text().splitlines()) == 1:
        crash()
    return wait_for(gate)


def crash_or_give(number: int) -> int:
    if number == 13:
        crash()
    return number


def fail_to_begin() -> NoReturn:
    raise ValueError("no licence")


def keywords(*args: object, **kwargs: object) -> tuple[object, ...]:
    return args, kwargs


def log_probability(point: list[float]) -> float:
    """Of a normal distribution, for samplers."""
    return -0.5 * float(sum(one * one for one in point))


def from_unit_cube(point: list[float]) -> list[float]:
    """To the square from -5 to 5."""
    return [10.0 * one - 5.0 for one in point]


def ones(individual: list[int]) -> tuple[int]:
    """The fitness of an individual: how many ones it has."""
    return (sum(individual),)


def distance(point: list[float]) -> float:
    """To the point (1, 2), squared."""
    return (point[0] - 1.0) ** 2 + (point[1] - 2.0) ** 2


def make_deap_classes() -> None:
    base, creator = importlib.import_module("deap.base"), importlib.import_module("deap.creator")
    creator.create("OnesFitness", base.Fitness, weights=(1.0,))
    creator.create("OnesIndividual", list, fitness=creator.OnesFitness)


def use_an_executor() -> int:
    with procorch.ProcessGroup(1) as group, group.as_executor() as executor:
        return executor.submit(pow, 2, 3).result()
