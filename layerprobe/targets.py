"""What a part of a model is to learn: the targets' rows, and the loss of them and its output."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from layerprobe.errors import DataError, LayerprobeError
from layerprobe.feed import Feed
from layerprobe.layers import Shape, TensorSpec
from layerprobe.loss_expression import FUNCTIONS, LossExpression
from layerprobe.sources import array_source, open_source

if TYPE_CHECKING:
    from layerprobe.backend.trainer import LossOf

_OF_CLASS_NUMBERS = ("sparse", "categoricalgeneralized")  # beginnings of losses' names

TargetGiven: TypeAlias = "str | Path | np.ndarray[Any, Any]"


def check_target_given(target: TargetGiven | None, expression: LossExpression | None) -> None:
    """Make sure that there is a target exactly if the loss holds it.

    Raises:
        DataError: It is not so (exit code 2).
    """
    wanted = expression is None or "target" in expression.names
    if wanted == (target is not None):
        return
    raise DataError(
        "No target is given." if wanted else "A target is given, which the loss does not hold.",
        expected="--target with one row for each row of the input"
        if wanted
        else "no --target, or a loss expression with `target` in it",
        exit_code=2,
    )


def target_feed(target: TargetGiven, rows: int) -> Feed:
    """Open the targets: floats as float32, everything else as int32.

    Args:
        target: A file, as for `layerprobe.sources.open_source`, or an array.
        rows: How many there must be.

    Raises:
        DataError: They cannot be opened, or are more or fewer.
    """
    if isinstance(target, (str, Path)):
        source = open_source(
            target, fits=lambda shape, dtype: dtype.kind in "biuf" and shape[:1] == (rows,)
        )
    else:
        source = array_source(target, "<array for target>")
    if source.shape[0] != rows:
        source.close()
        raise DataError(
            f"{source.location} holds {source.shape[0]} targets.",
            expected=f"one for each of the {rows} rows of the input",
            location=source.location,
        )
    dtype = "float32" if source.dtype.kind == "f" else "int32"
    return Feed(TensorSpec("target", (None, *source.shape[1:]), dtype), source)


def loss_of(
    name: str | None,
    expression: LossExpression | None,
    target: Feed | None,
    shape: Shape,
    address: str,
) -> LossOf:
    """Return what makes the symbolic loss of the symbolic target and output.

    Args:
        name: The name of one of Keras' losses.
        expression: Or a loss expression.
        target: The targets' rows, if there are any.
        shape: The output's shape.
        address: The output's address, for messages.

    Raises:
        BackendError: Keras has no such loss (exit code 2).
        DataError: The targets do not fit the output.
    """
    from layerprobe.backend.expressions import lazy
    from layerprobe.backend.named import loss_named, operations_named

    if expression is not None:
        operations = operations_named(FUNCTIONS)

        def formula(wanted: Any, output: Any) -> Any:
            loss = expression.value({"target": wanted, "output": output}, operations)
            if tuple(loss.shape) != () or "float" not in str(loss.dtype):
                raise LayerprobeError(
                    f"The loss expression comes to {loss.dtype} of shape {tuple(loss.shape)}.",
                    expected="one number; take its mean or sum: mean(…)",
                    exit_code=2,
                )
            return loss

        return formula
    loss = loss_named(str(name))
    if target is not None:
        _check_shape(target, shape, str(name), address)
    return lambda wanted, output: lazy(loss, wanted, output, name=f"the loss {name}")


def _check_shape(feed: Feed, output: Shape, loss: str, address: str) -> None:
    """Refuse targets that would be spread along an axis in silence, or name no class there is."""
    kind, target = loss.replace("_", "").lower(), feed.source.shape
    if kind == "ctc":
        return
    sparse = kind.startswith(_OF_CLASS_NUMBERS)
    fits = [(*output[:-1], 1), output[:-1]] if sparse else [output]
    if output[-1:] == (1,) and not sparse:
        fits.append(output[:-1])
    if sparse:
        feed.limit = output[-1]
    if any(_agree(target[1:], shape[1:]) for shape in fits):
        return
    listed = " or ".join(str(shape[1:]) for shape in fits)
    numbers = not sparse and _agree(target[1:], output[1:-1])
    raise DataError(
        f"The targets have rows of shape {target[1:]}.",
        expected=f"rows of shape {listed}, for {loss} of {address}",
        fix="For class numbers there is --loss sparse_categorical_crossentropy." if numbers else "",
        shape=target,
    )


def _agree(have: Shape, wanted: Shape) -> bool:
    pairs = zip(have, wanted, strict=False)
    return len(have) == len(wanted) and all(None in pair or pair[0] == pair[1] for pair in pairs)
