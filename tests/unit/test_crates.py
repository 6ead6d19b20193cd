"""Unit: large payloads on their way by pickle, in memory and in files."""

from __future__ import annotations

import pickle
import sys
from typing import Any

import pytest

from procorch import _crates
from procorch._buffers import loads
from procorch._crates import Carried, Crate, pack, to_file, unpack
from procorch._outcome import pack as pickled
from procorch._parcel import Descriptor, Parcel

SIZE = 1 << 20


class Buffered:
    """Holds memory that goes beside its pickle."""

    def __init__(self, data: Any) -> None:
        self.data = memoryview(data)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return Buffered, (pickle.PickleBuffer(self.data),)


def parcel(content: object) -> Parcel:
    made = pickled(content)
    assert isinstance(made, Parcel)
    return made


def crate(content: object) -> Crate:
    made = pack(parcel(content))
    assert isinstance(made, Crate)
    return made


def test_small_data_crosses_as_it_is() -> None:
    payload = pickled([1, 2])
    assert pack(payload) == payload
    assert unpack(b"as it is") == to_file(b"as it is") == b"as it is"


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol_brings_it(protocol: int) -> None:
    content = bytearray(range(256)) * (SIZE // 256)
    arrived = pickle.loads(pickle.dumps(crate(content), protocol))
    assert loads(unpack(arrived)) == content


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_an_old_protocol_takes_it_in_band(protocol: int) -> None:
    assert len(pickle.dumps(crate(bytearray(SIZE)), protocol)) > SIZE


def test_the_buffer_goes_beside_the_pickle() -> None:
    buffers: list[pickle.PickleBuffer] = []
    text = pickle.dumps(crate(bytearray(SIZE)), 5, buffer_callback=buffers.append)
    assert len(text) < 1000
    assert len(buffers) == 1
    assert buffers[0].raw().nbytes >= SIZE
    arrived = pickle.loads(text, buffers=[bytes(buffers[0].raw())])
    assert loads(unpack(arrived)) == bytearray(SIZE)


def beside() -> tuple[bytes, bytes]:
    """A crate's pickle, and what goes beside it."""
    buffers: list[pickle.PickleBuffer] = []
    text = pickle.dumps(crate(Buffered(bytearray(SIZE))), 5, buffer_callback=buffers.append)
    return text, bytes(buffers[0].raw())


def write(carried: Carried) -> None:
    """Open it, and write into what it holds."""
    data = loads(unpack(carried)).data
    assert data[0] == 0
    data[0] = 1


def test_what_arrives_read_only_can_be_written_to() -> None:
    text, delivered = beside()
    write(pickle.loads(text, buffers=[delivered]))
    assert 1 not in delivered


def test_what_arrives_writable_is_not_copied() -> None:
    text, content = beside()
    delivered = bytearray(content)
    write(pickle.loads(text, buffers=[delivered]))
    assert 1 in delivered


def test_the_senders_memory_stays_as_it_is_where_nothing_was_pickled() -> None:
    made = crate(Buffered(bytearray(SIZE)))
    for _ in range(2):
        write(made)
    assert 1 not in bytes(made.content)


def test_the_senders_memory_stays_as_it_is_when_it_was_pickled() -> None:
    made = crate(Buffered(bytearray(SIZE)))
    for protocol in (2, 5):
        write(pickle.loads(pickle.dumps(made, protocol)))
    assert 1 not in bytes(made.content)


def test_the_parcel_stays_as_it_is() -> None:
    made = parcel(Buffered(bytearray(SIZE)))
    for _ in range(2):
        write(Crate.of(made))


def test_sizes() -> None:
    made = crate(bytearray(SIZE))
    assert SIZE < made.nbytes < SIZE + 1000
    assert sys.getsizeof(made) >= made.nbytes


def test_a_parcel_that_lost_its_file() -> None:
    with pytest.raises(OSError, match="too many open files"):
        pack(Parcel(b"text", None))


def test_a_parcel_whose_file_had_to_be_closed() -> None:
    descriptor = Descriptor(-1)
    made = parcel(bytearray([7]) * SIZE)
    assert made.descriptor is not None
    descriptor.memory = memoryview(Crate.of(made).content)
    assert loads(unpack(pack(Parcel(made.text, descriptor)))) == bytearray([7]) * SIZE


def test_it_goes_into_a_file_again() -> None:
    handed_on = to_file(pickle.loads(pickle.dumps(crate(bytearray([3]) * SIZE))))
    assert isinstance(handed_on, Parcel)
    assert handed_on.descriptor is not None
    assert handed_on.descriptor.fd >= 0
    assert loads(handed_on) == bytearray([3]) * SIZE


def test_no_room_for_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_crates, "into_file", lambda *_, **__: None)
    with pytest.raises(MemoryError, match="no room"):
        to_file(crate(bytearray(SIZE)))
