"""One engine's contest, in this process: prints what every turn took, as JSON.

    python -m benchmarks.function.contest REPEATS

A call of the function takes and returns NumPy arrays, as `predict_on_batch` does.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from layerprobe import backend as K  # noqa: N812 - the name that users of Keras 2 gave it

Contestants = dict[str, Callable[[], object]]
_MIDDLE = "conv3_block4_out"


def main() -> None:
    """Let the contestants take turns."""
    repeats = int(sys.argv[1])
    cases = {"forward": (_forward(), 200), "update": (_update(), 50), "middle": (_middle(), 3)}
    turns = {name: _turns(who, repeats, calls) for name, (who, calls) in cases.items()}
    print(json.dumps({"turns": turns, "counts": {**_steps(), "traces": _traces()}}))


def _turns(contestants: Contestants, repeats: int, calls: int) -> dict[str, list[float]]:
    """Return the seconds that one call took, in each turn."""
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(repeats + 1):
        for name, contestant in contestants.items():
            began = time.perf_counter()
            # The first turn compiles; PyTorch records what has come some times.
            for _ in range(calls if turn else max(calls, 12)):
                contestant()
            if turn:
                taken[name].append((time.perf_counter() - began) / calls)
    return taken


def _network() -> Any:
    layers = [keras.layers.Dense(32, activation="relu") for _ in range(2)]
    return keras.Sequential([keras.Input((10,)), *layers, keras.layers.Dense(1)])


def _numbers(*shape: int) -> Any:
    return np.random.default_rng(0).random(shape, np.float32)


def _forward() -> Contestants:
    model, rows = _network(), _numbers(8, 10)
    function = K.function(model.inputs, model.outputs)
    return {
        "function": lambda: function([rows]),
        "predict_on_batch": lambda: model.predict_on_batch(rows),
        "model(x)": lambda: keras.ops.convert_to_numpy(model(rows)),
    }


def _update() -> Contestants:
    ours, theirs = _network(), _network()
    rows, targets = _numbers(8, 10), _numbers(8, 1)
    target = K.placeholder((None, 1))
    loss = keras.ops.mean(keras.losses.mean_squared_error(target, ours.outputs[0]))
    updates = K.get_updates(keras.optimizers.Adam(), loss, ours)
    step = K.function([ours.inputs[0], target], loss, updates)
    theirs.compile(keras.optimizers.Adam(), "mse")
    return {
        "function": lambda: step([rows, targets]),
        "train_on_batch": lambda: theirs.train_on_batch(rows, targets),
    }


def _resnet() -> Any:
    return keras.applications.ResNet50(weights=None, input_shape=(64, 64, 3))


def _middle() -> Contestants:
    model, images = _resnet(), _numbers(8, 64, 64, 3)
    part = keras.Model(model.inputs, model.get_layer(_MIDDLE).output)
    function = K.function(model.inputs, part.outputs)
    whole = K.function(model.inputs, model.outputs)
    return {
        "function": lambda: function([images]),
        "function to the last layer": lambda: whole([images]),
        "predict_on_batch of a Model cut there": lambda: part.predict_on_batch(images),
    }


def _steps() -> dict[str, int]:
    """Return how many calls of layers the plans hold."""
    model = _resnet()
    part = K.function(model.inputs, model.get_layer(_MIDDLE).output)
    return {
        "steps": len(part.plan.steps),
        "all_steps": len(K.function(model.inputs, model.outputs).plan.steps),
    }


def _traces() -> int:
    """Return how often Keras' code of a layer runs in 1,000 calls with batches of 1 to 32."""
    runs = 0

    class Counting(keras.layers.Layer):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            nonlocal runs
            runs += 1
            return x * 2

        def compute_output_spec(self, x: Any) -> Any:
            return keras.KerasTensor(x.shape, x.dtype)

    inputs = keras.Input((3,))
    function = K.function([inputs], Counting()(inputs))
    for number in range(1000):
        function([_numbers(number % 32 + 1, 3)])
    return runs


if __name__ == "__main__":
    main()
