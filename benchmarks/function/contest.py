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
from unittest import mock

import keras
import numpy as np

from benchmarks.function import flops
from layerprobe import backend as K  # noqa: N812 - the name that users of Keras 2 gave it

Contestants = dict[str, Callable[[], object]]
_CALL = keras.layers.Dense.call
_MIDDLE = "conv3_block4_out"


def main() -> None:
    """Let the contestants take turns."""
    repeats = int(sys.argv[1])
    cases = {"forward": (_forward(), 200), "update": (_update(), 50), "middle": (_middle(), 3)}
    turns = {name: _turns(who, repeats, calls) for name, (who, calls) in cases.items()}
    counts = {**_steps(), **_operations(), "traces": _traces()}
    print(json.dumps({"turns": turns, "counts": counts}))


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
        "that Model, called": lambda: keras.ops.convert_to_numpy(part(images)),
    }


def _steps() -> dict[str, int]:
    """Return how many calls of layers the plans hold."""
    model = _resnet()
    part = K.function(model.inputs, model.get_layer(_MIDDLE).output)
    return {
        "steps": len(part.plan.steps),
        "all_steps": len(K.function(model.inputs, model.outputs).plan.steps),
    }


def _operations() -> dict[str, float]:
    """Return the floating-point operations of a batch of 8: those that run, and those that must."""
    # TensorFlow counts only where all sizes are known.
    images = keras.Input(batch_shape=(8, 64, 64, 3))
    model = keras.applications.ResNet50(weights=None, input_tensor=images)
    values = _numbers(8, 64, 64, 3)

    def to(output: Any) -> Callable[[], Callable[[], object]]:
        def build() -> Callable[[], object]:
            function = K.function(model.inputs, [output])
            return lambda: function([values])

        return build

    return {
        "run": flops.counted(to(model.get_layer(_MIDDLE).output)),
        "by_hand": flops.by_hand(model, _MIDDLE, 8),
        "all_run": flops.counted(to(model.outputs[0])),
    }


def _traces() -> int:
    """Return how often Keras' code of a layer runs in 1,000 calls with batches of 1 to 32."""
    dense = keras.layers.Dense(2)
    inputs = keras.Input((3,))
    function = K.function([inputs], dense(inputs))
    with mock.patch.object(keras.layers.Dense, "call", autospec=True, side_effect=_CALL) as calls:
        for number in range(1000):
            function([_numbers(number % 32 + 1, 3)])
    return int(calls.call_count)


if __name__ == "__main__":
    main()
