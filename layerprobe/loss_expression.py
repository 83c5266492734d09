"""A loss as a formula, such as `mean(square(target - output))`: what it is made of, and its value.

Numbers, the names `target` and `output`, and the functions of keras.ops in the table below; there
is nothing else that a formula could hold. Nothing here knows a framework: who wants its value
brings the functions along. `loss_reader` makes formulas of text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn, TypeAlias

from layerprobe.errors import LayerprobeError

NAMES = ("target", "output")

Plain: TypeAlias = "int | float | bool | tuple[int, ...] | None"


class Form(NamedTuple):
    """How a function is called: how many tensors it takes, then which plain arguments."""

    tensors: int
    options: tuple[str, ...] = ()


_OVER = ("axis", "keepdims")
_UNARY = """abs absolute square sqrt rsqrt exp expm1 log log1p log2 log10 sin cos tan tanh sinh cosh
    arctan sigmoid log_sigmoid softplus softsign relu relu6 elu selu gelu silu sign floor ceil round
    negative reciprocal logical_not stop_gradient erf"""
_BINARY = """add subtract multiply divide divide_no_nan power mod floor_divide maximum minimum
    arctan2 logical_and logical_or logical_xor equal not_equal greater greater_equal less less_equal
    """
_REDUCING = "mean sum max min prod var std logsumexp any all argmax argmin"
FUNCTIONS: Mapping[str, Form] = {
    **dict.fromkeys(_UNARY.split(), Form(1)),
    **dict.fromkeys(_BINARY.split(), Form(2)),
    **dict.fromkeys(_REDUCING.split(), Form(1, _OVER)),
    "norm": Form(1, ("ord", *_OVER)),
    "where": Form(3),
    "clip": Form(1, ("x_min", "x_max")),
    "softmax": Form(1, ("axis",)),
    "log_softmax": Form(1, ("axis",)),
    "one_hot": Form(1, ("num_classes", "axis")),
    "expand_dims": Form(1, ("axis",)),
    "squeeze": Form(1, ("axis",)),
    "reshape": Form(1, ("newshape",)),
    "transpose": Form(1, ("axes",)),
    "take": Form(1, ("indices", "axis")),
    "matmul": Form(2),
    "categorical_crossentropy": Form(2, ("from_logits", "axis")),
    "binary_crossentropy": Form(2, ("from_logits",)),
    "sparse_categorical_crossentropy": Form(2, ("from_logits", "axis")),
}
_ELEMENTWISE = frozenset([*_BINARY.split(), "where"])


@dataclass(frozen=True)
class Name:
    """One of `NAMES`, and where it stands in the text."""

    name: str
    at: int


@dataclass(frozen=True)
class Call:
    """A function, what it is given, and where it stands in the text."""

    function: str
    tensors: tuple[Node, ...]
    options: dict[str, Plain]
    at: int


Node: TypeAlias = "Name | Call | int | float"


@dataclass(frozen=True)
class LossExpression:
    """A loss that was read and found to be made of allowed parts.

    Attributes:
        text: What was read.
        names: Which of `target` and `output` occur in it.
    """

    text: str
    names: frozenset[str]
    _root: Node
    _allowed: tuple[str, ...] = NAMES

    def value(self, given: Mapping[str, Any], operations: Mapping[str, Callable[..., Any]]) -> Any:
        """Return what the expression comes to.

        Args:
            given: The tensors for `target` and `output`, symbolic or not.
            operations: The functions of `FUNCTIONS`, by name.

        Raises:
            LayerprobeError: Shapes do not go together (exit code 2).
        """
        return self._of(self._root, given, operations)

    def _of(self, node: Node, given: Mapping[str, Any], operations: Mapping[str, Any]) -> Any:
        if isinstance(node, Name):
            return given[node.name]
        if not isinstance(node, Call):
            return node
        values = [self._of(inner, given, operations) for inner in node.tensors]
        if node.function in _ELEMENTWISE:
            self._check_shapes(node, values)
        try:
            return operations[node.function](*values, **node.options)
        except Exception as error:  # noqa: BLE001 - whatever Keras raises about shapes and axes
            said = " ".join(str(error).split())[:200]
            what = f"{node.function} cannot be computed: {said}"
            refuse(self.text, node.at, what, self._allowed)

    def _check_shapes(self, node: Call, values: list[Any]) -> None:
        """Refuse what would be spread along an axis that nobody meant, in silence."""
        shapes = [tuple(shape) for v in values if (shape := getattr(v, "shape", ()))]
        bare = all(isinstance(inner, Name) for inner in node.tensors)
        if len({len(shape) for shape in shapes}) > 1 or (bare and len(set(shapes)) > 1):
            listed = " and ".join(str(shape) for shape in shapes)
            help_ = "use keepdims=True, one_hot, expand_dims or squeeze"
            what = f"shapes {listed} do not go together; {help_}"
            refuse(self.text, node.at, what, self._allowed)


def refuse(text: str, at: int, what: str, names: tuple[str, ...] = NAMES) -> NoReturn:
    """Raise the error of a wrong expression, with a mark under the place."""
    loss = names == NAMES
    start = max(0, at - 50)
    shown = text[start : start + 100]
    raise LayerprobeError(
        f"The {'loss expression' if loss else 'formula'} is wrong at character {at + 1}: {what}.\n"
        f"  {shown}\n  {' ' * (at - start)}^",
        expected=f"numbers, {', '.join(names[:2])}, arithmetic, comparisons and functions of "
        f"keras.ops, as in {'mean(square(target - output))' if loss else 'x/127.5 - 1'}",
        exit_code=2,
        position=at,
    )
