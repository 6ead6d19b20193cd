"""Parse many files, of which some are no good: each has its limit on time, and its own outcome.

The files are modules of the standard library. Beside them lie three that stop many a parser: one with a mistake, one
that is nested too deeply, and one that never comes to its end (a named pipe into which nobody writes).
"""

from __future__ import annotations

import ast
import os
import sysconfig
import tempfile
import warnings
from collections import Counter
from pathlib import Path

from procorch import ProcessGroup, TaskTimeout, WorkerCrashed


def count(path: Path) -> Counter[str]:
    """Count what a module is made of.

    Args:
        path (Path): A file of Python code.

    Returns:
        Counter[str]: How often each kind of node is there.
    """
    source = path.read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is odd about somebody else's code
        tree = ast.parse(source, str(path))
    return Counter(type(node).__name__ for node in ast.walk(tree))


def hostile(folder: Path) -> list[Path]:
    """Make files that nobody would like to parse.

    Args:
        folder (Path): Where to.

    Returns:
        list[Path]: Each of them.
    """
    mistake, deep, endless = (folder / name for name in ("mistake.py", "deep.py", "endless.py"))
    mistake.write_text("def f(:\n    pass\n")
    deep.write_text("x = " + "-" * 100_000 + "1\n")
    os.mkfifo(endless)
    return [mistake, deep, endless]


def main() -> None:
    """Count functions, classes and more in all of them."""
    library = Path(sysconfig.get_path("stdlib"))
    good = sorted(library.glob("*.py"))
    total: Counter[str] = Counter()
    parsed = 0
    with tempfile.TemporaryDirectory() as folder, ProcessGroup() as group:
        paths = [*hostile(Path(folder)), *good]
        results = group.options(timeout=1.5).imap(count, paths, return_exceptions=True)
        for path, result in zip(paths, results, strict=True):
            match result:
                case Counter():
                    parsed += 1
                    total += result
                case TaskTimeout():
                    print(f"{path.name}: stopped after {result.limit} s")
                case WorkerCrashed():
                    print(f"{path.name}: its process died, exit code {result.exitcode}")
                case _:
                    print(f"{path.name}: {type(result).__name__}")
        stats = group.stats()
    print(f"{parsed} files parsed, {stats.failed} not")
    for kind in ("FunctionDef", "AsyncFunctionDef", "ClassDef", "Lambda", "Try"):
        print(f"{total[kind]:>6} {kind}")


if __name__ == "__main__":
    main()
