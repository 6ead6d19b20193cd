"""What users are told of the restart of a service."""

from __future__ import annotations

from procorch import _events as e
from procorch._errors import describe_exit
from procorch._outcome import read_report
from procorch.events import ServiceRestarted


def told(order: e.Restarted, now: float) -> ServiceRestarted:
    """Put a restart into words.

    Args:
        order (e.Restarted): What was decided.
        now (float): Monotonic seconds.

    Returns:
        ServiceRestarted: A value.
    """
    if order.failure is not None and order.reason == "raised":
        report = read_report(order.failure)
        detail = f"{report.name}: {report.text}"
    elif order.reason == "crashed":
        detail = describe_exit(order.exitcode)
    else:
        detail = ""
    return ServiceRestarted(now, order.slot, order.name, order.restarts, order.seconds, order.reason, detail)
