"""How long the way to distant workers and back is, by what chunks have taken, and how many chunks may be under way.

A part of the scheduler, and as pure. The way is all that a chunk takes beyond its work: the network, the engine's own
scheduler, and a parent that has more to do than it can. All of these want larger chunks; the wait behind another chunk
at the engine does not, and larger chunks would only make it longer. So what counts of a chunk that may have waited
there is the time for which workers were without work: by Little's law (1961), where ``company`` chunks are out and come
back after ``taken`` seconds, each of the workers has ``taken * workers / company`` seconds for one of them.
"""

from __future__ import annotations

import math
from collections import deque

from procorch._policy import Limits

_KEPT = 32
"""Chunks by which the way is judged: it is what a quarter of them took at most, so that some that were held up do not
count."""
_RISE = 1 / 8
"""What a chunk counts, beside those before it, if it left workers without work though others wait at the engine."""
_MOST_RISE = 4.0
"""As how many ways it counts at most."""
_SLOWEST = 8
"""Chunks in which what is known fades at the soonest."""
_SHORTEST = 1e-6
"""Seconds of work, and of a way, below which they are not told apart."""


class Way:
    """What is known of the way. The scheduler tells it of each chunk that comes back."""

    def __init__(self, limits: Limits) -> None:
        """Begin with nothing known.

        Args:
            limits (Limits): The numbers to decide by.
        """
        self._limits = limits
        self._straight = deque[float](maxlen=_KEPT)  # what chunks took beyond their work that found a worker free
        self._quarter = 0.0  # of these
        self._starved = 0.0  # seconds for which a worker is without work for each chunk, though chunks wait there
        self._recent = deque[float](maxlen=_KEPT)  # what chunks took beyond their work, waits at the engine included
        self.seconds = 0.0
        """There and back; 0 before anything is known."""

    def learn(self, taken: float, busy: float, company: int, workers: int) -> None:
        """Take in that a chunk has come back.

        Args:
            taken (float): Seconds since it was sent.
            busy (float): Seconds of work in it.
            company (int): Chunks that were out when it was sent, with this one.
            workers (int): Chunks that run at once.
        """
        # A round of chunks, so that what follows from one value is seen before the value is gone: else chunks that are
        # large enough for a busy parent would make it forget that they have to be.
        fade = 1 / max(company, _SLOWEST)
        self._recent.append(max(taken - busy, 0.0))
        if company <= workers:
            self._straight.append(max(taken - busy, 0.0))
            self._quarter = sorted(self._straight)[len(self._straight) // 4]
        else:
            lost = min(taken * workers / company - busy, _MOST_RISE * max(self.seconds, _SHORTEST))
            self._starved += (lost - self._starved) * (_RISE if lost > self._starved else fade)
        self.seconds = max(self._quarter, self._starved, self.seconds * (1 - fade))

    @property
    def usual(self) -> float:
        """What most chunks took beyond their work lately, in seconds, with waits at the engine and for the parent."""
        return sorted(self._recent)[len(self._recent) * 3 // 4] if self._recent else 0.0

    def crowd(self, seconds: float | None, workers: int) -> int:
        """Tell how many chunks may be out with one more: as many as keep the workers busy, by Little's law.

        Args:
            seconds (float | None): Work in that one; None is not known.
            workers (int): Chunks that run at once.

        Returns:
            int: At least ``workers``; more than there could ever be for chunks that take next to no time.
        """
        way = self.seconds
        if seconds is None or seconds > self._limits.prefetch_ways * way:
            return workers
        return workers + math.ceil(workers * way / max(seconds, _SHORTEST))
