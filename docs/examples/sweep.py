"""A sweep over parameters with NumPy: all workers use one array, and what is done is kept, to go on from there."""

from __future__ import annotations

import importlib.util
import itertools
import tempfile
from pathlib import Path
from typing import Any

from procorch import Checkpoint, ProcessGroup, Shared

WIDTHS = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89)
DEGREES = (0, 1, 2, 3)


def make_signal() -> tuple[Any, Any]:
    """Make something to smooth.

    Returns:
        tuple[Any, Any]: A signal, and the same with noise; float64, shape (200_000,) each.
    """
    import numpy as np

    random = np.random.default_rng(2026)
    time = np.linspace(0, 60, 200_000)
    truth = np.sin(time) + 0.3 * np.sin(7 * time)
    return truth, truth + random.normal(0, 0.5, time.size)


def error_of(signal: Shared[tuple[Any, Any]], width: int, degree: int) -> float:
    """Smooth with a local polynomial, and see how far that is from the truth.

    Args:
        signal (Shared[tuple[Any, Any]]): Of `make_signal`. It crosses once for each worker, whatever number of items.
        width (int): Of the window: so many hundred samples.
        degree (int): Of the polynomial.

    Returns:
        float: The root of the mean square.
    """
    import numpy as np

    truth, noisy = signal.value
    half = 50 * width
    positions = np.arange(-half, half + 1) / half
    kernel = np.linalg.pinv(np.vander(positions, degree + 1, increasing=True))[0]
    length = 1 << (noisy.size + kernel.size).bit_length()
    smooth = np.fft.irfft(np.fft.rfft(noisy, length) * np.fft.rfft(kernel[::-1], length), length)
    middle = slice(2 * half, noisy.size)  # away from both ends
    return float(np.sqrt(np.mean((smooth[middle] - truth[half : noisy.size - half]) ** 2)))


def name_of(_: object, width: int, degree: int) -> str:
    """Name an item by its parameters alone: the signal, which goes along, is the same for all.

    Args:
        _ (object): The signal.
        width (int): As above.
        degree (int): As above.

    Returns:
        str: What is recorded of it.
    """
    return f"{width} {degree}"


def main() -> None:
    """Sweep, be interrupted, and go on."""
    grid = list(itertools.product(WIDTHS, DEGREES))
    widths, degrees = zip(*grid, strict=True)
    signal = make_signal()
    with tempfile.TemporaryDirectory() as folder:
        kept = Checkpoint(Path(folder, "sweep.db"), key=name_of)

        with ProcessGroup(threads_per_worker=1) as group, group.share(signal) as shared:
            errors = group.imap(error_of, itertools.repeat(shared), widths, degrees, checkpoint=kept)
            for _ in itertools.islice(errors, 15):
                pass  # the program ends here, for whatever reason
            errors.close()

        with ProcessGroup(threads_per_worker=1) as group, group.share(signal) as shared:
            results = group.map(error_of, itertools.repeat(shared), widths, degrees, checkpoint=kept)
            anew = sum(slot.tasks_done for slot in group.stats().slots)

    print(f"{len(results)} results; at least 15 were there already: {anew <= len(results) - 15}")
    best = min(zip(results, grid, strict=True))
    print("error {:.4f} with a window of {} hundred samples and degree {}".format(best[0], *best[1]))


if __name__ == "__main__":
    if importlib.util.find_spec("numpy"):
        main()
    else:
        print("This needs NumPy: pip install numpy")
