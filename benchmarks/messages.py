"""A message to a process and its answer: by procorch, and by a process of the standard library with queues or a pipe.

    python benchmarks/messages.py [--rounds N] [--messages N]

Two forms: one question after the other, and all questions from a thread while answers are taken. The ways take turns,
backwards in every other round; what is printed are medians, with the range, in microseconds a message.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

import attrs

from procorch import ProcessGroup, current_process

CONTEXT = get_context("forkserver")


@attrs.frozen
class Way:
    """One way to talk with a process that gives back what it is sent."""

    name: str
    send: Callable[[Any], object]
    receive: Callable[[], Any]


def echo() -> None:
    """By procorch."""
    me = current_process()
    for message in me:
        me.send(message)


def echo_by_queues(questions: Any, answers: Any) -> None:
    """By two queues."""
    while (message := questions.get()) is not None:
        answers.put(message)


def echo_by_pipe(end: Any) -> None:
    """By a pipe."""
    while (message := end.recv()) is not None:
        end.send(message)


@contextmanager
def ways() -> Iterator[list[Way]]:
    """Open all of them."""
    questions, answers = CONTEXT.Queue(), CONTEXT.Queue()
    mine, its = CONTEXT.Pipe()
    processes = [
        CONTEXT.Process(target=echo_by_queues, args=(questions, answers)),
        CONTEXT.Process(target=echo_by_pipe, args=(its,)),
    ]
    for process in processes:
        process.start()
    with ProcessGroup() as group:
        handle = group.start(echo)
        yield [
            Way("procorch", handle.send, handle.receive),
            Way("two queues", questions.put, answers.get),
            Way("pipe", mine.send, mine.recv),
        ]
        handle.stop()
    questions.put(None)
    mine.send(None)
    for process in processes:
        process.join()


def one_by_one(way: Way, count: int) -> None:
    """Ask, and wait for each answer."""
    for number in range(count):
        way.send(number)
        assert way.receive() == number


def all_at_once(way: Way, count: int) -> None:
    """Ask in a thread, and take answers meanwhile."""
    asking = threading.Thread(target=lambda: [way.send(number) for number in range(count)])
    asking.start()
    for number in range(count):
        assert way.receive() == number
    asking.join()


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=3000)
    given = parser.parse_args()
    forms = {"one by one": one_by_one, "all at once": all_at_once}
    took: dict[tuple[str, str], list[float]] = {}
    with ways() as every:
        for way in every:
            one_by_one(way, 100)
        for number in range(given.rounds):
            for way in every if number % 2 else reversed(every):
                for form, talk in forms.items():
                    began = time.perf_counter()
                    talk(way, given.messages)
                    took.setdefault((form, way.name), []).append((time.perf_counter() - began) / given.messages * 1e6)
    for (form, name), times in sorted(took.items()):
        print(f"{form:12} {name:12} {statistics.median(times):7.1f} us   {min(times):.1f} - {max(times):.1f}")


if __name__ == "__main__":
    main()
