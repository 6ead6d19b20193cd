"""Process: messages to and from a function that runs in a process of its own, in order, and under kills."""

from __future__ import annotations

import os
import random
import threading
from collections import Counter, deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import targets_service as targets
from helpers import Killer, Method, kill_and_wait_for_the_next, wait_until
from hypothesis import given, settings
from hypothesis import strategies as st

from procorch import GroupClosed, NotPicklable, NotRunning, ProcessGroup, Restart
from procorch._parcel import all_held
from procorch._talk import MOST


def lines(log: Path) -> list[str]:
    return log.read_text().splitlines()


def test_messages_go_both_ways_in_order(method: Method) -> None:
    with ProcessGroup(mp_context=method) as group:
        handle = group.start(targets.echo)
        for number in range(200):
            handle.send(number)
            assert handle.receive(int) == 2 * number
        handle.stop()
        assert list(handle) == []
        assert handle.result() == "stopped"


ANY = st.integers() | st.text() | st.floats(allow_nan=False) | st.binary() | st.lists(st.integers())


def test_any_message_comes_back_doubled_exactly_once() -> None:
    with ProcessGroup() as group:
        handle = group.start(targets.echo)

        @settings(max_examples=50)
        @given(st.lists(ANY, max_size=MOST), st.integers(1, MOST))
        def check(messages: list[Any], ahead: int) -> None:
            answers: list[Any] = []
            for number, message in enumerate(messages):
                handle.send(message)
                if number >= ahead:
                    answers.append(handle.receive())
            while len(answers) < len(messages):
                answers.append(handle.receive())
            assert answers == [message * 2 for message in messages]

        check()
        handle.stop()


def test_large_messages_go_both_ways() -> None:
    with ProcessGroup() as group:
        handle = group.start(targets.echo, restart=Restart())
        array = np.arange(1 << 20)
        for _ in range(3):
            handle.send(array)
            assert np.array_equal(handle.receive(np.ndarray), array * 2)


def test_messages_wait_for_a_process_that_is_not_there_yet(gate: Path) -> None:
    with ProcessGroup() as group:
        handle = group.start(targets.take_after, str(gate), MOST)
        for number in range(MOST):
            handle.send(number)
        with pytest.raises(TimeoutError, match="no room for a message to"):
            handle.send("one too many", timeout=0)
        assert not handle.flush(timeout=0)
        gate.touch()
        assert handle.flush()
        assert handle.result() == list(range(MOST))


def test_who_sends_more_than_is_taken_waits(gate: Path) -> None:
    with ProcessGroup() as group:
        handle = group.start(targets.take_after, str(gate), 3 * MOST)
        sent: list[int] = []

        def send() -> None:
            for number in range(3 * MOST):
                handle.send(number)
                sent.append(number)

        thread = threading.Thread(target=send)
        thread.start()
        wait_until(lambda: len(sent) == MOST)
        gate.touch()
        assert handle.result() == list(range(3 * MOST))
        thread.join()


def test_a_function_that_sends_more_than_is_taken_waits(log: Path) -> None:
    with ProcessGroup() as group:
        handle = group.start(targets.send_many, 3 * MOST, str(log))
        wait_until(lambda: len(lines(log)) == MOST)
        assert handle.receive() == 0
        assert len(lines(log)) <= MOST + 1
        assert list(handle) == list(range(1, 3 * MOST))


def test_what_was_sent_arrives_from_a_process_that_has_died_since(method: Method) -> None:
    with ProcessGroup(mp_context=method) as group:
        handle = group.start(targets.send_and_die, 10)
        handle.join()
        assert list(handle.messages(int)) == list(range(10))
        with pytest.raises(NotRunning, match=r"ended with exit code 3$"):
            handle.receive()
        with pytest.raises(NotRunning):
            handle.send(1)
        assert isinstance(handle._future.exception(), Exception)
        handle.terminate()
        with pytest.raises(Exception, match="exit code 3"):
            handle.result()


def test_what_cannot_be_pickled_is_refused_where_it_is_sent() -> None:
    with ProcessGroup() as group:
        handle = group.start(targets.answer_with, "lock")
        with pytest.raises(NotPicklable, match=r"argument of procorch\.ProcessHandle\.send"):
            handle.send(threading.Lock())
        before, error, after = handle
        assert (before, after) == ("before", "after")
        assert "cannot pickle" in error


def test_what_cannot_be_rebuilt_costs_itself() -> None:
    with ProcessGroup() as group:
        handle = group.start(targets.answer_with, "breaks when loaded")
        assert handle.receive() == "before"
        with pytest.raises(NotPicklable, match="cannot be rebuilt"):
            handle.receive()
        assert handle.receive() == "after"


def test_a_message_of_another_type_is_refused() -> None:
    with ProcessGroup() as group:
        handle = group.start(targets.echo)
        handle.send("text")
        with pytest.raises(TypeError, match=r"^the message is no int: 'texttext'$"):
            handle.receive(int)
        handle.stop()
        other = group.start(targets.take_one, 5.0, int)
        other.send("text")
        assert other.result() == repr(TypeError("the message is no int: 'text'"))


def test_who_waits_for_a_message_does_not_wait_for_ever() -> None:
    with ProcessGroup() as group:
        quiet = group.start(targets.serve)
        with pytest.raises(TimeoutError, match="no message from"):
            quiet.receive(timeout=0.01)
        assert group.start(targets.take_one, 0.01).result() == repr(TimeoutError("no message within 0.01 s"))
        waits = group.start(targets.take_one, None)
        assert waits.wait_ready()
        waits.stop()
        assert waits.result() == repr(EOFError("the process was asked to stop"))
        quiet.stop()


