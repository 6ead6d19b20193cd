"""Unit: pickles whose large buffers go beside them, and what becomes of descriptors."""

from __future__ import annotations

import errno
import gc
import os
import pickle
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from procorch import NotPicklable, Task, _buffers, _memory, _parcel, _passing, _spares, _values
from procorch import _messages as m
from procorch._buffers import loads
from procorch._channel import Channel
from procorch._outcome import pack as dumps
from procorch._parcel import Parcel
from procorch._pickles import Pickles
from procorch._sender import Sender
from procorch._wire import FrameReader

np = pytest.importorskip("numpy")

TASK = Task("shop.pack", "7")
LEAST = 1 << 12
LARGE = bytes(range(256)) * 512


@pytest.fixture(autouse=True)
def _low_threshold(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(_buffers, "LEAST", LEAST)
    _spares.keep(monkeypatch)
    yield
    _spares.leave(monkeypatch)
    gc.collect()


def there_and_back(value: Any) -> Any:
    """Pickle and rebuild; the value must have gone by a file."""
    packed = dumps(value)
    assert isinstance(packed, Parcel)
    return loads(packed)


def count_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


# --- what arrives -----------------------------------------------------------------------------------------------------


def test_small_objects_are_plain_pickles() -> None:
    for value in (1, "text", b"x" * 100, [1, (2,)], np.arange(10)):
        assert dumps(value) == pickle.dumps(value, 5)


def test_what_goes_by_value_may_have_a_large_neighbour() -> None:
    pytest.importorskip("cloudpickle")
    value = [np.arange(5000.0), lambda: 7]
    for packed in (dumps(value), Pickles(have_main=False).item(value, lambda: TASK)):
        assert not isinstance(packed, NotPicklable)
        array, function = loads(packed)
        assert (array == value[0]).all()
        assert function() == 7


def test_a_large_neighbour_changes_nothing_about_what_cannot_cross(monkeypatch: pytest.MonkeyPatch) -> None:
    before = count_descriptors()
    monkeypatch.setattr(_values, "cloudpickle", lambda: None)
    value = [np.arange(5000.0), lambda: 7]
    with pytest.raises(Exception, match=r"Can't (pickle|get local object)"):
        dumps(value)
    assert isinstance(Pickles(have_main=False).item(value, lambda: TASK), NotPicklable)
    assert count_descriptors() == before


@pytest.mark.parametrize(
    "array",
    [
        np.arange(5000.0),
        np.arange(5000).reshape(50, 100),
        np.asfortranarray(np.arange(5000).reshape(50, 100)),
        np.arange(50_000)[::2],
        np.arange(50_000).reshape(100, 500)[:, ::-1],
        np.array([(1, 2.0)] * 2000, dtype=[("a", "i4"), ("b", "f8")]),
        np.array(["text", None, 7] * 20_000, dtype=object),
        np.arange(5000, dtype=">i8"),
        np.arange(20_000).astype("M8[s]"),
    ],
    ids=["vector", "c", "fortran", "strided", "reversed", "structured", "object", "big-endian", "times"],
)
def test_arrays_arrive_as_they_were(array: Any) -> None:
    arrived = there_and_back(array)
    np.testing.assert_array_equal(arrived, array)
    assert (arrived.dtype, arrived.shape) == (array.dtype, array.shape)
    assert arrived.flags.writeable
    assert arrived.flags.f_contiguous == array.flags.f_contiguous or not array.flags.contiguous
    arrived[...] = arrived[::-1].copy()


@pytest.mark.parametrize("array", [np.zeros(0), np.array(3.5), np.zeros((3, 0, 5))], ids=["empty", "0-d", "no items"])
def test_arrays_without_much_data_beside_large_ones(array: Any) -> None:
    first, second = there_and_back([array, np.arange(5000)])
    np.testing.assert_array_equal(first, array)
    assert first.shape == array.shape
    assert second.sum() == np.arange(5000).sum()


def test_a_read_only_array_arrives_read_only() -> None:
    array = np.arange(5000)
    array.flags.writeable = False
    assert not there_and_back(array).flags.writeable


def test_the_same_array_twice_is_one_object() -> None:
    array = np.arange(5000)
    first, nested = there_and_back((array, {"again": [array]}))
    assert nested["again"][0] is first


def test_arrays_that_share_their_memory_arrive_apart_as_by_pickle() -> None:
    array = np.arange(5000)
    whole, part = there_and_back([array, array[:4000]])
    whole[:] = 0
    assert part.sum() == np.arange(4000).sum()


def test_small_and_large_buffers_in_one() -> None:
    arrays = [np.arange(size) for size in (3, 5000, 0, 777, 10, 2000)]
    packed = dumps(arrays)
    assert isinstance(packed, Parcel)
    spans, _ = _buffers.spans_of(packed.text)
    # The large ones, and nothing else, each at the beginning of a line.
    assert [end - begin for begin, end in spans] == [8 * 5000, 8 * 777, 8 * 2000]
    assert all(begin % 64 == 0 for begin, _ in spans)
    for arrived, array in zip(loads(packed), arrays, strict=True):
        np.testing.assert_array_equal(arrived, array)


@pytest.mark.parametrize("value", [LARGE, bytearray(LARGE), [LARGE, bytearray(LARGE)], {"text": "ü" * 16 * LEAST}])
def test_what_pickle_keeps_in_band_arrives_as_what_it_was(value: Any) -> None:
    arrived = there_and_back(value)
    assert arrived == value
    assert type(arrived) is type(value)


def test_a_copy_is_sent() -> None:
    for value in (np.arange(5000), bytearray(LARGE)):
        packed = dumps(value)
        before = bytes(value)
        value[:] = value[::-1]
        assert bytes(loads(packed)) == before


def test_each_time_it_is_loaded_it_is_a_copy_of_its_own() -> None:
    packed = dumps(np.arange(5000))
    first, second = loads(packed), loads(packed)
    first[:] = 0
    assert second.sum() == np.arange(5000).sum()


def test_pandas_and_arrow() -> None:
    pandas = pytest.importorskip("pandas")
    arrow = pytest.importorskip("pyarrow")
    frame = pandas.DataFrame({"a": np.arange(5000.0), "b": np.arange(5000), "c": ["text"] * 5000})
    arrived = there_and_back(frame)
    pandas.testing.assert_frame_equal(arrived, frame)
    arrived.loc[0, "a"] = 5.0
    table = arrow.table({"a": np.arange(5000), "b": ["text"] * 5000})
    assert there_and_back({"table": table})["table"].equals(table)


def test_an_object_is_not_asked_twice_without_need() -> None:
    asked = []

    class Asked:
        def __reduce__(self) -> Any:
            asked.append(1)
            return int, ()

    dumps([Asked()] * 3)
    assert len(asked) == 1


# --- no room ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOMEM])
@pytest.mark.parametrize("name", ["memfd_create", "pwrite"])
def test_without_room_for_a_file_it_goes_in_band(monkeypatch: pytest.MonkeyPatch, name: str, number: int) -> None:
    def refuse(*args: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, name, refuse)
    for value in (np.arange(5000), LARGE, [np.arange(5000), 1]):
        packed = dumps(value)
        assert isinstance(packed, bytes)
        assert str(loads(packed)) == str(value)


def test_without_such_files_it_goes_in_band(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create")
    assert isinstance(dumps(np.arange(5000)), bytes)


def test_descriptors_on_their_way_are_bounded() -> None:
    kept = [dumps(np.arange(5000)) for _ in range(_memory.most() + 10)]
    assert _memory.most() - 2 <= sum(isinstance(one, Parcel) for one in kept) <= _memory.most()  # two may be spare
    assert _memory.is_crowded()
    assert all(loads(one).sum() == 12497500 for one in kept)
    kept.clear()
    assert not _memory.is_crowded()


def test_mappings_that_hold_a_descriptor_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_memory, "most", lambda: 5)
    before = count_descriptors()
    packed = dumps(np.arange(5000))
    arrays = [loads(packed) for _ in range(50)]
    assert count_descriptors() <= before + 1 + 5 + 2  # two are spare
    assert len({array.ctypes.data for array in arrays}) == 50
    arrays[7][:] = 0
    assert all(array.sum() == 12497500 for array in arrays[8:])


def test_without_room_for_a_mapping_there_is_a_memory_error(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = dumps(np.arange(5000))
    monkeypatch.setattr(_memory, "_map", lambda fd, size: os.close(-1))
    assert loads(packed).sum() == 12497500  # by reading
    monkeypatch.setattr("procorch._memory.mmap.mmap", lambda *args, **options: os.close(-1))
    with pytest.raises(MemoryError, match="no room for"):
        loads(packed)


def test_a_forked_copy_lets_go_of_what_is_on_its_way() -> None:
    packed = dumps(np.arange(5000))
    assert isinstance(packed, Parcel)
    assert packed.descriptor is not None
    pid = os.fork()
    if not pid:
        os._exit(0 if packed.descriptor.fd == -1 else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert loads(packed).sum() == 12497500


# --- files that are written again ---


def inode(packed: bytes | Parcel) -> int:
    assert isinstance(packed, Parcel)
    assert packed.descriptor is not None
    return os.fstat(packed.descriptor.fd).st_ino


def test_a_file_is_written_again_once_nobody_has_it() -> None:
    packed = dumps(np.full(5000, 1))
    first = inode(packed)
    array = loads(packed)
    del packed
    second = dumps(np.full(5000, 2))
    assert inode(second) != first  # the array still lies in it
    del array
    third = dumps(np.full(4000, 3))
    assert inode(third) == first
    assert os.stat(f"/proc/self/fd/{third.descriptor.fd}").st_size < 8 * 4100  # type: ignore[union-attr]  # noqa: PTH116
    assert (loads(second)[0], loads(third)[0]) == (2, 3)


def test_a_file_is_in_use_as_long_as_a_forked_process_maps_it() -> None:
    packed = dumps(np.full(5000, 1))
    first = inode(packed)
    array = loads(packed)
    reads, writes = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(writes)
        os.read(reads, 1)
        os._exit(int(array[4999]))
    del packed, array
    others = [dumps(np.full(5000, 7))]
    assert inode(others[0]) != first
    os.close(writes)
    os.close(reads)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
    assert inode(dumps(np.full(5000, 8))) == first


def test_only_some_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_spares, "_MOST_BYTES", 100_000)
    before = count_descriptors()
    kept: list[Any] = [dumps(np.arange(5000)) for _ in range(10)]
    kept.clear()
    assert count_descriptors() == before + 2
    kept = [dumps(np.arange(50_000))]
    kept.clear()
    assert count_descriptors() <= before + 2
    assert all(size <= 100_000 for size, _ in _spares._spares)


def test_none_is_kept_when_nobody_looks_after_them(monkeypatch: pytest.MonkeyPatch) -> None:
    before = count_descriptors()
    other = object()
    _spares.keep(other)
    _spares.leave(monkeypatch)
    dumps(np.arange(5000))
    assert _spares.are_there()
    _spares.leave(other)
    dumps(np.arange(5000))
    assert not _spares.are_there()
    assert count_descriptors() == before


def test_a_file_that_is_written_again_is_to_be_given_back_afterwards() -> None:
    """Who waits looks once whether there is any: one that finds none just then would sleep on with it."""
    there_and_back(LARGE)
    spare = _spares.take()
    assert spare is not None
    assert _spares.are_there()
    _spares.drop()
    assert not _spares.are_there()


class Shrinking:
    """Gives its large buffer the first time only."""

    def __init__(self) -> None:
        self.buffers = [LARGE]

    def __reduce__(self) -> Any:
        return bytes, (pickle.PickleBuffer(self.buffers.pop() if self.buffers else b"small"),)


def test_an_object_may_be_small_when_it_is_pickled_again() -> None:
    assert there_and_back(Shrinking()) == b"small"


class Counting:
    """Counts how often it is pickled."""

    def __init__(self) -> None:
        self.count = 0

    def __reduce__(self) -> Any:
        self.count += 1
        return bytes, (pickle.PickleBuffer(LARGE),)


def test_an_object_is_pickled_once_more_if_it_turns_out_to_be_large() -> None:
    counting = Counting()
    assert there_and_back(counting) == LARGE
    assert counting.count == 2


def test_without_a_second_opening_it_works_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> int:
        raise FileNotFoundError

    monkeypatch.setattr(os, "open", refuse)
    assert loads(dumps(np.arange(5000))).sum() == 12497500
    assert not _spares.are_there()


# --- across a socket --------------------------------------------------------------------------------------------------


class Ends:
    """Both ends of a channel; the worker's with a sender."""

    def __init__(self) -> None:
        self.channel = Channel()
        self.worker = socket.socket(fileno=os.dup(self.channel.worker_fds[0]))
        self.sender = Sender(self.worker)
        self.reader = FrameReader()

    def heard(self) -> list[Any]:
        """What has come to the worker's end."""
        self.worker.setblocking(False)
        heard: list[Any] = []
        try:
            while count := _passing.receive(self.worker, self.reader):
                heard += self.reader.filled(count)
        except BlockingIOError:
            return heard
        return heard


@pytest.fixture
def ends() -> Iterator[Ends]:
    ends = Ends()
    yield ends
    ends.channel.close()
    ends.worker.close()
    ends.reader.descriptors.clear()


def parcel(number: int) -> Parcel:
    packed = dumps(np.full(5000, number))
    assert isinstance(packed, Parcel)
    return packed


def numbers(payloads: Any) -> list[int]:
    return [int(loads(one)[0]) if isinstance(one, Parcel) else pickle.loads(one) for one in payloads]


def test_parcels_cross_among_other_items_in_order(ends: Ends) -> None:
    plain = pickle.dumps(-1, 5)
    items: list[m.Payload] = [plain, parcel(1), parcel(2), plain, parcel(3)]
    assert ends.channel.send(m.Run(1, 2, m.Style.ONE, False, items))
    ends.channel.send(m.Run(2, 2, m.Style.ONE, False, [parcel(4), plain]))
    first, second = ends.heard()
    assert numbers(first.items) == [-1, 1, 2, -1, 3]
    assert numbers(second.items) == [4, -1]
    assert numbers(items) == [-1, 1, 2, -1, 3]  # still there, for another try


def test_parcels_come_back_in_order(ends: Ends) -> None:
    for position in range(3):
        ends.sender.send(m.Large(1, position, m.Kind.VALUE, parcel(position)))
    heard: list[Any] = []
    while (messages := ends.channel.receive()) is not None:
        heard += messages
    assert numbers(message.payload for message in heard) == [0, 1, 2]


def test_shared_objects_cross(ends: Ends) -> None:
    ends.channel.send(m.Share(7, "gruppe ü", parcel(5)))
    ends.channel.send(m.Share(8, "", pickle.dumps(6)))
    ends.channel.send(m.Unshare(7))
    first, second, third = ends.heard()
    assert (first.key, first.group, numbers([first.payload])) == (7, "gruppe ü", [5])
    assert (second.key, numbers([second.payload])) == (8, [6])
    assert third == m.Unshare(7)


def test_more_of_them_than_the_socket_takes(ends: Ends) -> None:
    one = parcel(1)
    run = m.Run(1, 2, m.Style.ONE, False, [one] * 2000)
    done = ends.channel.send(run)
    heard: list[Any] = []
    while not done:
        heard += ends.heard()
        for item in ends.reader.descriptors:
            assert item is not None
        done = ends.channel.flush()
    heard += ends.heard()
    (message,) = heard
    assert numbers(message.items) == [1] * 2000


def test_a_descriptor_that_was_lost_costs_its_own_item(ends: Ends) -> None:
    """The receiver has room for no other descriptor, and the kernel drops one."""
    honest = socket.socket.recvmsg_into
    turn = iter([False, True, False, False, False])

    class Short(socket.socket):
        def recvmsg_into(self, buffers: Any, room: int = 0, flags: int = 0, /) -> Any:
            return honest(self, buffers, 0 if next(turn) else room, flags)

    ends.channel.send(m.Run(1, 2, m.Style.ONE, False, [parcel(1), parcel(2), parcel(3)]))
    short = Short(fileno=ends.worker.detach())
    ends.worker = short
    (run,) = ends.heard()
    (lost,) = (one for one in run.items if one.descriptor is None)
    place = run.items.index(lost)
    assert numbers(run.items[:place] + run.items[place + 1 :]) == [n for n in (1, 2, 3) if n != place + 1]
    with pytest.raises(OSError, match="too many open files"):
        loads(lost)


def test_what_a_closed_channel_had_to_send_is_let_go(ends: Ends) -> None:
    before = len(_parcel.held)
    ends.channel.send(m.Run(1, 2, m.Style.ONE, False, [parcel(1)] * 2000))
    assert len(_parcel.held) > before
    ends.channel.close()
    _spares.drop()
    assert len(_parcel.held) == before


def test_too_much_on_its_way_is_tried_again(ends: Ends) -> None:
    refusals = [errno.ETOOMANYREFS] * 2

    class Refusing(socket.socket):
        def sendmsg(self, buffers: Any, *rest: Any) -> int:
            if refusals and rest:
                raise OSError(refusals.pop(), "too many references")
            return super().sendmsg(buffers, *rest)

    ends.worker = Refusing(fileno=ends.worker.detach())
    Sender(ends.worker).send(m.Large(1, 0, m.Kind.VALUE, parcel(1)))
    assert not refusals
    assert [type(message) for message in ends.channel.receive() or ()] == [m.Large]


def test_too_much_on_its_way_to_a_worker_is_kept_and_sent_later(ends: Ends) -> None:
    refusals = [errno.ETOOMANYREFS]

    class Refusing(socket.socket):
        def sendmsg(self, buffers: Any, *rest: Any) -> int:
            if refusals and rest:
                raise OSError(refusals.pop(), "too many references")
            return super().sendmsg(buffers, *rest)

    ends.channel._socket = Refusing(fileno=ends.channel._socket.detach())
    assert not ends.channel.send(m.Run(1, 2, m.Style.ONE, False, [parcel(1)]))
    assert ends.channel.flush()
    (run,) = ends.heard()
    assert numbers(run.items) == [1]
