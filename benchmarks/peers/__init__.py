"""The peers by name, in the order of the tables."""

from __future__ import annotations

from peers.base import Peer
from peers.clusters import Dask, Ray
from peers.deadpool import Deadpool
from peers.loky import Joblib, Loky
from peers.mpire import Mpire
from peers.ours import Procorch
from peers.pebble import Pebble
from peers.standard import Executor, Limit, Pool, Serial

_ALL: tuple[type[Peer], ...] = (
    Limit,
    Serial,
    Procorch,
    Pool,
    Executor,
    Loky,
    Joblib,
    Pebble,
    Mpire,
    Deadpool,
    Dask,
    Ray,
)

PEERS: dict[str, type[Peer]] = {peer.name: peer for peer in _ALL}
