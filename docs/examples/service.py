"""A small web service: two processes that stay up behind one port, a crash, and an orderly end."""

from __future__ import annotations

import os
import signal
import socket
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer

from procorch import ProcessGroup, Restart, current_process, events


class Handler(BaseHTTPRequestHandler):
    """Answers with its process, and dies of one address."""

    def do_GET(self) -> None:
        """Answer a request."""
        if self.path == "/crash":
            os.kill(os.getpid(), signal.SIGKILL)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(current_process().name.encode())

    def log_request(self, *_: object) -> None:
        """Say nothing of it."""


def serve(port: int) -> None:
    """Answer requests until asked to stop.

    Args:
        port (int): Shared with others: the system gives each of them a part of the connections.
    """
    me = current_process()
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen()
    server = HTTPServer(("127.0.0.1", port), Handler, bind_and_activate=False)
    server.socket = listener
    server.timeout = 0.1
    me.ready()
    while not me.stopping:
        server.handle_request()
    server.server_close()


def get(port: int, path: str) -> str:
    """Ask the service.

    Args:
        port (int): Where it is.
        path (str): What for.

    Returns:
        str: Its answer, or what went wrong.
    """
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            text: str = answer.read().decode()
            return text
    except OSError as error:
        return type(error).__name__


def tell(event: events.Event) -> None:
    """Print what a restart was for.

    Args:
        event (events.Event): Anything that happens.
    """
    if isinstance(event, events.ServiceRestarted):
        print(f"{event.name} is started again: it {event.reason}, {event.detail}")


def main() -> None:
    """Serve, crash, and stop."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with ProcessGroup(name="web", on_event=tell) as group:
        servers = [group.start(serve, port, restart=Restart(backoff=0.01)) for _ in range(2)]
        for server in servers:
            server.wait_ready(10)
        print("answered by one of web-1, web-2:", get(port, "/") in {"web-1", "web-2"})
        get(port, "/crash")
        while not any(server.restarts and server.wait_ready(0.01) for server in servers):
            pass
        print("answered again:", get(port, "/") in {"web-1", "web-2"})
    print("restarts:", group.stats().restarted, "exit codes:", [server.exitcode for server in servers])


if __name__ == "__main__":
    main()
