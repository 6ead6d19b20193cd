"""How many threads the numerical libraries of a worker use. Loaded in workers only if that is bounded."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import sys

VARIABLES = (
    "OMP_NUM_THREADS",  # OpenMP, and with it PyTorch, scikit-learn, Arrow
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",  # Accelerate
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "POLARS_MAX_THREADS",
    "RAYON_NUM_THREADS",  # libraries written in Rust
)
"""What the libraries read when they are loaded. NUMEXPR_MAX_THREADS is not among them: that is how many there may ever
be, and one that is too small makes NumExpr fail. Threading Building Blocks know no such variable."""

_LIBRARIES = re.compile(
    r"/((?:lib)?(?:scipy_)?(?:openblas|mkl_rt|blis|flexiblas|gomp|iomp5|omp)[^/\n]*\.so[^/\n]*)$", re.MULTILINE
)
"""Those that threadpoolctl can tell how many threads to use, in the list of what a process has mapped."""

_MODULES = ("numba", "numexpr", "polars", "pyarrow")
"""Those that have read the environment once they are loaded, and of which threadpoolctl knows nothing."""


def cap(count: int) -> None:
    """Bound the threads that libraries of this process use, and those of programs that it starts.

    What is set in the environment reaches libraries that are loaded later. One that a forked process has inherited is
    told by threadpoolctl, where that is installed.

    Args:
        count (int): Threads for each library.
    """
    for name in VARIABLES:
        # Numba looks there again and again, and fails if it finds another number than it began with.
        if name != "NUMBA_NUM_THREADS" or "numba" not in sys.modules:
            os.environ[name] = str(count)
    if _libraries():
        with contextlib.suppress(ImportError):
            importlib.import_module("threadpoolctl").threadpool_limits(count)


def out_of_reach(*, has_threadpoolctl: bool) -> list[str]:
    """Name what this process has loaded that `cap` cannot bound in a fork of it.

    Args:
        has_threadpoolctl (bool): Whether that is installed.

    Returns:
        list[str]: File names of libraries, and names of modules.
    """
    return [*([] if has_threadpoolctl else _libraries()), *(name for name in _MODULES if name in sys.modules)]


def _libraries() -> list[str]:
    with contextlib.suppress(OSError), open("/proc/self/maps", errors="replace") as maps:  # noqa: PTH123 - no pathlib here
        return sorted(set(_LIBRARIES.findall(maps.read())))
    return []
