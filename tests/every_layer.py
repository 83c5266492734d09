"""A small model around a layer, the numbers for it, and the same layers called one by one.

The numbers that a function must return come from `Net.eagerly`: the layers of the model called by
hand, in order, on the engine's own tensors. Nothing there asks layerprobe.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import pytest
from shape_harness import Array, Case, build, mapped, outputs_of

from layerprobe import backend

OPEN = 8  # stands for a dimension that a case leaves open
WORDS = np.array(["a", "b", "c", "a b"], object)


class Net(NamedTuple):
    """A model around one layer: a layer in front of each of its inputs, and all layer outputs."""

    case: Case
    front: list[Any]
    layer: Any
    inputs: list[Any]
    outputs: list[Any]

    def eagerly(self, rows: list[Any], cast: str | None = None) -> list[Any]:
        """Return what every layer gives when it is called by hand on the rows.

        Args:
            rows: Arrays for the inputs.
            cast: The dtype in which the layer gets its inputs, if not as they are.
        """
        import keras

        given = [keras.ops.convert_to_tensor(row) for row in rows]
        fed = [one(value) for one, value in zip(self.front, given, strict=True)]
        values = iter([keras.ops.cast(value, cast) for value in fed] if cast else fed)
        case = self.case._replace(kwargs=self.case.kwargs | phase(self.layer))
        return [*fed, *outputs_of(self.layer, case, lambda _: next(values))]


def phase(layer: Any) -> dict[str, Any]:
    """Return the argument that tells a layer to infer, if it asks."""
    return {"training": False} if "training" in inspect.signature(layer.call).parameters else {}


def net_around(case: Case, front: str = "Identity", **arguments: Any) -> Net:
    """Return a model around the layer of a case, its weights and statistics random.

    Args:
        case: The layer and its call.
        front: The class of the layer in front of each sequence of numbers.
        **arguments: More arguments of the layer.
    """
    import keras

    inputs: list[Any] = []
    fronts: list[Any] = []
    fed: list[Any] = []

    def symbolic(array: Array) -> Any:
        inputs.append(keras.Input(batch_shape=array.shape, dtype=array.dtype))
        kind = front if array.dtype == "float32" and len(array.shape) == 3 else "Identity"
        fronts.append(getattr(keras.layers, kind)())
        fed.append(fronts[-1](inputs[-1]))
        return fed[-1]

    with seeded_weights():
        layer = build(case.spec._replace(arguments=case.spec.arguments | arguments))
        outputs = outputs_of(layer, case, symbolic)
    shake(layer)
    return Net(case, fronts, layer, inputs, [*fed, *outputs])


@contextmanager
def seeded_weights(seed: int = 2) -> Iterator[None]:
    """Draw kernels with NumPy: the same on every engine, and nothing to compile for each shape."""
    import keras

    at = np.random.default_rng(seed)

    def draw(_: Any, shape: Any, dtype: Any = None, **__: Any) -> Any:
        fan = max(1, int(np.prod(shape[:-1])))
        values = at.uniform(-1, 1, shape) * (3 / fan) ** 0.5
        return keras.ops.cast(values.astype("float32"), dtype or "float32")

    initializers = keras.initializers
    with pytest.MonkeyPatch.context() as patch:
        for kind in (initializers.VarianceScaling, initializers.Orthogonal):
            patch.setattr(kind, "__call__", draw)
        yield


def shake(layer: Any, seed: int = 3) -> None:
    """Give biases, scales and statistics numbers that show an error when one is left out."""
    import keras

    at = np.random.default_rng(seed)
    for weight in layer.weights:
        dtype = keras.backend.standardize_dtype(weight.dtype)
        if "float" not in dtype or "kernel" in weight.name:
            continue
        if "variance" in weight.name:
            value = at.uniform(0.5, 1.5, weight.shape)
        else:
            old = keras.ops.convert_to_numpy(keras.ops.cast(weight.value, "float32"))
            value = old + at.uniform(-0.2, 0.3, weight.shape)
        weight.assign(keras.ops.cast(value.astype("float32"), dtype))


def rows_of(case: Case, seed: int = 7) -> list[Any]:
    """Return rows for every input of a case: two, or as many as it fixes."""
    at = np.random.default_rng(seed)
    arrays: list[Array] = list(case.inputs)
    mapped(case.kwargs, arrays.append)
    return [_numbers(at, array, case) for array in arrays]


def _numbers(at: np.random.Generator, array: Array, case: Case) -> Any:
    shape = [(2 if axis == 0 else OPEN) if n is None else n for axis, n in enumerate(array.shape)]
    if array.dtype == "string":
        return at.choice(WORDS, shape)
    if array.dtype == "float32" and "Embedding" not in case.spec.class_name:
        return at.standard_normal(shape).astype("float32")
    return at.integers(0, 2 if array.dtype == "bool" else 5, shape).astype(array.dtype)


def assert_same(result: Any, expected: Any, tolerance: float = 1e-6) -> None:
    """Check shape, dtype and values; a difference is measured against the largest value."""
    import keras

    wanted = np.asarray(keras.ops.convert_to_numpy(expected))
    assert (result.shape, result.dtype) == (wanted.shape, wanted.dtype)
    if wanted.dtype.kind in "biuO":
        np.testing.assert_array_equal(result, wanted)
        return
    wide = "complex128" if wanted.dtype.kind == "c" else "float64"
    result, wanted = result.astype(wide), wanted.astype(wide)
    assert np.isfinite(wanted).all()
    bound = tolerance * np.abs(wanted).max(initial=0.0)
    np.testing.assert_allclose(result, wanted, rtol=0, atol=bound)


def check(net: Net, rows: list[Any], tolerance: float = 1e-6, cast: str | None = None) -> None:
    """Check all layer outputs of a model, computed in one pass, against its layers by hand."""
    # First, so that a stateful layer is not yet moved by the calls by hand.
    results = backend.function(net.inputs, net.outputs)(rows)
    for result, expected in zip(results, net.eagerly(rows, cast), strict=True):
        assert_same(result, expected, tolerance)
