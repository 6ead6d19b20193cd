"""Functions that workers run in tests of what they have loaded. Imports nothing that workers have not."""

from __future__ import annotations

import sys


def loaded(number: int) -> list[str]:
    """Tell what this process has loaded."""
    return sorted(sys.modules)


def say_late(text: str) -> bool:
    """Log something, by what is imported only now; tell whether it was there before."""
    before = "logging" in sys.modules
    import logging

    logging.getLogger("tests.late").warning(text)
    return before


def warn_late(text: str) -> bool:
    """Warn of something; tell whether what logs it was there before."""
    before = "logging" in sys.modules
    import warnings

    warnings.warn(text, stacklevel=1)
    return before
