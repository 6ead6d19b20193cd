"""Unit: lanes of an engine whose chunks are answered by hand, alone and with a group over them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NoReturn

import pytest
import targets
from crates import chunk
from helpers import wait_until
from lanes import Answers, ByHand, Launch

from procorch import GroupClosed, NotSupported, ProcessGroup, TaskTimeout, WorkerCrashed, _far, _lanes
from procorch import _messages as m
from procorch._assignments import Assignment, Gone, Progress, Returned
from procorch._engine import Capabilities, Chunk, Room
from procorch._events import ChunkEnded, Looked, Lost, Recorded, Remains, TimedOut, WorkerDied, WorkerEvent, WorkerReady
from procorch._lanes import Died, Lane, Untouched, Watched
from procorch._outcome import pack as pickled
from procorch._shares import Shares

ANSWERS = Answers()
ANY = Capabilities(kill=True, limit=True, cancel="running", broadcast=True)


@pytest.fixture
def engine() -> ByHand:
    made = ByHand()
    made.open(Shares("group"))
    return made


@pytest.fixture
def lane(engine: ByHand) -> Lane:
    """One that is ready."""
    made = engine.start(3, "Process-3")
    assert list(made.read()) == [WorkerReady(3)]
    engine.wait(0)
    return made


def send(engine: ByHand, lane: Lane, items: int = 3) -> Launch:
    lane.send(chunk(items))
    return engine.next()


def told(engine: ByHand) -> list[WorkerEvent]:
    return [event for lane in engine.wait(0) for event in lane.read()]


# --- one lane ---------------------------------------------------------------------------------------------------------


def test_it_is_ready_at_once(engine: ByHand) -> None:
    lane = engine.start(3, "Process-3")
    assert engine.wait(0) == [lane]
    assert list(lane.read()) == [WorkerReady(3)]
    assert list(lane.read()) == []
    assert (lane.pid, lane.address, lane.has_begun(), lane.look()) == (None, None, False, [])


def test_what_crosses(engine: ByHand, lane: Lane) -> None:
    assignment = send(engine, lane).assignment
    assert assignment.function.name == "targets.doubler"
    assert len(assignment.items) == 3
    assert assignment.number == lane.number
    assert (assignment.shared, assignment.closed, assignment.process) == ((), (), "")


def test_an_answer(engine: ByHand, lane: Lane) -> None:
    send(engine, lane).tell(ANSWERS.of([2, 4], Returned(pickled([6]))))  # type: ignore[arg-type]
    assert told(engine) == [
        Recorded(3, m.Plain([2, 4])),
        Recorded(3, [m.Value(pickled([6]))]),
        ChunkEnded(3, 0.25),
    ]
    assert (lane.pid, lane.address, lane.number) == (5, "there", 0)
    assert engine.said == [("done with", 1)]


def test_its_address_goes_with_its_pid(engine: ByHand, lane: Lane) -> None:
    for answers in (Answers(5, "there"), Answers(6, "elsewhere")):
        send(engine, lane).tell(answers.of([2, 4, 6]))
        told(engine)
        assert (lane.pid, lane.address) == (answers.pid, answers.host)
    lane.set_place(7, "tcp://10.0.0.1:1")
    send(engine, lane).tell(ANSWERS.of([2, 4, 6]))
    told(engine)
    assert (lane.pid, lane.address) == (5, "tcp://10.0.0.1:1")  # the place that the engine has told, as users know it


def test_the_next_chunk_may_be_sent_when_the_end_of_one_is_told(engine: ByHand, lane: Lane) -> None:
    send(engine, lane).tell(ANSWERS.of([2, 4, 6]))
    for event in lane.read():
        if isinstance(event, ChunkEnded):
            lane.send(chunk())
    assert lane.number == 2
    assert engine.next(), engine.next().assignment.number == 2


def test_failures_and_results_that_are_not_plain_come_together(engine: ByHand, lane: Lane) -> None:
    value, failure = Returned(pickled([1])), m.Failure(b"why")  # type: ignore[arg-type]
    send(engine, lane).tell(ANSWERS.of(value, failure, [1]))
    assert told(engine)[:2] == [Recorded(3, [m.Value(pickled([1])), failure]), Recorded(3, m.Plain([1]))]


def test_an_item_whose_process_is_gone(engine: ByHand, lane: Lane) -> None:
    lost = Lost(0, -9, 1, Remains(cause="a reason"))
    send(engine, lane).tell(ANSWERS.of([2], Gone(77, lost), [6]))
    pids: list[int | None] = []
    events: list[WorkerEvent] = []
    for event in lane.read():
        events.append(event)
        pids.append(lane.pid)
    assert events == [Recorded(3, m.Plain([2])), Recorded(3, [lost]), Recorded(3, m.Plain([6])), ChunkEnded(3, 0.25)]
    assert pids == [5, 77, 5, 5]


def test_a_chunk_that_was_refused_may_have_begun(engine: ByHand, lane: Lane) -> None:
    send(engine, lane).tell(ANSWERS.of(refused="it was begun before"))
    [died] = told(engine)
    assert isinstance(died, WorkerDied)
    assert (died.begun, died.exitcode) == (3, None)
    assert died.remains.cause == "it was begun before; of its chunk of 3 items it is not known which had begun"


def test_where_nothing_can_be_begun_any_more(engine: ByHand, lane: Lane) -> None:
    send(engine, lane).tell(ANSWERS.of([2], broken="no process starts"))
    done, died = told(engine)
    assert done == Recorded(3, m.Plain([2]))
    assert isinstance(died, WorkerDied)
    assert died.begun == 0
    assert "no process starts" in died.remains.cause


@pytest.mark.parametrize(("begun", "items", "said"), [(True, 1, 1), (True, 3, 3), (False, 3, 0)])
def test_a_chunk_that_is_lost(engine: ByHand, lane: Lane, begun: bool, items: int, said: int) -> None:
    send(engine, lane, items).tell(Died("why", begun=begun))
    [died] = told(engine)
    assert isinstance(died, WorkerDied)
    assert died.begun == said
    assert died.remains.cause.startswith("why")
    assert ("not known which" in died.remains.cause) == (said > 1)
    assert engine.said == [("done with", 1)]


def test_a_chunk_that_comes_back_untouched(engine: ByHand, lane: Lane) -> None:
    launch = send(engine, lane)
    lane.withdraw()
    launch.tell(Untouched())
    assert told(engine) == [ChunkEnded(3, 0.0)]
    assert lane.number == 0
    assert engine.said == [("take back", 1), ("done with", 1)]


def test_news_of_an_earlier_chunk_are_of_no_interest(engine: ByHand, lane: Lane) -> None:
    first = send(engine, lane)
    first.tell(ANSWERS.of([2, 4, 6]))
    told(engine)
    second = send(engine, lane)
    first.tell(Died("late", begun=True))
    first.tell(Watched(Progress(3, None), 1.0, stopped=True))
    first.tell(Untouched())
    assert told(engine) == []
    assert not lane.has_begun()
    second.tell(ANSWERS.of([2, 4, 6]))
    assert told(engine)[-1] == ChunkEnded(3, 0.25)


def test_news_after_its_end_are_of_no_interest(engine: ByHand, lane: Lane) -> None:
    launch = send(engine, lane)
    launch.tell(Died("why", begun=True))
    launch.tell(ANSWERS.of([2, 4, 6]))
    assert [type(event) for event in told(engine)] == [WorkerDied]
    launch.tell(Died("again", begun=True))
    assert told(engine) == []


def test_how_far_it_is(engine: ByHand, lane: Lane) -> None:
    launch = send(engine, lane)
    assert lane.look() == []
    assert engine.said == [("ask", 1)]
    assert not lane.has_begun()
    launch.tell(Watched(Progress(2, 1.5), 10.0, stopped=False))
    assert told(engine) == [Looked(3, 2, 8.5, stack=False)]
    assert lane.has_begun()
    launch.tell(Watched(Progress(2, None), 10.0, stopped=False))
    assert told(engine) == [Looked(3, 2, None, stack=False)]


def test_nobody_is_asked_about_no_chunk(engine: ByHand, lane: Lane) -> None:
    assert lane.look() == []
    lane.withdraw()
    assert engine.said == []


def test_what_was_seen_before_it_was_withdrawn_does_not_say_what_will_not_begin(engine: ByHand, lane: Lane) -> None:
    launch = send(engine, lane)
    lane.withdraw()
    launch.tell(Watched(Progress(1, None), 10.0, stopped=False))
    assert told(engine) == []
    assert lane.has_begun()
    launch.tell(Watched(Progress(2, None), 10.0, stopped=True))
    assert told(engine) == [Looked(3, 2, None, stack=False)]


def test_it_is_withdrawn_once_for_each_chunk(engine: ByHand, lane: Lane) -> None:
    launch = send(engine, lane)
    lane.withdraw()
    lane.withdraw()
    launch.tell(ANSWERS.of([2, 4, 6]))
    told(engine)
    send(engine, lane)
    assert not lane.withdrawn
    lane.withdraw()
    assert [what for what, _ in engine.said].count("take back") == 2


def test_there_is_no_room_for_a_chunk_on_its_way(engine: ByHand, lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Chunk, number: int) -> Assignment:
        raise OSError("too many open files")

    monkeypatch.setattr(engine, "assign", refuse)
    lane.send(chunk())
    [died] = told(engine)
    assert isinstance(died, WorkerDied)
    assert died.begun == 0
    assert "too many open files" in died.remains.cause


def test_there_is_no_room_for_a_result(engine: ByHand, lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(carried: object) -> object:
        raise MemoryError("no room")

    monkeypatch.setattr(_lanes, "unpack", refuse)
    send(engine, lane).tell(ANSWERS.of(Returned(b"")))
    recorded, ended = told(engine)
    assert isinstance(recorded, Recorded)
    assert not isinstance(recorded.outcomes, m.Plain)
    assert [type(one) for one in recorded.outcomes] == [m.Failure]
    assert isinstance(ended, ChunkEnded)


def test_an_idle_lane_that_is_asked_to_end(engine: ByHand, lane: Lane) -> None:
    lane.ask()
    lane.ask()
    assert told(engine) == [WorkerDied(3, 0, 0, Remains(cause=""))]
    assert told(engine) == []
    assert lane not in engine._lanes


@pytest.mark.parametrize(("kill", "exitcode"), [(True, -signal.SIGTERM), (False, None)])
def test_one_that_is_terminated_with_a_chunk_under_way(kill: bool, exitcode: int | None) -> None:
    engine = ByHand(Capabilities(kill=kill))
    engine.open(Shares("group"))
    lane = engine.start(3, "Process-3")
    told(engine)
    launch = send(engine, lane)
    lane.terminate()
    lane.kill()
    launch.tell(ANSWERS.of([2, 4, 6]))  # too late or not: what is known by then is told first
    events = told(engine)
    assert [type(one) for one in events] == [Recorded, ChunkEnded, WorkerDied]
    lane = engine.start(4, "Process-4")
    told(engine)
    send(engine, lane)
    lane.terminate()
    [died] = told(engine)
    assert isinstance(died, WorkerDied)
    assert (died.exitcode, died.begun) == (exitcode, 3)


def test_one_that_is_killed_again_says_so_again(engine: ByHand, lane: Lane) -> None:
    """A group that gives up has thrown away what it was to read, and waits for each to end."""
    lane.terminate()
    assert engine.wait(0) == [lane]
    lane.kill()
    assert engine.wait(0) == [lane]


def test_one_that_is_ended_before_it_was_ready(engine: ByHand) -> None:
    engine.start(3, "Process-3").kill()
    assert [type(event) for event in told(engine)] == [WorkerReady, WorkerDied]


# --- the engine -------------------------------------------------------------------------------------------------------


def test_several_lanes_are_told_of_together(engine: ByHand) -> None:
    lanes = [engine.start(slot, f"Process-{slot}") for slot in range(100)]
    lanes[0].tell(1, Untouched())
    engine.wake()
    assert engine.wait(None) == lanes
    assert engine.wait(0) == ()


def test_it_can_be_woken_from_any_thread(engine: ByHand) -> None:
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(engine.wait, 20)
        engine.wake()
        assert waiting.result() == []


def test_it_serves_one_group_at_a_time(engine: ByHand) -> None:
    with pytest.raises(RuntimeError, match="<ByHand> serves another group"):
        engine.open(Shares("other"))
    first = engine._id
    engine.close()
    engine.open(Shares("other"))
    assert engine._id != first


def test_where_nothing_can_be_launched_no_lane_starts(engine: ByHand) -> None:
    engine.refuses = "it is gone"
    with pytest.raises(OSError, match="it is gone"):
        engine.start(1, "Process-1")


def test_what_is_closed_is_told_with_later_chunks(engine: ByHand) -> None:
    shares = Shares("group")
    engine.close()
    engine.open(shares)
    lane = engine.start(1, "Process-1")
    shared = shares.add([1], pickled([1]))
    assert send(engine, lane).assignment.closed == ()
    [key] = engine._given
    shared.close()
    assert send(engine, lane).assignment.closed == (key,)
    assert not engine._given
    engine.close()
    engine.open(Shares("other"))
    assert send(engine, engine.start(1, "Process-1")).assignment.closed == ()


@pytest.mark.parametrize("method", ["launch"])
def test_what_a_subclass_forgot(engine: ByHand, lane: Lane, method: str) -> None:
    from procorch._lanes import LaneEngine

    with pytest.raises(NotImplementedError):
        getattr(LaneEngine, method)(engine, lane, None)


# --- a group over them ------------------------------------------------------------------------------------------------


@pytest.fixture
def by_hand() -> Iterator[ByHand]:
    engine = ByHand(ANY)
    yield engine
    _far.forget(engine._id)


def lose(launch: Launch, outcome: Lost | TimedOut) -> None:
    """Answer that each item's process is gone."""
    count = len(launch.assignment.items) if not isinstance(launch.assignment.items, m.Pack) else 1
    launch.tell(ANSWERS.of(*[Gone(77, outcome)] * count))


