"""What can be changed in a module, one place at a time: conditions, operators, numbers, what is left out."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import attrs

_BOUNDS: dict[type[ast.cmpop], type[ast.cmpop]] = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}
_OPPOSITES: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Pow: ast.Mult,
}
_NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}
_TYPES = frozenset({"annotation", "returns", "decorator_list", "args"})
"""Fields of functions and assignments that are no code of theirs."""


@attrs.frozen
class Change:
    """One thing in the place of another."""

    function: str
    """The qualified name of the function; a name of the module for one of its numbers."""
    statement: int
    """The line where its statement begins."""
    line: int
    lines: frozenset[int]
    """A test that runs none of these does not see it."""
    text: str
    _owner: ast.AST = attrs.field(repr=False)
    _field: str
    _index: int | None
    new: ast.AST | None

    def apply(self) -> None:
        """Put it into the tree, for good."""
        if self._index is None:
            setattr(self._owner, self._field, self.new)
        else:
            getattr(self._owner, self._field)[self._index] = self.new


def changes_of(tree: ast.Module) -> Iterator[Change]:
    """Give all changes of a module's functions and methods, and of the numbers that it gives names to."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield from _of_function(node, node.name)
        elif isinstance(node, ast.ClassDef):
            for method in node.body:
                if isinstance(method, ast.FunctionDef):
                    yield from _of_function(method, f"{node.name}.{method.name}")
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant | ast.BinOp):
            name = ast.unparse(node.targets[0])
            users = frozenset(one.lineno for one in ast.walk(tree) if isinstance(one, ast.Name) and one.id == name)
            for change in _within(node, name, node):
                yield attrs.evolve(change, lines=users)


def _of_function(function: ast.FunctionDef, name: str) -> Iterator[Change]:
    for index, statement in enumerate(function.body):
        yield from _at(function, "body", index, statement, name, statement)


def _at(
    owner: ast.AST, field: str, index: int | None, node: ast.AST, function: str, statement: ast.stmt
) -> Iterator[Change]:
    """Give the changes of a node that has its place in another, and of what is within it."""
    if isinstance(node, ast.stmt):
        statement = node
    if isinstance(node, ast.Assert) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
        return  # what type checkers or readers are told
    place = node if isinstance(node, ast.expr | ast.stmt) else owner
    first, last = getattr(place, "lineno", statement.lineno), getattr(place, "end_lineno", statement.lineno)
    lines = frozenset({statement.lineno, *range(first, last + 1)})
    for new in (*_alternatives(node), *_in_place(owner, field, node)):
        text = f"{_shown(node)}  ->  {_shown(new)}"
        yield Change(function, statement.lineno, first, lines, text, owner, field, index, new)
    yield from _within(node, function, statement)


def _within(owner: ast.AST, function: str, statement: ast.stmt) -> Iterator[Change]:
    for field, value in ast.iter_fields(owner):
        if field in _TYPES and isinstance(owner, ast.stmt | ast.arg):
            continue
        if isinstance(value, ast.AST):
            yield from _at(owner, field, None, value, function, statement)
        elif isinstance(value, list):
            for index, one in enumerate(value):
                if isinstance(one, ast.AST):
                    yield from _at(owner, field, index, one, function, statement)


def _shown(node: ast.AST | None) -> str:
    return "nothing" if node is None else ast.unparse(node).splitlines()[0]


def _in_place(owner: ast.AST, field: str, node: ast.AST) -> Iterator[ast.AST]:
    """Give what depends on where it is: one of several assignments, or what decides something."""
    if isinstance(owner, ast.Tuple) and isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
        yield ast.Name("_", ast.Store())
    decides = field == "test" or (field == "ifs" and isinstance(owner, ast.comprehension))
    if decides:
        yield ast.Constant(value=False)
        if not isinstance(owner, ast.While):
            yield ast.Constant(value=True)
    # Where it is decided beforehand as well, what is the opposite each time would be noticed all the more.
    if isinstance(node, ast.Compare):
        decides |= isinstance(owner, ast.BoolOp)
        for index, operator in enumerate(node.ops):
            other = _BOUNDS.get(type(operator)) or (None if decides else _OPPOSITES.get(type(operator)))
            if other is not None:
                ops = [*node.ops[:index], other(), *node.ops[index + 1 :]]
                yield ast.Compare(node.left, ops, node.comparators)
    if isinstance(node, ast.UnaryOp) and not decides:
        yield node.operand


def _alternatives(node: ast.AST) -> Iterator[ast.AST | None]:
    match node:
        case ast.Expr() | ast.Continue() | ast.Break() | ast.Return(value=None) | ast.Delete():
            yield ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript() | ast.Tuple()]):
            yield ast.Pass()
        case ast.AugAssign(target, operator, value):
            yield ast.Pass()
            if type(operator) in _ARITHMETIC:
                yield ast.AugAssign(target, _ARITHMETIC[type(operator)](), value)
        case ast.BoolOp(operator, values):
            for out in values:
                rest = [one for one in values if one is not out]
                yield rest[0] if len(rest) == 1 else ast.BoolOp(operator, rest)
        case ast.BinOp(left, ast.BitOr(), right):
            yield from (left, right)
        case ast.BinOp(left, operator, right) if type(operator) in _ARITHMETIC:
            yield ast.BinOp(left, _ARITHMETIC[type(operator)](), right)
        case ast.Call():
            yield from _calls(node)
        case ast.Slice(lower, upper, step):
            if lower is not None:
                yield ast.Slice(None, upper, step)
            if upper is not None:
                yield ast.Slice(lower, None, step)
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int() | float() as value):
            yield from (ast.Constant(value + 1), ast.Constant(value - 1))
        case ast.Constant(value=str(value)) if value:
            yield ast.Constant("")


def _calls(call: ast.Call) -> Iterator[ast.expr]:
    match call.func:
        case ast.Name(id="min" | "max" | "any" | "all" as name):
            yield ast.Call(ast.Name(_NAMES[name], ast.Load()), call.args, call.keywords)
            if len(call.args) > 1:
                yield from call.args  # as if the others bounded nothing
        case ast.Name(id="sorted" | "reversed"):
            yield call.args[0]
        case ast.Attribute(value=whole, attr="append" | "appendleft" as name):
            other = "appendleft" if name == "append" else "append"
            yield ast.Call(ast.Attribute(whole, other, ast.Load()), call.args, call.keywords)
