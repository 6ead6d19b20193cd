"""A group on parsl: two workers on this machine; another provider, such as SlurmProvider, has them on a cluster."""

import tempfile

from parsl.concurrent import ParslPoolExecutor
from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.providers import LocalProvider

from procorch import ProcessGroup
from procorch.engines import ExecutorEngine


def square(number: int) -> int:
    """Square a number."""
    return number * number


if __name__ == "__main__":
    workers = HighThroughputExecutor(
        label="workers",
        max_workers_per_node=2,
        address="127.0.0.1",
        heartbeat_period=2,  # a worker that is lost is noticed after some of these; by default after half a minute
        heartbeat_threshold=10,
        provider=LocalProvider(init_blocks=1, max_blocks=1),
    )
    config = Config(executors=[workers], strategy="none", run_dir=tempfile.mkdtemp(), retries=0)
    executor = ParslPoolExecutor(config)
    # It does not tell how many workers it has.
    with executor, ProcessGroup(engine=ExecutorEngine(executor, max_workers=2)) as group:
        print(group.options(timeout=10).map(square, range(10)))
