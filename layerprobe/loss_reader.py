"""From the text of a loss expression to its parts; the text is never run as Python.

It is taken apart with `ast` and put together anew from what `loss_expression` knows: numbers, the
names `target` and `output`, arithmetic, comparisons, and the functions in its table. Everything
else is an error that shows the place.
"""

from __future__ import annotations

import ast
import difflib
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from layerprobe.loss_expression import (
    FUNCTIONS,
    NAMES,
    Call,
    Form,
    LossExpression,
    Name,
    Node,
    Plain,
    refuse,
)

_LONGEST, _DEEPEST = 1000, 40  # characters; brackets inside one another
_LARGEST, _LARGEST_POWER = 3e38, 100.0  # float32 ends there
_NOT_WHOLE = frozenset({"x_min", "x_max", "ord"})  # the plain arguments that may have decimals

_Fold = Callable[[Any, Any], Any]
_ARITHMETIC: Mapping[type[ast.operator], tuple[str, _Fold]] = {
    ast.Add: ("add", operator.add),
    ast.Sub: ("subtract", operator.sub),
    ast.Mult: ("multiply", operator.mul),
    ast.Div: ("divide", operator.truediv),
    ast.FloorDiv: ("floor_divide", operator.floordiv),
    ast.Mod: ("mod", operator.mod),
    # On floats: powers of whole numbers could fill the memory.
    ast.Pow: ("power", lambda base, exponent: float(base) ** float(exponent)),
}
_COMPARISONS: Mapping[type[ast.cmpop], str] = {
    ast.Lt: "less",
    ast.LtE: "less_equal",
    ast.Gt: "greater",
    ast.GtE: "greater_equal",
    ast.Eq: "equal",
    ast.NotEq: "not_equal",
}
_WORDS: Mapping[type[ast.AST], str] = {
    ast.Attribute: "attributes (after a dot) are not allowed; write mean(…), not keras.ops.mean(…)",
    ast.Subscript: "square brackets are not allowed; take(x, index, axis) picks one element",
    ast.BoolOp: "'and' and 'or' are not allowed; use logical_and(…) and logical_or(…)",
    ast.IfExp: "'if' is not allowed; use where(condition, x, y)",
    ast.Lambda: "a lambda is not allowed",
    ast.JoinedStr: "text is not allowed",
    ast.Tuple: "a tuple stands where a number or a tensor should",
    ast.Starred: "'*' before an argument is not allowed",
}


# What a formula for a Lambda layer may speak of: its input, or its inputs by number.
LAMBDA_NAMES = ("x", *(f"x{number}" for number in range(10)))


def read_loss(text: str) -> LossExpression:
    """Read a loss expression.

    Args:
        text: Numbers, `target`, `output`, arithmetic, comparisons, and functions of `FUNCTIONS`
            with their axes as whole numbers or tuples.

    Raises:
        LayerprobeError: It holds anything else (exit code 2); the message shows where.

    Example:
        >>> loss = read_loss("mean(square(target - output)) + 0.01*mean(abs(output))")
        >>> sorted(loss.names)
        ['output', 'target']
        >>> read_loss("mean(output.shape)")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        layerprobe.errors.LayerprobeError: The loss expression is wrong at character 6: ...
    """
    found = read_formula(text, NAMES)
    if "output" not in found.names:
        refuse(found.text, 0, "it does not hold `output`, so there is nothing to learn")
    return found


def read_formula(text: str, names: tuple[str, ...]) -> LossExpression:
    """Read a formula of some names, in the language of loss expressions.

    Args:
        text: The formula.
        names: The tensors it may speak of.

    Raises:
        LayerprobeError: It holds anything else (exit code 2); the message shows where.

    Example:
        >>> sorted(read_formula("x/127.5 - 1", ("x",)).names)
        ['x']
    """
    text = " ".join(text.split())
    if len(text) > _LONGEST:
        refuse(text, _LONGEST, f"it is longer than {_LONGEST} characters", names)
    for at, character in enumerate(text):
        if not (character.isascii() and character.isprintable()):
            refuse(text, at, f"{character!a} is not allowed", names)
    try:
        tree = ast.parse(text, mode="eval")
    except SyntaxError as error:
        refuse(text, (error.offset or 1) - 1, f"it cannot be read: {error.msg}", names)
    except (ValueError, RecursionError, MemoryError):
        refuse(text, 0, "it cannot be read", names)
    reader = _Reader(text, names)
    root = reader.node(tree.body)
    if not reader.names:
        refuse(text, 0, f"it holds none of {', '.join(names[:2])}", names)
    return LossExpression(text, frozenset(reader.names), root, names)


