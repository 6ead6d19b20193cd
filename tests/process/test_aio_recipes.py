"""Process tests: the recipes for trio and anyio stop the process when cancelled, and hand on what goes wrong."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from helpers import script

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"

_PROGRAM = """
import runpy, sys
import targets as t
import targets_aio as ta
from helpers import is_gone, wait_until
from pathlib import Path
from procorch import ProcessGroup

recipe, loop, log = sys.argv[1:]
run = runpy.run_path(recipe)["run"]
if loop == "trio":
    import trio as library
    start, later, Open = library.run, library.sleep, library.open_nursery
else:
    import anyio as library
    start = lambda main: library.run(main, backend=loop.removeprefix("anyio-"))
    later, Open = library.sleep, library.create_task_group

async def main():
    assert await run(group, t.doubler, 4) == 8
    assert await run(group, t.keywords, fn=1, group=2) == {"fn": 1, "group": 2}
    try:
        await run(group, t.divide, 0)
    except ZeroDivisionError:
        pass
    else:
        raise AssertionError
    async with Open() as tasks:
        tasks.start_soon(run, group, ta.log_and_wait_stubbornly, log, log + ".never")
        while not Path(log).read_text():
            await later(0.002)
        tasks.cancel_scope.cancel()
    pid = int(Path(log).read_text().split()[1])
    while not is_gone(pid):
        await later(0.002)
    assert await run(group, t.doubler, 5) == 10

if __name__ == "__main__":
    with ProcessGroup(1) as group:
        start(main)
    print("well")
"""


@pytest.mark.parametrize("loop", ["trio", "anyio-trio", "anyio-asyncio"])
def test_cancelling_stops_the_process(loop: str, tmp_path: Path) -> None:
    pytest.importorskip(loop.partition("-")[0])
    program, log = tmp_path / "program.py", tmp_path / "log"
    program.write_text(_PROGRAM)
    log.touch()
    recipe = EXAMPLES / f"{loop.partition('-')[0]}_recipe.py"
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with script(str(program), str(recipe), loop, str(log), **pipes) as process:
        assert process.communicate(timeout=25) == ("well\n", "")