LOST = Lost(0, -9, 1, Remains(cause="a reason"))


def test_a_map(by_hand: ByHand) -> None:
    with by_hand.answered() as seen, ProcessGroup(3, engine=by_hand) as group:
        assert group.map(targets.doubler, range(100)) == [2 * number for number in range(100)]
        assert group.map(targets.identity, [[1], "a", None]) == [[1], "a", None]
    assert seen
    assert by_hand.most <= 3


@pytest.mark.parametrize("buffersize", [1, 2, 5])
@pytest.mark.parametrize("ordered", [True, False])
def test_the_bound_of_a_stream_is_exact(by_hand: ByHand, buffersize: int, ordered: bool) -> None:
    taken: list[int] = []
    with by_hand.answered(), ProcessGroup(2, engine=by_hand) as group:
        stream = group.imap(targets.doubler, targets.count_from(0, taken), buffersize=buffersize, ordered=ordered)
        for given, _ in enumerate(stream):
            assert len(taken) - given <= buffersize
            if given == 30:
                break
        stream.close()


@pytest.mark.parametrize("most", [1, 2, 7])
def test_no_more_than_max_workers_are_under_way(by_hand: ByHand, most: int) -> None:
    with ProcessGroup(most, engine=by_hand) as group:
        futures = [group.submit(targets.doubler, number) for number in range(20)]
        first = [by_hand.next() for _ in range(most)]
        assert by_hand.most == most
        for launch in first:
            launch.do()
        with by_hand.answered():
            assert [future.result() for future in futures] == [2 * number for number in range(20)]
    assert by_hand.most == most


