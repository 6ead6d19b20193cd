"""Run lines of the page about other libraries, one after the other, in a process of its own: see `main`."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import sys


def value_of(line: str, names: dict[str, object]) -> str:
    """Run a line: what it prints, or else the value of its last expression, as an interpreter would show it."""
    body = ast.parse(line).body
    last = body[-1]
    value = None
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        if isinstance(last, ast.Expr):
            exec(compile(ast.Module(body[:-1], []), line, "exec"), names)
            value = eval(compile(ast.Expression(last.value), line, "eval"), names)
        else:
            exec(compile(ast.Module(body, []), line, "exec"), names)
    return printed.getvalue().strip() or (value if isinstance(value, str) else repr(value))


def main() -> None:
    """Take ``[module, opening code, lines]`` from standard input, and print the value of each line.

    The module lies in the working directory, and has what workers need, too. What the opening makes is ended.
    """
    sys.path.insert(0, "")
    module, opening, lines = json.load(sys.stdin)
    names: dict[str, object] = {}
    exec(f"from {module} import *", names)
    exec(opening, names)
    values = []
    for line in lines:
        try:
            values.append(value_of(line, names))
        except Exception as error:
            error.add_note(line)
            raise
    for name in ("group", "pool", "executor"):
        for end in ("terminate", "stop", "shutdown", "join"):
            if hasattr(names.get(name), end):
                getattr(names[name], end)()
    print(json.dumps(values))


if __name__ == "__main__":
    main()
