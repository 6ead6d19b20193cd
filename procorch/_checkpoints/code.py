"""Fingerprints of functions: what they are called, and what their code says, its comments and layout left out.

    partial, method, callable object --> the function in it, and what it holds
    function --> the tree of its source (else its bytecode, of this version of Python), defaults, what it encloses

What a function calls is not looked at: that is what ``version=`` is for.
"""

from __future__ import annotations

import ast
import functools
import inspect
import sys
import types
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Any, NamedTuple, cast

from procorch._aio.coroutines import InLoop
from procorch._checkpoints import digests

_HAVE_TEXTS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)

_LAYOUT = {"kind", "type_comment", "ctx"}
"""Fields of a tree that say nothing which its other fields do not."""


class Fingerprint(NamedTuple):
    """Of a function."""

    name: str
    """Module and qualified name."""
    code: str
    """Such as ``"code:0123456789abcdef"``."""


def fingerprint(fn: Callable[..., Any]) -> Fingerprint:
    """Give the fingerprint of a function.

    Args:
        fn (Callable[..., Any]): Anything that can be called.

    Returns:
        Fingerprint: The same in each run, as long as the function is the same.
    """
    found = digests.new()
    _add(found, fn, set())
    return Fingerprint(_name(fn), f"code:{found.hexdigest()[:16]}")


def _name(fn: Any) -> str:
    inner = _inner(fn)
    if inner is not None:
        return _name(inner)
    named: Any = fn if hasattr(fn, "__qualname__") else cast("Any", type(fn))
    module = getattr(named, "__module__", None) or type(named).__module__
    return f"{module}.{named.__qualname__}"


def _inner(fn: Any) -> Any:
    """Give the function in something of the standard library's, or of ours, that calls it; None if there is none."""
    if isinstance(fn, functools.partial):
        return fn.func  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    if isinstance(fn, InLoop):
        return fn.fn
    if isinstance(fn, types.FunctionType | types.MethodType | type):
        return None
    return getattr(fn, "__wrapped__", None)  # as functools.cache makes it, in C


def _add(found: blake2b, fn: Any, seen: set[int]) -> None:
    if id(fn) in seen:
        found.update(b"again;")  # one that encloses itself
        return
    seen.add(id(fn))
    found.update(f"{_name(fn)};".encode(errors="surrogateescape"))
    inner = _inner(fn)
    if inner is not None:
        if isinstance(fn, functools.partial):
            _add_values(found, cast("Iterable[object]", fn.args), seen)
            _add_named(found, cast("dict[str, object]", fn.keywords), seen)
        _add(found, inner, seen)
    elif isinstance(fn, types.MethodType):
        _add_values(found, [fn.__self__], seen)
        _add(found, fn.__func__, seen)
    elif isinstance(fn, types.FunctionType):
        _add_function(found, fn, seen)
    elif isinstance(fn, type):
        _add_source(found, fn)
    elif isinstance(fn, types.BuiltinFunctionType):
        if not isinstance(fn.__self__, types.ModuleType):
            _add_values(found, [fn.__self__], seen)  # a method, of a compiled pattern for one
    elif not isinstance(fn, types.MethodDescriptorType | types.WrapperDescriptorType):
        _add_values(found, [fn], seen)
        _add(found, cast("Any", type(fn)).__call__, seen)


def _add_function(found: blake2b, fn: types.FunctionType, seen: set[int]) -> None:
    if not _add_source(found, fn):
        _add_bytecode(found, fn.__code__)
    _add_values(found, fn.__defaults__ or (), seen)
    _add_named(found, cast("dict[str, object]", fn.__kwdefaults__ or {}), seen)
    _add_values(found, map(_content, fn.__closure__ or ()), seen)


def _content(cell: types.CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:
        return None  # nothing is in it yet


def _add_named(found: blake2b, values: dict[str, object], seen: set[int]) -> None:
    for name in sorted(values):
        found.update(f"{name}=".encode(errors="surrogateescape"))
        _add_values(found, [values[name]], seen)


def _add_values(found: blake2b, values: Iterable[object], seen: set[int]) -> None:
    for value in values:
        if isinstance(value, types.FunctionType | types.MethodType | functools.partial):
            _add(found, value, seen)
        else:
            found.update(digests.digest_of(value) or f"{type(value).__qualname__};".encode(errors="surrogateescape"))


def _add_source(found: blake2b, fn: types.FunctionType | type) -> bool:
    try:
        source = inspect.getsource(fn)
        # Within a block, so that it may be indented.
        indented = source[:1].isspace()
        body = ast.parse(f"if 1:\n{source}" if indented else source).body
    except (OSError, TypeError, SyntaxError, ValueError):
        return False
    if getattr(fn, "__name__", "") != "<lambda>":
        _add_tree(found, cast("ast.If", body[0]).body if indented else body)
        return True
    # The line may have anything beside it, such as the items.
    lambdas = [node for part in body for node in ast.walk(part) if isinstance(node, ast.Lambda)]
    if len(lambdas) == 1:
        _add_tree(found, lambdas[0])
    return len(lambdas) == 1


def _add_tree(found: blake2b, node: object) -> None:
    if isinstance(node, ast.AST):
        found.update(f"{type(node).__name__}(".encode())
        for name, field in ast.iter_fields(node):
            # What is empty may be unknown to another version of Python.
            if field is None or field == [] or name in _LAYOUT:
                continue
            found.update(f"{name}=".encode())
            if name == "body" and isinstance(node, _HAVE_TEXTS):
                field = _without_text(field)  # noqa: PLW2901 - what of it counts
            elif isinstance(node, ast.JoinedStr):
                field = _whole_texts(field)  # noqa: PLW2901 - likewise
            _add_tree(found, field)
        found.update(b")")
    elif isinstance(node, list):
        found.update(b"[")
        for part in cast("list[object]", node):
            _add_tree(found, part)
        found.update(b"]")
    else:
        found.update(f"{type(node).__name__} {node!r},".encode(errors="surrogateescape"))


def _without_text(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0]
    is_text = (
        isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    )
    return body[1:] if is_text else body


def _whole_texts(values: list[ast.expr]) -> list[ast.expr | str]:
    """Put the texts in an f-string together, which some versions of Python cut in two, or have empty."""
    whole: list[ast.expr | str] = []
    for value in values:
        if not isinstance(value, ast.Constant):
            whole.append(value)
        elif whole and isinstance(whole[-1], str):
            whole[-1] += str(value.value)
        elif value.value:
            whole.append(str(value.value))
    return whole


def _add_bytecode(found: blake2b, code: types.CodeType) -> None:
    found.update(f"{sys.implementation.cache_tag};".encode())
    found.update(code.co_code)
    found.update(repr((code.co_names, code.co_varnames, code.co_freevars)).encode(errors="surrogateescape"))
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            _add_bytecode(found, constant)
        else:
            found.update(digests.digest_of(constant) or b"?")
