"""TensorFlow: one traced function with open batch dimensions, so that no batch size retraces it."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from layerprobe.backend.engine import Compiled, pick_gpu
from layerprobe.backend.plan import Plan

RECOMPILES = False
# Keras 3.15.1 adds the bias of a channels_first convolution along the wrong axis on this engine
# when the width of its output equals the number of filters.
RUNS_CHANNELS_FIRST = False


def prepare(device: str) -> str:
    """Make TensorFlow see one device only; see `Engine.prepare`."""
    gpus = tf.config.list_physical_devices("GPU")
    wanted = pick_gpu(device, len(gpus), "tensorflow")
    if device == "auto":
        return "cpu" if wanted is None else f"gpu:{wanted}"
    # If TensorFlow already computed in this process, its devices are what they are.
    with contextlib.suppress(RuntimeError):
        tf.config.set_visible_devices([] if wanted is None else [gpus[wanted]], "GPU")
    visible = tf.config.get_visible_devices("GPU")
    return f"gpu:{wanted}" if visible and wanted is not None else "cpu"


def compile(plan: Plan) -> Compiled:  # noqa: A001 - the engines' common word
    """Trace the plan into one graph; see `Engine.compile`.

    XLA stays off: on CPU it gains nothing on convolutional nets and loses a lot on some.
    """
    import keras

    specs = [tf.TensorSpec(symbol.shape, symbol.dtype) for symbol in plan.inputs]

    @tf.function(input_signature=specs, autograph=False, jit_compile=False)  # type: ignore[untyped-decorator]
    def forward(*tensors: Any) -> list[Any]:
        with keras.StatelessScope():
            return plan.run(tensors)

    traced = forward.get_concrete_function()

    def call(values: Sequence[Any]) -> list[np.ndarray[Any, Any]]:
        return [np.asarray(out) for out in traced(*[tf.constant(value) for value in values])]

    return call
