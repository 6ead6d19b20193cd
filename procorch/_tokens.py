"""What has crossed by value, and the tokens by which processes find it: classes, and the variables of ``__main__``.

Pickles that `_values` makes call the functions here by name. Each thing has a token from the process where it was
defined, and wherever it has been it is found by that. So a pickle makes nothing twice, and changes nothing in the
process that defined it.

All functions of a ``__main__`` have one set of global variables in a process that they were sent to, as they have at
home: an initializer may set what others read. A variable that comes again is set only if it has another value than
the last time, as else what was set here meanwhile would be lost.
"""

from __future__ import annotations

import builtins
import os
import pickle
import sys
import threading
import types
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

Reference: TypeAlias = tuple[Callable[..., type], tuple[Any, ...]]
"""What is written in the place of a class: what finds it on the other side, and the arguments for that."""

Variables: TypeAlias = dict[str, Any]
"""Of a module, by name."""

Marks: TypeAlias = dict[str, tuple[int, int]]
"""Of variables, by name: equal for equal values."""

_MOST_CLASSES = 1024
"""Classes that a process remembers, so that one that a notebook defines again and again is forgotten some day."""

lock = threading.RLock()
"""Over all that is here. cloudpickle holds a lock of its own about classes, and a process that is forked at that moment
would wait for it for ever; so that is only ever held within this one, and no process is forked then."""

_classes: dict[str, type] = {}  # by token, the one used last at the end
_tokens: dict[type, str] = {}  # the reverse
_foreign: dict[type, Reference] = {}  # those that were defined in another process, and how that knows them
_pickles: dict[str, bytes] = {}  # from which one was made last

_spaces: dict[str, Variables] = {}  # the variables of main modules, by token
_space_tokens: dict[int, str] = {}  # the reverse, by id
_own_spaces: set[str] = set()  # tokens of those of this process itself
_marks: dict[str, Marks] = {}  # of the variables that came, by token


def _new_token() -> str:
    return os.urandom(12).hex()


# --- classes ----------------------------------------------------------------------------------------------------------


def foreign_classes() -> dict[type, Reference]:
    """Tell which classes were defined in another process.

    Returns:
        dict[type, Reference]: How that knows them.
    """
    with lock:
        return _foreign.copy()


def token_of(cls: type) -> str:
    """Give a class's token.

    Args:
        cls (type): Gets one if it has none.

    Returns:
        str: Unique.
    """
    with lock:
        token = _tokens.get(cls) or _new_token()
        _remember(token, cls)
        return token


def _remember(token: str, cls: type) -> None:
    _classes.pop(token, None)
    _classes[token] = cls  # now the youngest
    _tokens[cls] = token
    if len(_classes) > _MOST_CLASSES:
        oldest = next(iter(_classes))
        forgotten = _classes.pop(oldest)
        _pickles.pop(oldest, None)
        _foreign.pop(forgotten, None)
        del _tokens[forgotten]


def known_class(token: str) -> type:
    """Find a class. Pickles refer to it by name.

    Args:
        token (str): Its own.

    Returns:
        type: The class.

    Raises:
        LookupError: There have been so many since that it is forgotten.
    """
    with lock:
        cls = _classes.get(token)
        if cls is not None:
            _remember(token, cls)
    if cls is None:
        raise LookupError("its class is not known here any more")
    return cls


def load_class(token: str, payload: bytes) -> type:
    """Find a class, or make it of its pickle. Pickles refer to it by name.

    Args:
        token (str): Its own.
        payload (bytes): The pickle.

    Returns:
        type: The class.
    """
    with lock:
        cls = _classes.get(token)
        if cls is not None and (cls not in _foreign or _pickles.get(token) == payload):
            _remember(token, cls)
            return cls
    loaded: type = pickle.loads(payload)
    with lock:
        _pickles[token] = payload
    return loaded


def make_class(token: str, make: Callable[..., type], args: tuple[Any, ...]) -> type:
    """Find a class, or make it as far as it can be made before what it holds. Pickles refer to it by name.

    Args:
        token (str): Its own.
        make (Callable[..., type]): Makes it.
        args (tuple[Any, ...]): The arguments for that.

    Returns:
        type: The class.
    """
    with lock:
        cls = _classes.get(token)
        if cls is None:
            cls = make(*args)
            _foreign[cls] = (known_class, (token,))
        _remember(token, cls)
        return cls


def fill_class(cls: type, state: tuple[Callable[[type, Any], object], Any]) -> None:
    """Give a class what it holds, unless it was defined here. Pickles refer to it by name.

    Args:
        cls (type): From `make_class`.
        state (tuple[Callable[[type, Any], object], Any]): What sets it, and what it holds.
    """
    set_state, content = state
    if cls in _foreign:
        set_state(cls, content)


# --- functions and their variables ------------------------------------------------------------------------------------


def space_of(function: types.FunctionType) -> str | None:
    """Give the token of a function's global variables, if they are those of a main module.

    Args:
        function (types.FunctionType): Any.

    Returns:
        str | None: None if they are not.
    """
    variables = function.__globals__
    with lock:
        token = _space_tokens.get(id(variables))
        if token is None and variables is vars(sys.modules["__main__"]):
            token = _new_token()
            _own_spaces.add(token)
            _add_space(token, variables)
        return token


def is_own(token: str) -> bool:
    """Tell whether variables are those of this process itself.

    Args:
        token (str): Theirs.

    Returns:
        bool: False if they came from another.
    """
    return token in _own_spaces


def _add_space(token: str, variables: Variables) -> None:
    _spaces[token] = variables  # for good, so that no other ever has its id
    _space_tokens[id(variables)] = token
    _marks[token] = {}


def make_function(
    token: str, base: Variables, code: types.CodeType, closure: tuple[types.CellType, ...] | None
) -> types.FunctionType:
    """Make a function of a main module without what belongs to it. Pickles refer to it by name.

    Args:
        token (str): Of its global variables.
        base (Variables): The first of them, such as ``__name__``.
        code (types.CodeType): What it does.
        closure (tuple[types.CellType, ...] | None): Still empty.

    Returns:
        types.FunctionType: The function.
    """
    with lock:
        if token not in _spaces:
            _add_space(token, {**base, "__builtins__": builtins})
        return types.FunctionType(code, _spaces[token], None, None, closure)


def fill_function(function: types.FunctionType, content: tuple[Callable[..., object], Any, Variables, Marks]) -> None:
    """Give a function what belongs to it, and its module the variables that it uses. Pickles refer to it by name.

    Args:
        function (types.FunctionType): From `make_function`.
        content (tuple[Callable[..., object], Any, Variables, Marks]): What sets its state; that, without variables;
            the variables; the marks of some of them.
    """
    set_state, state, variables, marks = content
    space = function.__globals__
    with lock:
        builtin = space["__builtins__"]
        set_state(function, state)
        space["__builtins__"] = builtin  # which it has replaced
        token = _space_tokens[id(space)]
        if token not in _own_spaces:
            space.update(_changed(_marks[token], variables, marks))


def _changed(known: Marks, variables: Mapping[str, Any], marks: Marks) -> Variables:
    changed = {name: value for name, value in variables.items() if name not in marks or known.get(name) != marks[name]}
    known.update(marks)
    return changed


# --- forks ------------------------------------------------------------------------------------------------------------


def _after_fork_in_child() -> None:
    """What was defined before the fork comes from the parent, and is known there."""
    _foreign.update({cls: (known_class, (token,)) for cls, token in _tokens.items()})
    _own_spaces.clear()
    lock.release()


os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=_after_fork_in_child)
