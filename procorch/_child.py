"""What runs inside a worker process: one loop that takes what the parent says, and has its items run.

    socket ---- Setup, Define, Run ...---> [ Loop ] ---> [ Runner: load, call, dump ] ---> page (small outcomes)
    socket <--- Ready, Noted, Ended -----------+------------------------------------------ socket (large ones, logs)
                                               behind the page <--- stack, when asked for or in a crash

Every way out of a worker:

- the parent says `Stop`: the finalizer runs, `serve` returns, and the process ends as any other;
- the parent's end of the socket is closed, or nobody can read from it any more, see `_mail`: `serve` returns;
- the initializer fails: the parent is told, `serve` returns;
- the parent dies: the process is killed wherever it is, see `_pgroup`;
- an item ends the process (`os._exit`, a signal): the parent sees the death and reads the page.

Loaded by every worker when it starts, so imports are few: neither attrs nor asyncio nor the parent's half of this
package.
"""

from __future__ import annotations

import mmap
import os
import socket
from typing import assert_never

from procorch import _forked, _mail, _signals
from procorch import _messages as m
from procorch._late_logs import LateLogs
from procorch._messages import Failure
from procorch._queue import PAGE_BYTES
from procorch._runner import Runner, Send
from procorch._sender import Sender
from procorch._setup import Call, set_up, try_call
from procorch._writer import Writer


def serve(connection: socket.socket, page_fd: int) -> int:
    """Work for the parent until it says stop or is gone. Called in the worker's main thread.

    Args:
        connection (socket.socket): This worker's end; blocking. Leave it open to the end of the process: finalizers
            and threads that items left running may still log.
        page_fd (int): Descriptor of the shared page, behind which the stack is written; stays open.

    Returns:
        int: The exit code for this process.
    """
    _forked.is_copy = False
    _mail.line = None  # this may be a copy of a process that had one
    _signals.handle(page_fd, PAGE_BYTES)
    with mmap.mmap(page_fd, PAGE_BYTES) as page:
        send = Sender(connection).send
        runner = Runner(writer := Writer(page), send)

        def let_go() -> None:
            _forked.is_copy = True
            writer.close()
            _signals.let_go()

        os.register_at_fork(after_in_child=let_go)
        try:
            _loop(runner, connection, send, writer)
        except (BrokenPipeError, ConnectionResetError):
            pass  # The parent is gone; there is nobody to tell.
        finally:
            writer.close()
        return runner.exit_code


def _loop(runner: Runner, connection: socket.socket, send: Send, page: Writer) -> None:
    logs: LateLogs | None = None
    finalizer: Call | None = None
    mail = _mail.Mail(connection)
    for message in mail:
        match message:
            case m.Run():
                if message.talks and _mail.line is None:
                    _mail.line = _mail.Line(mail, send, page)
                runner.run(message)
            case m.Define():
                runner.define(message)
            case m.Forget():
                runner.forget(message)
            case m.Setup():
                done = set_up(message, runner)
                if isinstance(done, Failure):
                    send(m.SetupFailed(done.payload))
                    return
                finalizer = done
                send(m.Ready())
            case m.Levels(payload):
                if logs is None:
                    logs = LateLogs(send, page)
                    runner.after_load = logs.repeat
                logs.follow(payload)
            case m.Share() | m.Unshare():
                _mail.keep_shared(message)
            case m.Cease() | m.Post() | m.Allow():
                pass  # nobody has listened, and what it was meant for is over
            case m.Stop():
                failed = runner.let_go()
                if finalizer is not None:
                    failed = try_call(finalizer) or failed
                if finalizer is not None or failed is not None:
                    send(m.Finalized(b"" if failed is None else failed.payload))
                return
            case _:
                assert_never(message)
