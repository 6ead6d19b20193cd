"""Items that take too long, fail now and then, or wear out their process: none of them takes others along."""

import re
import tempfile
import time
from pathlib import Path

from procorch import ProcessGroup, TaskTimeout


def match(text: str) -> bool:
    """Match a pattern that takes for ever on some texts, in C code that nothing in Python can interrupt."""
    return re.match(r"(a+)+$", text) is not None


def fetch(counter: str) -> str:
    """Fail twice, as a bad network does."""
    path = Path(counter)
    attempt = len(path.read_text()) + 1
    path.write_text("x" * attempt)
    if attempt < 3:
        raise ConnectionError(f"attempt {attempt} failed")
    return f"attempt {attempt} worked"


def main() -> None:
    """Run some of each."""
    with ProcessGroup(2, max_tasks_per_child=100) as group:
        texts = ["aaa", "a" * 60 + "b", "b"]
        results = group.options(timeout=0.5).map(match, texts, return_exceptions=True)
        assert results[0] is True
        assert results[2] is False
        assert isinstance(results[1], TaskTimeout)
        print(results[1])

        with tempfile.TemporaryDirectory() as folder:
            counter = Path(folder) / "counter"
            counter.touch()
            view = group.options(retries=5, retry_on=ConnectionError, backoff=0.01)
            print(view.submit(fetch, str(counter)).result())

        future = group.submit(time.sleep, 3600)
        while not future.running():
            time.sleep(0.001)
        print("cancelled:", future.cancel())


if __name__ == "__main__":
    main()
