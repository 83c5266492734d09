"""The shapes that outputs will have, found on shapes alone: nothing is compiled or computed."""

from __future__ import annotations

from collections.abc import Sequence

from layerprobe.backend import compat, compat_state
from layerprobe.backend.program import Program


def output_shapes(
    program: Program, shapes: Sequence[tuple[int | None, ...]]
) -> list[tuple[int | None, ...]] | None:
    """Return the shape of each output of a program.

    Args:
        program: The program.
        shapes: The shape of each input, with no more open sizes than need be.

    Returns:
        The shapes; None where something cannot be run on shapes.
    """
    fed = [
        compat.KerasTensor(shape, dtype=symbol.dtype)
        for shape, symbol in zip(shapes, program.plan.inputs, strict=True)
    ]
    try:
        with compat_state.names_kept():
            found = compat.output_spec(lambda *tensors: program.plan.run(tensors), fed)
    except Exception:  # noqa: BLE001 - whatever the engine raises: the first batch will tell
        return None
    return [tuple(spec.shape) for spec in found]