def test_an_item_whose_process_has_died_is_tried_again(by_hand: ByHand) -> None:
    with ProcessGroup(1, engine=by_hand) as group:
        future = group.options(retries=2).submit(targets.doubler, 4)
        lose(by_hand.next(), LOST)
        lose(by_hand.next(), LOST)
        by_hand.next().do()
        assert future.result() == 8
        assert group.stats().retried == 2


def test_an_item_whose_process_has_died_is_not_tried_again_unasked(by_hand: ByHand) -> None:
    with ProcessGroup(1, engine=by_hand) as group:
        future = group.submit(targets.doubler, 4)
        lose(by_hand.next(), LOST)
        with pytest.raises(WorkerCrashed) as caught:
            future.result()
        assert (caught.value.attempts, caught.value.exitcode, caught.value.pid) == (1, -9, 77)
        assert caught.value.cause == "a reason"
        assert by_hand.launches.empty()


def test_a_limit_that_the_engine_keeps(by_hand: ByHand) -> None:
    with ProcessGroup(1, engine=by_hand) as group:
        future = group.options(timeout=5).submit(targets.doubler, 4)
        launch = by_hand.next()
        assert launch.assignment.limit == 5
        lose(launch, TimedOut(0, 5.0, 1, Remains(stack="here")))
        with pytest.raises(TaskTimeout) as caught:
            future.result()
        assert (caught.value.limit, caught.value.attempts, caught.value.stack) == (5.0, 1, "here")


