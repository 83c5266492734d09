"""PyTorch: the plan run eagerly, without autograd."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from layerprobe.backend.engine import Compiled, pick_gpu
from layerprobe.backend.plan import Plan

RECOMPILES = False
RUNS_CHANNELS_FIRST = True


def prepare(device: str) -> str:
    """Choose the device by the variable Keras reads when it is imported; see `Engine.prepare`."""
    wanted = pick_gpu(device, torch.cuda.device_count(), "torch")
    if device != "auto":
        os.environ["KERAS_TORCH_DEVICE"] = "cpu" if wanted is None else f"cuda:{wanted}"
    return "cpu" if wanted is None else f"gpu:{wanted}"


def compile(plan: Plan) -> Compiled:  # noqa: A001 - the engines' common word
    """Return a callable that runs the plan eagerly; see `Engine.compile`."""
    import keras

    def call(values: Sequence[Any]) -> list[np.ndarray[Any, Any]]:
        with torch.no_grad(), keras.StatelessScope():
            tensors = [_tensor(value) for value in values]
            return [keras.ops.convert_to_numpy(out) for out in plan.run(tensors)]

    return call


def _tensor(value: np.ndarray[Any, Any]) -> Any:
    import keras

    # torch shares memory with the array, and warns if it must not write to it.
    return keras.ops.convert_to_tensor(value if value.flags.writeable else value.copy())