def test_threads_of_the_function_may_send_at_once() -> None:
    with ProcessGroup() as group:
        handle = group.start(targets.send_from_threads, 4, 50)
        got = list(handle.messages(tuple))
    assert len(got) == 200
    for thread in range(4):
        assert [number for who, number in got if who == thread] == list(range(50))


def test_some_may_send_while_another_takes() -> None:
    with ProcessGroup() as group:
        handle = group.start(targets.send_while_taking, 3, 500)
        thread = threading.Thread(target=lambda: deque(map(handle.send, range(500)), maxlen=0))
        thread.start()
        assert len(list(handle)) == 1500
        thread.join()
        assert handle.result() == 500


def test_that_all_was_taken_is_known_though_no_more_is_asked_for(gate: Path) -> None:
    with ProcessGroup() as group:
        handle = group.start(targets.take_one_and_wait, str(gate))
        handle.send("a")
        assert handle.flush(20)
        gate.touch()
        assert handle.result() == "a"


def test_a_function_can_tell_that_there_is_no_room() -> None:
    with ProcessGroup() as group:
        handle = group.start(targets.send_without_waiting)
        assert handle.result() in range(MOST + 1)  # none before it has heard that it may
        assert list(handle) == list(range(handle.result()))


def test_what_nobody_has_taken_keeps_no_descriptor(gate: Path) -> None:
    with ProcessGroup() as group:
        handle = group.start(targets.take_after, str(gate), 0)
        before = len(all_held())
        for _ in range(5):
            handle.send(np.zeros(1 << 18))
        assert len(all_held()) >= before + 5
        gate.touch()
        assert handle.join()
        assert len(all_held()) < before + 5  # but for those that are kept to be written again
        assert not handle.flush()


def test_what_is_shared_can_be_sent() -> None:
    with ProcessGroup() as group:
        handle = group.start(targets.take_shared)
        shared = group.share({"a": 1})
        handle.send(shared)
        assert handle.result() == {"a": 1}


def test_current_process_is_for_functions_of_start(gate: Path) -> None:
    elsewhere = "current_process() is for functions that ProcessGroup.start runs, and this is none"
    assert targets.who_may_talk() == elsewhere
    with ProcessGroup(1, name="g") as group:
        assert group.map(targets.who_may_talk, [1]) == [elsewhere]
        handle = group.start(targets.who_may_talk)
        assert handle.result() == handle.name
        assert group.start(targets.fork_and_talk, name="f").result() == ("f", elsewhere)
        group.start(targets.thread_that_talks_late, str(gate)).result()
        gate.touch()
    assert "after the function had returned" in Path(f"{gate}.log").read_text()


def test_a_forked_copy_cannot_talk_for_the_process() -> None:
    with ProcessGroup() as group:
        handle = group.start(targets.talk_in_a_copy)
        assert handle.wait_ready()
        handle.send("mine")
        *refused, taken = handle.result()
        assert taken == "mine"
        assert len(refused) == 5
        assert set(refused) == {
            "this process is a copy of the one that ProcessGroup.start runs: it cannot talk for that"
        }
        assert list(handle) == []


def test_a_forked_copy_cannot_talk_for_the_parent() -> None:
    with ProcessGroup() as group:
        handle = group.start(targets.echo)
        reader, writer = os.pipe()
        if not os.fork():
            told = 0
            for call in (handle.receive, handle.wait_ready, handle.flush, handle.stop, lambda: handle.send(1)):
                try:
                    call()
                except GroupClosed:
                    told += 1
            os.write(writer, bytes([told]))
            os._exit(0)
        os.wait()
        assert os.read(reader, 1) == b"\5"
        os.close(reader)
        os.close(writer)
        handle.send(1)
        assert handle.receive() == 2
        handle.stop()


def test_a_process_that_talks_may_have_one_that_talks_to_it() -> None:
    with ProcessGroup() as group:
        handle = group.start(targets.talk_within)
        handle.send("a")
        assert handle.result() == ("inner-1", "aa")


# --- under kills ------------------------------------------------------------------------------------------------------


def test_each_message_is_taken_once_whoever_is_killed(log: Path) -> None:
    draw = random.Random(7)
    restart = Restart(max_restarts=None, backoff=0)
    with ProcessGroup() as group:
        handle = group.start(targets.count_messages, str(log), restart=restart)
        with Killer(lambda: handle.pid, 25, lambda: draw.uniform(0.01, 0.1)) as killer:
            number = 0
            while killer.left or number < 2000:
                handle.send(number)
                number += 1
            assert handle.flush()
        handle.stop()
    told = Counter(lines(log))
    assert set(told.values()) == {1}
    taken = [int(line.split()[0]) for line in lines(log) if line.endswith("taken")]
    assert taken == sorted(taken)
    lost = number - sum(line.endswith("done") for line in told)
    # At most the one that it was at, for each time that it was killed.
    assert lost <= handle.restarts
    assert handle.restarts > 5


def test_messages_of_the_dead_are_given_and_those_of_the_next_follow() -> None:
    with ProcessGroup() as group:
        handle = group.start(targets.echo, restart=Restart(max_restarts=None, backoff=0))
        for number in range(5):
            handle.send(number)
            assert handle.receive() == 2 * number
            kill_and_wait_for_the_next(handle)
