"""What Keras does when a model is run: every call of every layer, written down as it happens.

No graph is walked for that and layerprobe is not asked; `Layer.__call__` itself is watched.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import pytest

Path = tuple[tuple[str, int], ...]
OPEN = 5  # stands for a dimension that a model leaves open


class Run(NamedTuple):
    """One call of a layer as it happened: its path, its arguments' and its results' tensors."""

    path: Path
    arguments: list[Any]
    results: list[Any]


def tensors(structure: Any) -> list[Any]:
    """Return the tensors in a structure, in Keras' order."""
    import keras

    return [x for x in keras.tree.flatten(structure) if keras.ops.is_tensor(x)]


def recorded(model: Any, inputs: Any) -> tuple[list[Run], Any]:
    """Run a model and return every call inside it, in the order they happened, and its output.

    Layers inside layers that are no models, such as the cells of an RNN, are left out.
    """
    import keras

    runs: list[Run] = []
    around: list[tuple[Any, Path, Counter[str]]] = []
    layer_call, operation_call = keras.layers.Layer.__call__, keras.Operation.__call__

    def watch(call: Any) -> Any:
        def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
            inside, path, counter = around[-1] if around else (None, (), Counter())
            is_part = isinstance(inside, (keras.Model, type(None))) and self is not inside
            if not is_part:
                return call(self, *args, **kwargs)
            here = (*path, (self.name, counter[self.name])) if around else ()
            counter[self.name] += 1
            around.append((self, here, Counter()))
            try:
                result = call(self, *args, **kwargs)
            finally:
                around.pop()
            runs.append(Run(here, tensors([args, kwargs]), tensors(result)))
            return result

        return watched

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.layers.Layer, "__call__", watch(layer_call))
        patch.setattr(keras.Operation, "__call__", watch(operation_call))
        output = model(inputs, training=False)
    return runs, output


def rows_for(live: Any) -> list[Any]:
    """Return two rows for every input: small whole numbers that fit every dtype."""
    import keras

    at = np.random.default_rng(5)
    shapes = [(2, *(OPEN if n is None else n for n in t.shape[1:])) for t in live.inputs]
    return [
        keras.ops.convert_to_tensor(at.integers(0, 9, shape), t.dtype)
        for shape, t in zip(shapes, live.inputs, strict=True)
    ]


def arranged(live: Any, fed: list[Any]) -> Any:
    """Return inputs in the structure that the model takes: one by itself, a list or a dict."""
    import keras

    structure = live.inputs[0] if isinstance(live, keras.Sequential) else live.input
    return keras.tree.pack_sequence_as(structure, fed)
