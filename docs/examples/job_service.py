"""A service with workers: a process that speaks HTTP and is kept up, and a group that does what it is asked for.

    curl -d 10000 http://127.0.0.1:PORT/        how many primes are there below 10,000?

The front process only talks. What is asked for goes as a message to the parent, which gives it to the workers, each job
with its limit on time; the answer goes back as a message. So a job that hangs or crashes harms nobody else, and neither
does a front process that dies.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import urllib.error
import urllib.request
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import isqrt
from typing import Any

from procorch import NotRunning, ProcessGroup, ProcessHandle, Restart, current_process

# --- in the front process ---------------------------------------------------------------------------------------------

waiting: dict[tuple[int, int], Future[tuple[int, str]]] = {}
"""Requests that wait for an answer: a status of HTTP, and a text."""


class Front(BaseHTTPRequestHandler):
    """Passes on what comes, each request in a thread of its own."""

    def do_POST(self) -> None:
        """Ask for the work that is in the body, and wait for its answer."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        answer: Future[tuple[int, str]] = Future()
        key = (os.getpid(), id(answer))  # an answer to a process that has died is nobody's
        waiting[key] = answer
        current_process().send((key, body))
        status, text = answer.result()
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_request(self, *_: object) -> None:
        """Say nothing of it."""


def serve(port: int) -> None:
    """Take requests until asked to stop; those that are under way then are told so.

    Args:
        port (int): Where.
    """
    me = current_process()
    with ThreadingHTTPServer(("127.0.0.1", port), Front) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        me.ready()
        for key, status, text in me:
            if answer := waiting.pop(key, None):
                answer.set_result((status, text))
        server.shutdown()
        thread.join()
        for answer in list(waiting.values()):
            answer.set_result((503, "closing"))


# --- in the workers ---------------------------------------------------------------------------------------------------


def count_primes(text: str) -> int:
    """Count primes.

    Args:
        text (str): A number.

    Returns:
        int: How many there are below it.
    """
    return sum(all(number % factor for factor in range(2, isqrt(number) + 1)) for number in range(2, int(text)))


# --- in the parent ----------------------------------------------------------------------------------------------------


def reply(front: ProcessHandle[Any], key: object, job: Future[int]) -> None:
    """Send what has become of a job.

    Args:
        front (ProcessHandle[Any]): To whom.
        key (object): By which it knows the request.
        job (Future[int]): It is done.
    """
    error = job.exception()
    status, text = (200, str(job.result())) if error is None else (500, f"{type(error).__name__}: {error}")
    with suppress(NotRunning):  # it may have been stopped meanwhile
        front.send((key, status, text))


def work(group: ProcessGroup, front: ProcessHandle[Any]) -> None:
    """Give jobs to the workers as they come, until the front process has ended.

    Args:
        group (ProcessGroup): Has the workers.
        front (ProcessHandle[Any]): Has the jobs.
    """
    limited = group.options(timeout=1)
    for key, text in front:
        limited.submit(count_primes, text).add_done_callback(partial(reply, front, key))


# --- somebody who asks ------------------------------------------------------------------------------------------------


def ask(port: int, text: str) -> str:
    """Ask the service.

    Args:
        port (int): Where it is.
        text (str): What to count.

    Returns:
        str: The status and the first words of its answer.
    """
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", text.encode(), timeout=10) as answer:
            return f"{answer.status} {answer.read().decode()}"
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.read().decode().split(':')[0]}"


def main() -> None:
    """Serve, for as long as it takes to see that it works."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with ProcessGroup(name="primes") as group:
        front = group.start(serve, port, name="front", restart=Restart(backoff=0.01))
        desk = threading.Thread(target=work, args=(group, front))
        desk.start()
        front.wait_ready(10)

        numbers = ["1000", "10000", "30000", "many", "10000000000"]
        with ThreadPoolExecutor(len(numbers)) as clients:
            for number, answer in zip(numbers, clients.map(partial(ask, port), numbers), strict=True):
                print(f"primes below {number}: {answer}")

        before = front.pid
        os.kill(before or 0, signal.SIGKILL)
        while front.pid == before or not front.wait_ready(0.01):
            pass
        print("after its front has died:", ask(port, "1000"), "with restarts:", front.restarts)

        front.flush()  # answers that are on their way
        front.stop()
        desk.join()
    print("stopped, exit code", front.exitcode)


if __name__ == "__main__":
    main()