def test_what_was_never_begun_is_done_by_another_lane(by_hand: ByHand) -> None:
    with ProcessGroup(1, engine=by_hand) as group:
        future = group.submit(targets.doubler, 4)
        by_hand.next().tell(Died("it left", begun=False))
        by_hand.next().do()
        assert future.result() == 8


def test_what_may_have_begun_is_not(by_hand: ByHand) -> None:
    with ProcessGroup(1, engine=by_hand) as group:
        future = group.submit(targets.doubler, 4)
        by_hand.next().tell(Died("it left", begun=True))
        with pytest.raises(WorkerCrashed, match="it left"):
            future.result()
        assert by_hand.launches.empty()


def test_a_waiting_call_can_be_cancelled_everywhere() -> None:
    for cancel in ("waiting", "running"):
        engine = ByHand(Capabilities(cancel=cancel))
        with ProcessGroup(1, engine=engine) as group:
            first, second = (group.submit(targets.doubler, number) for number in (1, 2))
            launch = engine.next()
            assert second.cancel()
            assert second.cancelled()
            launch.do()
            assert first.result() == 2
        assert engine.launches.empty()


def test_a_call_that_the_engine_has_can_be_cancelled_where_it_can_stop_that(by_hand: ByHand) -> None:
    with ProcessGroup(1, engine=by_hand) as group:
        future = group.submit(targets.doubler, 4)
        by_hand.next()
        assert future.cancel()
        assert future.cancelled()
        wait_until(lambda: ("take back", 1) in by_hand.said)
        other = group.submit(targets.doubler, 5)
        by_hand.next().do()
        assert other.result() == 10


