"""Times as people read them, and where to put them along an axis. Pure."""

from __future__ import annotations

import math

import attrs

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0

_SHORT = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))

_LONG_STEPS = (
    *(part * _MINUTE for part in (0.5, 1, 2, 5, 10, 15, 30)),
    *(part * _HOUR for part in (1, 2, 3, 6, 12)),
    *(part * _DAY for part in (1, 2, 5, 10, 20, 50, 100, 200, 500)),
)
"""The distances between ticks that people expect, where they do not count in tens."""


@attrs.frozen
class Tick:
    """A place on the axis."""

    at: float
    """Seconds."""
    label: str


def ticks(seconds: float, at_most: int) -> list[Tick]:
    """Choose where to put ticks.

    Args:
        seconds (float): The axis goes from 0 to here.
        at_most (int): How many there is room for, at least 2.

    Returns:
        list[Tick]: Some, from 0, at distances that people expect, all in the same unit.
    """
    if seconds <= 0:
        return [Tick(0.0, "0")]
    step = _step(seconds / (at_most - 1))
    return [
        Tick(number * step, _label(number * step, step, seconds))
        for number in range(math.floor(seconds / step + 1e-9) + 1)
    ]


def _step(least: float) -> float:
    for step in _LONG_STEPS if least > 20 else ():
        if step >= least:
            return step
    tens = 10.0 ** math.floor(math.log10(least))
    return next(tens * part for part in (1, 2, 5, 10) if tens * part >= least * (1 - 1e-9))


def _label(at: float, step: float, seconds: float) -> str:
    if at == 0:
        return "0"
    for unit, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if step % unit == 0 and (seconds < _HOUR or unit > _MINUTE):
            return f"{at / unit:.0f} {name}"
    if step >= _MINUTE / 2:
        return _clock(at, hours=seconds >= _HOUR)
    unit, name = _unit(seconds)
    digits = max(0, -math.floor(math.log10(step / unit) + 1e-9))
    return f"{at / unit:.{digits}f} {name}"


def _unit(seconds: float) -> tuple[float, str]:
    return next(((unit, name) for unit, name in _SHORT if seconds >= unit * 0.9995), _SHORT[-1])


def _clock(at: float, *, hours: bool) -> str:
    """As ``"1:30 h"`` or ``"1:30 min"``."""
    large, small, name = (_HOUR, _MINUTE, "h") if hours else (_MINUTE, 1.0, "min")
    return f"{at // large:.0f}:{at % large / small:02.0f} {name}"


def duration(seconds: float) -> str:
    """Tell a time in few characters.

    Args:
        seconds (float): At least 0.

    Returns:
        str: As ``"12 ms"``, ``"1.25 s"``, ``"3:05 min"``, ``"2:15 h"``.
    """
    if seconds == 0:
        return "0 s"
    if seconds >= 99.95:
        # Rounded first, or there would be sixty of the smaller unit.
        hours = seconds >= _HOUR - 0.5
        return _clock(round(seconds / _MINUTE) * _MINUTE if hours else round(seconds), hours=hours)
    unit, name = _unit(seconds)
    value = seconds / unit
    return f"{value:.0f} {name}" if value >= 99.5 else f"{value:.3g} {name}"
