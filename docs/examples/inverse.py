"""A function for the command line: ``procorch map --json ./inverse.py:inverse``; and the same in a program."""

from procorch import ProcessGroup


def inverse(number: float) -> float:
    """Divide 1 by a number."""
    return 1 / number


if __name__ == "__main__":
    print(ProcessGroup.map(inverse, [4, 0.5]))
