"""Optimizers, and a small model each of them trains: shared by tests and the recorded trajectory.

`python optimizer_setups.py trajectories.npz` records where fifty steps of each set-up lead with
Keras' own `train_on_batch`, on the engine of that process; the committed file is TensorFlow's.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
STEPS = 50
RECORDED = Path(__file__).resolve().parent / "data" / "trajectories.npz"
_O = keras.optimizers

# The loss parts that a model adds by itself are there in the last one only.
SETUPS: dict[str, Callable[[], Any]] = {
    "sgd": lambda: _O.SGD(0.05),
    "nesterov": lambda: _O.SGD(0.02, momentum=0.9, nesterov=True),
    "adam": lambda: _O.Adam(0.01),
    "adam, each gradient clipped": lambda: _O.Adam(0.01, clipnorm=0.1),
    "adam, all gradients clipped": lambda: _O.Adam(0.01, global_clipnorm=0.1),
    "adamw, averaged": lambda: _O.AdamW(
        0.005, weight_decay=0.02, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=20
    ),
    "rmsprop, on a schedule": lambda: _O.RMSprop(
        keras.optimizers.schedules.ExponentialDecay(0.02, decay_steps=10, decay_rate=0.8)
    ),
    "adam, four gradients a step": lambda: _O.Adam(0.01, gradient_accumulation_steps=4),
    "sgd, regularized": lambda: _O.SGD(0.05),
}
OTHERS: dict[str, Callable[[], Any]] = {
    "Adadelta": lambda: _O.Adadelta(1.0),
    "Adafactor": lambda: _O.Adafactor(0.01),
    "Adagrad": lambda: _O.Adagrad(0.05),
    "Adam": lambda: _O.Adam(0.01, amsgrad=True, clipvalue=0.05),
    "AdamW": lambda: _O.AdamW(0.01),
    "Adamax": lambda: _O.Adamax(0.01),
    "Ftrl": lambda: _O.Ftrl(0.05, l1_regularization_strength=1e-3),
    "Lamb": lambda: _O.Lamb(0.01),
    "Lion": lambda: _O.Lion(0.005),
    "LossScaleOptimizer": lambda: _O.LossScaleOptimizer(_O.Adam(0.01)),
    "MultiOptimizer": lambda: _O.MultiOptimizer(
        _O.OptimizerMap(_O.Adam(0.01), {".*bias": _O.SGD(0.05)})
    ),
    "Muon": lambda: _O.Muon(0.01, adam_lr_ratio=0.5),
    "Nadam": lambda: _O.Nadam(0.01),
    "RMSprop": lambda: _O.RMSprop(0.01, momentum=0.5, centered=True),
    "SGD": lambda: _O.SGD(0.05, weight_decay=0.01),
    "ScheduleFreeAdamW": lambda: _O.ScheduleFreeAdamW(0.01),
}


def batches(steps: int = STEPS) -> list[tuple[Array, Array]]:
    """Return rows and what they are to become, other ones at each step."""
    random = np.random.default_rng(7)
    x = random.normal(size=(steps, 16, 5)).astype("float32")
    y = np.sin(x.sum(axis=2, keepdims=True)).astype("float32")
    return list(zip(x, y, strict=True))


def weighted(model: Any) -> Any:
    """Return the model with weights that are the same on every engine."""
    random = np.random.default_rng(3)
    model.set_weights([(random.normal(size=w.shape) / 2).astype("float32") for w in model.weights])
    return model


def network(setup: str = "") -> Any:
    """Return the model of a set-up, always with the same weights."""
    more = {"kernel_regularizer": "l2", "activity_regularizer": "l2"}
    return weighted(
        keras.Sequential(
            [
                keras.Input((5,)),
                keras.layers.Dense(
                    8, activation="tanh", **(more if setup.endswith("regularized") else {})
                ),
                keras.layers.Dense(1),
            ]
        )
    )


def by_train_on_batch(model: Any, optimizer: Any, steps: int = STEPS, loss: Any = "mse") -> Any:
    """Return the model after some steps of Keras' own."""
    # On TensorFlow, train_on_batch builds the optimizer while it traces; states that begin as
    # copies of the weights (ScheduleFreeAdamW) then begin as zeros.
    optimizer.build(model.trainable_variables)
    model.compile(optimizer, loss)
    for x, y in batches(steps):
        model.train_on_batch(x, y)
    return model


def main() -> None:
    """Record the weights after all steps of each set-up."""
    found = {}
    for name, optimizer in SETUPS.items():
        model = by_train_on_batch(network(name), optimizer())
        found |= {f"{name}/{at}": w for at, w in enumerate(model.get_weights())}
    np.savez_compressed(sys.argv[1], **found)


if __name__ == "__main__":
    main()