def test_a_call_that_the_engine_has_is_left_alone_where_it_cannot_stop_that() -> None:
    engine = ByHand(Capabilities(cancel="waiting"))
    with ProcessGroup(1, engine=engine) as group:
        future = group.submit(targets.doubler, 4)
        launch = engine.next()
        assert not future.cancel()
        assert engine.said == []
        launch.do()
        assert future.result() == 8


def test_a_group_that_is_terminated_does_not_wait_for_what_runs_elsewhere(by_hand: ByHand) -> None:
    group = ProcessGroup(2, engine=by_hand)
    futures = [group.submit(targets.doubler, number) for number in range(5)]
    launches = [by_hand.next() for _ in range(2)]
    group.terminate()
    assert group.join(20)
    assert all(future.cancelled() for future in futures)
    launches[0].do()  # nobody listens
    with ProcessGroup(1, engine=by_hand) as other, by_hand.answered():
        assert other.submit(targets.doubler, 1).result() == 2


def test_an_engine_serves_the_second_group_when_the_first_has_ended(by_hand: ByHand) -> None:
    with by_hand.answered(), ProcessGroup(1, engine=by_hand) as first, ProcessGroup(1, engine=by_hand) as second:
        assert first.submit(targets.doubler, 1).result() == 2
        with pytest.raises(RuntimeError, match="serves another group"):
            second.submit(targets.doubler, 1)
        first.close()
        assert first.join(20)
        assert second.submit(targets.doubler, 2).result() == 4


def test_a_place_that_takes_nothing_any_more_ends_the_group(by_hand: ByHand) -> None:
    with ProcessGroup(1, engine=by_hand) as group:
        future = group.submit(targets.doubler, 1)
        launch = by_hand.next()
        by_hand.refuses = "it is gone"
        launch.tell(Died("it is gone", begun=True))
        with pytest.raises(WorkerCrashed, match="it is gone"):
            future.result()
        with pytest.raises(Exception, match="it is gone"):
            group.submit(targets.doubler, 1).result()


def test_an_item_that_is_alone_with_a_worker_counts_as_begun(by_hand: ByHand) -> None:
    """Nobody would withdraw it: who is told that it will not begin might give it to another."""
    with ProcessGroup(1, engine=by_hand) as group:
        future = group.submit(targets.doubler, 4)
        launch = by_hand.next()
        [job] = group._supervisor._hands.jobs.values()
        assert group._supervisor.how_far(job) == (1, None)
        launch.do()
        assert future.result() == 8


# --- room -------------------------------------------------------------------------------------------------------------


def test_there_may_be_more_than_run_at_once() -> None:
    engine = ByHand(room=Room(2, 4))
    with ProcessGroup(engine=engine) as group:
        futures = [group.submit(targets.doubler, number) for number in range(40)]
        launches = [engine.next() for _ in range(2)]
        assert engine.launches.empty()  # before anything is known of the work
        for launch in launches:
            launch.do()
        with engine.answered():
            assert [future.result() for future in futures] == [2 * number for number in range(40)]
    assert 2 < engine.most <= 4


def test_a_number_that_the_user_has_chosen_is_one_of_items_at_once() -> None:
    engine = ByHand(room=Room(4, 8))
    with engine.answered(), ProcessGroup(3, engine=engine) as group:
        assert group.map(targets.doubler, range(20), chunksize=1) == list(range(0, 40, 2))
    assert engine.most <= 3


