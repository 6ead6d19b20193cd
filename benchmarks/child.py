"""Everything in the fresh process: one case with one peer. What it finds goes to a file, since peers print."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import attrs
import proc
from cases import CASES
from cases.base import Setting
from peers import PEERS
from peers.base import NotOffered
from records import Found, Job
from watch import Watch


def main(job_text: str, path: str) -> int:
    """Measure, and write what was found."""
    job = Job(**json.loads(job_text))
    watch = Watch()
    try:
        found = _measure(job, watch)
    except NotOffered as error:
        found = Found(word=str(error) or "not offered")
    except Exception as error:  # noqa: BLE001 - a peer that fails is a line of the table
        found = Found(word=f"failed: {type(error).__name__}: {str(error).strip()[:80]}")
    said = {
        "found": attrs.asdict(found),
        "wall": watch.seconds,
        "cpu_before": watch.cpu_before,
        "rss_parent": proc.peak(),
        "rss_worker": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000,
    }
    Path(path).write_text(json.dumps(said))
    return 0


def _measure(job: Job, watch: Watch) -> Found:
    case = CASES[job.case]
    setting = Setting(job.variant, job.workers, job.quick)
    if job.peer == "limit":
        return case.limit(setting, watch)
    peer = PEERS[job.peer](case.workers(setting), case.method(setting), tuned=job.tuned)
    return case.run(setting, peer, watch)
