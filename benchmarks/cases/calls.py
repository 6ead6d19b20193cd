"""Single calls: how long one takes to come back, alone and with others under way."""

from __future__ import annotations

import os
import socket
import threading
import time

import work
from peers.base import Peer
from records import Found
from typing_extensions import override
from watch import Watch

from cases.base import Case, Setting, percentiles, warm


class RoundTrip(Case):
    """One after the other."""

    name = "roundtrip"
    title = "`submit(...).result()`, one after the other: the median; the limit is a byte to another process and back"
    unit = "µs"
    call = "submit"
    variants = quick_variants = ("one caller",)
    has_limit = True

    @override
    def run(self, setting: Setting, peer: Peer, watch: Watch) -> Found:
        with peer:
            warm(peer)
            trips = _trips(peer, 50)  # the first ones teach the peer
            with watch:
                trips = _trips(peer, 300 if setting.quick else 1000)
        return _found(trips, {})

    @override
    def limit(self, setting: Setting, watch: Watch) -> Found:
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if not pid:
            ours.close()
            while got := theirs.recv(1):
                theirs.send(got)
            os._exit(0)
        theirs.close()
        with ours, watch:
            trips = []
            for _ in range(300 if setting.quick else 1000):
                began = time.perf_counter()
                ours.send(b"x")
                ours.recv(1)
                trips.append(time.perf_counter() - began)
        os.waitpid(pid, 0)
        return _found(trips, {})


class Latency(Case):
    """Several threads at once."""

    name = "latency"
    title = "`submit(...).result()` in several threads at once: the median, with the 99th percentile"
    unit = "µs"
    call = "submit"
    variants = ("4 threads", "16 threads")
    quick_variants = ("4 threads",)
    most_rounds = 2
    seconds = (15.0, 10.0)
    has_serial = False

    @override
    def run(self, setting: Setting, peer: Peer, watch: Watch) -> Found:
        count = int(setting.variant.split()[0])
        each = (600 if setting.quick else 2000) // count
        trips: list[float] = []
        failures: list[BaseException] = []

        def caller() -> None:
            try:
                trips.extend(_trips(peer, each))
            except Exception as error:  # noqa: BLE001 - told of below
                failures.append(error)

        with peer:
            warm(peer)
            _trips(peer, 50)
            threads = [threading.Thread(target=caller) for _ in range(count)]
            with watch:
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
        if failures:
            raise failures[0]
        return _found(trips, {"calls/s": len(trips) / watch.seconds})


def _trips(peer: Peer, count: int) -> list[float]:
    trips = []
    for number in range(count):
        began = time.perf_counter()
        peer.submit(work.plus_one, number).result()
        trips.append(time.perf_counter() - began)
    return trips


def _found(trips: list[float], extra: dict[str, float]) -> Found:
    middle, most = percentiles(trips, 1e6)
    return Found(middle, len(trips), extra={"p99 µs": most} | extra)