def test_no_room_yet() -> None:
    engine = ByHand(room=Room(0, 0))
    with ProcessGroup(engine=engine) as group:
        futures = [group.submit(targets.doubler, number) for number in range(4)]
        assert engine.launches.empty()
        assert not group.processes
        engine.grow(1, 2)
        launches = [engine.next()]
        engine.grow(2, 4)
        launches.append(engine.next())
        for launch in launches:
            launch.do()
        with engine.answered():
            assert [future.result() for future in futures] == [0, 2, 4, 6]


def test_where_the_room_is_not_known_the_number_must_be_given() -> None:
    engine = ByHand()
    with pytest.raises(ValueError, match="max_workers must be given: <ByHand> does not tell"):
        ProcessGroup(engine=engine)
    with engine.answered(), ProcessGroup(2, engine=engine) as group:
        assert group.map(targets.doubler, range(50)) == list(range(0, 100, 2))
        assert all(info.address for info in group.processes)
    assert engine.most <= 2


def test_an_engine_that_fails_ends_its_group_and_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    told = list[threading.ExceptHookArgs]()
    monkeypatch.setattr(threading, "excepthook", told.append)
    engine, usual = ByHand(), ByHand.wait

    def fail(timeout: float | None) -> NoReturn:
        monkeypatch.setattr(engine, "wait", partial(usual, engine))
        raise ZeroDivisionError

    group = ProcessGroup(2, engine=engine)
    running = group.submit(targets.doubler, 1)
    engine.next()
    monkeypatch.setattr(engine, "wait", fail)
    waiting = [group.submit(targets.doubler, number) for number in range(10)]
    for future in (running, *waiting):
        with pytest.raises(GroupClosed, match="failed inside; please report the traceback that its thread printed"):
            future.result(20)
    with pytest.raises(GroupClosed, match="failed inside"):
        group.submit(targets.doubler, 1)
    group.terminate()
    group.join()
    assert [one.exc_type for one in told] == [ZeroDivisionError]


# --- what an engine does not keep -------------------------------------------------------------------------------------

REFUSED: dict[str, dict[str, Any]] = {
    "mp_context": {"mp_context": "spawn"},
    "initializer": {"initializer": targets.doubler, "initargs": (1,)},
    "finalizer": {"finalizer": targets.doubler, "finalargs": (1,)},
    "max_memory_per_child": {"max_memory_per_child": 1 << 30},
    "memory_limit": {"memory_limit": 1 << 30},
    "threads_per_worker": {"threads_per_worker": 1},
    "max_tasks_per_child": {"max_tasks_per_child": 3},
}


@pytest.mark.parametrize("option", REFUSED)
def test_an_option_that_it_cannot_keep_is_refused_by_name(option: str) -> None:
    with pytest.raises(NotSupported) as caught:
        ProcessGroup(engine=ByHand(), **REFUSED[option])
    error = caught.value
    assert (error.option, error.engine) == (option, "<ByHand>")
    assert str(error).startswith(f"{option} is not to be had on <ByHand>, which ")
    assert isinstance(error, TypeError)


def test_a_limit_is_refused_where_the_options_are_given() -> None:
    with ProcessGroup(2, engine=ByHand()) as group:
        with pytest.raises(NotSupported, match=r"^options\(timeout=\) is not to be had on <ByHand>, which cannot stop"):
            group.options(timeout=1)
        group.options(retries=1)  # without that one, it works


def test_sharing_is_refused_at_the_call() -> None:
    with ProcessGroup(2, engine=ByHand()) as group, pytest.raises(NotSupported, match=r"^share\(\) .*<ByHand>"):
        group.share([1])


@pytest.mark.parametrize("what", ["terminate", "kill"])
def test_ending_a_process_is_refused_where_nobody_can(what: str) -> None:
    engine = ByHand()
    with ProcessGroup(2, engine=engine) as group:
        handle = group.start(targets.doubler, 4)
        launch = engine.next()
        with pytest.raises(NotSupported) as caught:
            getattr(handle, what)()
        assert caught.value.option == f"ProcessHandle.{what}()"
        launch.do()
        assert handle.result() == 8


def test_what_is_no_engine() -> None:
    with pytest.raises(TypeError, match=r"must be one of procorch\.engines or a concurrent.futures.Executor"):
        ProcessGroup(engine=threading)  # type: ignore[arg-type]


def test_work_that_was_dropped_says_that_the_group_is_closed(by_hand: ByHand) -> None:
    group = ProcessGroup(1, engine=by_hand)
    group.terminate()
    with pytest.raises(GroupClosed):
        group.submit(targets.doubler, 1)