class _Reader:
    """From the nodes of `ast` to ours, which hold nothing but what is allowed."""

    def __init__(self, text: str, allowed: tuple[str, ...]) -> None:
        self._text = text
        self._allowed = allowed
        self._depth = 0
        self.names: set[str] = set()

    def node(self, node: ast.expr) -> Node:
        """Return what a node stands for, or refuse it."""
        self._depth += 1
        if self._depth > _DEEPEST:
            self._refuse(node, "it is nested too deeply")
        try:
            return self._node(node)
        finally:
            self._depth -= 1

    def _node(self, node: ast.expr) -> Node:
        handlers: dict[type[ast.expr], Callable[[Any], Node]] = {
            ast.Constant: self._number,
            ast.Name: self._name,
            ast.UnaryOp: self._sign,
            ast.BinOp: self._arithmetic,
            ast.Compare: self._comparison,
            ast.Call: self._call,
        }
        if type(node) not in handlers:
            self._refuse(node, _WORDS.get(type(node), f"{type(node).__name__} is not allowed"))
        return handlers[type(node)](node)

    def _name(self, node: ast.Name) -> Node:
        if node.id not in self._allowed:
            near = _nearest(node.id, self._allowed)
            self._refuse(node, f"{node.id!r} is not known{near}")
        self.names.add(node.id)
        return Name(node.id, node.col_offset)

    def _sign(self, node: ast.UnaryOp) -> Node:
        if not isinstance(node.op, (ast.USub, ast.UAdd)):
            self._refuse(node, "'not' and '~' are not allowed; use logical_not(…)")
        inner = self.node(node.operand)
        if isinstance(node.op, ast.UAdd):
            return inner
        if isinstance(inner, (int, float)):
            return -inner
        return Call("negative", (inner,), {}, node.col_offset)

    def _number(self, node: ast.Constant) -> int | float:
        value = node.value
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self._refuse(node, f"a {type(value).__name__} is not allowed here")
        if not abs(value) <= _LARGEST:
            self._refuse(node, "the number is too large")
        return value

    def _arithmetic(self, node: ast.BinOp) -> Node:
        if type(node.op) not in _ARITHMETIC:
            self._refuse(
                node, f"{type(node.op).__name__} is not allowed; the signs are + - * / // % **"
            )
        name, fold = _ARITHMETIC[type(node.op)]
        left, right = self.node(node.left), self.node(node.right)
        if name == "power":
            self._check_power(node.right, right)
        if not (_is_number(left) and _is_number(right)):
            return Call(name, (left, right), {}, node.col_offset)
        try:
            value = fold(left, right)
        except ArithmeticError:
            value = math.nan
        if isinstance(value, complex) or not abs(value) <= _LARGEST:
            self._refuse(node, "it comes to no number that float32 holds")
        found: int | float = value
        return found

    def _check_power(self, node: ast.expr, exponent: Node) -> None:
        if isinstance(exponent, (int, float)) and abs(exponent) > _LARGEST_POWER:
            self._refuse(node, f"the exponent is beyond {_LARGEST_POWER:.0f}")

    def _comparison(self, node: ast.Compare) -> Node:
        name = _COMPARISONS.get(type(node.ops[0]))
        if name is None or len(node.ops) > 1:
            self._refuse(node, "only one of < <= > >= == != at a time is allowed")
        both = self.node(node.left), self.node(node.comparators[0])
        if all(_is_number(side) for side in both):
            self._refuse(node, "two numbers are compared")
        return Call(name, both, {}, node.col_offset)

    def _call(self, node: ast.Call) -> Node:
        if not isinstance(node.func, ast.Name):
            self._refuse(node.func, _WORDS.get(type(node.func), "this cannot be called"))
        name = node.func.id
        form = FUNCTIONS.get(name)
        if form is None:
            self._refuse(node.func, f"there is no function {name!r}{_nearest(name, self._allowed)}")
        if len(node.args) < form.tensors:
            self._refuse(node, f"{name} takes {form.tensors} tensors")
        tensors = tuple(self.node(argument) for argument in node.args[: form.tensors])
        if all(_is_number(tensor) for tensor in tensors):
            self._refuse(node, f"{name} holds neither {' nor '.join(self._allowed[:2])}")
        if name == "power":
            self._check_power(node.args[1], tensors[1])
        return Call(name, tensors, self._options(node, form), node.col_offset)

    def _options(self, node: ast.Call, form: Form) -> dict[str, Plain]:
        positional = node.args[form.tensors :]
        if len(positional) > len(form.options):
            self._refuse(positional[len(form.options)], "there is an argument too many")
        given: list[tuple[str | None, ast.expr]] = list(zip(form.options, positional, strict=False))
        given += [(keyword.arg, keyword.value) for keyword in node.keywords]
        options: dict[str, Plain] = {}
        for name, value in given:
            if name is None or name not in form.options or name in options:
                known = ", ".join(form.options) or "none"
                self._refuse(value, f"no argument {name or '**'!r} is wanted here; known: {known}")
            options[name] = self._plain(value, whole=name not in _NOT_WHOLE)
        return options

    def _plain(self, node: ast.expr, *, whole: bool) -> Plain:
        """Return an argument that is no tensor: a number, True, False, None, or an axis tuple."""
        if isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, bool)):
            return node.value
        if isinstance(node, ast.Tuple):
            return tuple(self._whole(element) for element in node.elts)
        value = self.node(node)
        if not isinstance(value, (int, float)):
            self._refuse(node, "a plain number is wanted here, not a tensor")
        return self._whole(node) if whole else value

    def _whole(self, node: ast.expr) -> int:
        value = self.node(node)
        if not isinstance(value, int) or abs(value) > 1_000_000:
            self._refuse(node, "a whole number up to 1,000,000 is wanted here")
        return value

    def _refuse(self, node: ast.expr, what: str) -> NoReturn:
        refuse(self._text, node.col_offset, what, self._allowed)


def _is_number(node: Node) -> bool:
    return isinstance(node, (int, float))


def _nearest(name: str, names: tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, [*names, *FUNCTIONS], 3, cutoff=0.6)
    return f"; closest: {', '.join(near)}" if near else ""
