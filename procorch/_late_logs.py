"""Forwarding what is logged in a worker, from the moment on in which something there loads `logging`.

Not before: it takes some milliseconds to load, and many items log nothing. Loaded in every worker.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import util
from typing import TYPE_CHECKING

from procorch import _messages as m
from procorch._writer import Writer

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType

    from procorch._logs import Logs


class LateLogs:
    """What `_logs.Logs` does, as soon as it can. Made once in a process, and to its end.

    Until then it stands first among what finds modules, and waits for one name.
    """

    def __init__(self, send: Callable[[m.FromWorker], None], page: Writer) -> None:
        """Begin at once if `logging` is here already.

        Args:
            send (Callable[[m.FromWorker], None]): To the parent; any thread, also in signal handlers.
            page (Writer): Tells which item runs.
        """
        self._send = send
        self._page = page
        self._pid = os.getpid()
        self._logs: Logs | None = None
        self._levels: m.Bytes = b""
        self._shown_by = warnings.showwarning
        if "logging" in sys.modules:
            self._begin()
        else:
            sys.meta_path.insert(0, self)
            warnings.showwarning = self._show_warning  # type: ignore[assignment]  # it hands on whatever it gets

    def follow(self, levels: m.Bytes) -> None:
        """Take over the parent's levels.

        Args:
            levels (m.Bytes): See `_logs.Logs.follow`.
        """
        # In this order, and the other way round in `_begin`, which another thread may be in.
        self._levels = levels
        if self._logs is not None:
            self._logs.follow(levels)

    def repeat(self) -> None:
        """Set the parent's levels again: a module that has been loaded since may have set its own."""
        if self._logs is not None:
            self._logs.repeat()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find nothing, but see to it that this begins when `logging` has been loaded; called for every import.

        Args:
            name (str): The module's full name.
            path (Sequence[str] | None): Not looked at.
            target (ModuleType | None): Not looked at.

        Returns:
            ModuleSpec | None: That of `logging`; None for all others, which are found by those that come after this.
        """
        if name != "logging":
            return None
        sys.meta_path.remove(self)
        spec = util.find_spec(name)
        if spec is not None:
            # A duck: the class to derive from takes longer to load than this saves.
            spec.loader = _Loader(spec, self._begin)  # type: ignore[assignment]  # pyright: ignore[reportAttributeAccessIssue]
        return spec

    def _begin(self) -> None:
        if warnings.showwarning == self._show_warning:
            warnings.showwarning = self._shown_by
        if os.getpid() != self._pid:
            return  # a process that an item made with os.fork: the socket is not its own
        from procorch import _logs  # here: it loads `logging`, which this is to put off

        self._logs = _logs.Logs(self._send, self._page)
        if self._levels:
            self._logs.follow(self._levels)

    def _show_warning(self, *args: object) -> None:
        import logging  # here: likewise; it captures warnings from here on

        del logging
        warnings.showwarning(*args)  # type: ignore[arg-type]  # they are those of this very function


class _Loader:
    """Loads a module as its own loader does, and then calls something."""

    def __init__(self, spec: ModuleSpec, then: Callable[[], None]) -> None:
        self._loader = spec.loader
        self._then = then

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        assert self._loader is not None  # it is no package without a file
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        assert self._loader is not None
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._loader  # nobody needs to know
        self._loader.exec_module(module)
        self._then()
