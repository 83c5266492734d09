"""What Keras' layers compute when they are called by hand, recorded on one engine for another.

Run as a program with the name of a file it computes every case of `test_shapes.py` on the engine
that the environment names, and writes the results there. Nothing here imports layerprobe.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from shape_harness import CELLS, SPREAD, Array, Case, build, mapped

# Strings are no numbers to be fed; Keras' symbolic Equalization returns the tensor it takes.
LEFT_OUT = frozenset({"Equalization"})


def cases() -> dict[str, Case]:
    """Return the calls that take numbers, by name."""
    from test_shapes import COMPUTED

    return {
        f"{number}-{case}": case
        for number, case in enumerate(COMPUTED)
        if case.inputs[0].dtype != "string" and case.spec.class_name not in LEFT_OUT
    }


def rows_of(case: Case) -> list[Any]:
    """Return made-up rows for every tensor that a case takes."""
    at = np.random.default_rng(7)
    arrays: list[Array] = list(case.inputs)
    mapped(case.kwargs, arrays.append)
    return [_numbers(at, array, case) for array in arrays]


def _numbers(at: np.random.Generator, array: Array, case: Case) -> Any:
    shape = [(2 if axis == 0 else 8) if n is None else n for axis, n in enumerate(array.shape)]
    if array.dtype == "float32" and "Embedding" not in case.spec.class_name:
        return at.standard_normal(shape).astype("float32")
    return at.integers(0, 2 if array.dtype == "bool" else 5, shape).astype(array.dtype)


def called(case: Case, layer: Any, make: Callable[[Array], Any]) -> list[Any]:
    """Return what a layer gives for the tensors that `make` makes, in the inference phase."""
    import keras

    tensors = [make(array) for array in case.inputs]
    arguments = tensors if len(tensors) == 1 else [tensors]
    if case.spec.class_name in SPREAD:
        arguments = tensors
    elif case.spec.class_name in CELLS:
        arguments = [tensors[0], tensors[1:]]
    phase = {"training": False} if "training" in inspect.signature(layer.call).parameters else {}
    return keras.tree.flatten(layer(*arguments, **phase, **mapped(case.kwargs, make)))


def layer_of(case: Case) -> tuple[Any, list[Any], list[Any]]:
    """Return a layer whose weights are the same on every engine, and the symbolic call of it."""
    import keras

    inputs: list[Any] = []

    def symbolic(array: Array) -> Any:
        inputs.append(keras.Input(batch_shape=array.shape, dtype=array.dtype))
        return inputs[-1]

    layer = build(case.spec)
    outputs = called(case, layer, symbolic)
    at = np.random.default_rng(3)
    for weight in layer.weights:
        if "float" in str(weight.dtype):
            low = 0.5 if "variance" in weight.name else -0.5
            weight.assign(at.uniform(low, low + 1.0, weight.shape).astype("float32"))
    return layer, inputs, outputs


def main(path: str) -> None:
    """Record all cases."""
    import keras

    found = {}
    for number, case in enumerate(cases().values()):
        layer, _, _ = layer_of(case)
        rows = iter(rows_of(case))
        results = called(case, layer, lambda _, rows=rows: keras.ops.convert_to_tensor(next(rows)))
        for at, result in enumerate(results):
            found[f"{number}:{at}"] = keras.ops.convert_to_numpy(result)
    np.savez(path, **found)


if __name__ == "__main__":
    main(sys.argv[1])
