"""Recurrence and softmax in NumPy, as their equations stand in the papers; made-up numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def numbers(*shape: int) -> Array:
    """Return made-up numbers of both signs."""
    return np.random.default_rng(sum(shape)).normal(size=shape).astype("float32")


def drawn(layer: Any) -> Any:
    """Give a layer weights that are all of different size, biases included."""
    layer.set_weights([numbers(*w.shape) / 2 for w in layer.get_weights()])
    return layer


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + exp(-x))."""
    return 1 / (1 + np.exp(-x))


def hard(x: Array) -> Array:
    """Return the hard_sigmoid of Keras 3."""
    return np.clip(x / 6 + 0.5, 0, 1)


def lstm_step(x: Array, h: Array, c: Array, weights: list[Array], gate: Any) -> list[Array]:
    """Return h, c and the gates after one step of an LSTM."""
    kernel, recurrent, *bias = weights
    i, f, g, o = np.split(x @ kernel + h @ recurrent + (bias[0] if bias else 0), 4, axis=-1)
    i, f, g, o = gate(i), gate(f), np.tanh(g), gate(o)
    new = f * c + i * g
    return [o * np.tanh(new), new, np.concatenate([i, f, g, o], -1)]


def gru_step(x: Array, h: Array, weights: list[Array], gate: Any, *, after: bool) -> list[Array]:
    """Return h and the gates after one step of a GRU."""
    kernel, recurrent, *bias = weights
    units = h.shape[-1]
    first, second = (bias[0] if after else (bias[0], 0)) if bias else (0, 0)
    x_z, x_r, x_h = np.split(x @ kernel + first, 3, axis=-1)
    h_z, h_r, h_h = np.split(h @ recurrent + second, 3, axis=-1)
    z, r = gate(x_z + h_z), gate(x_r + h_r)
    inner = r * h_h if after else (r * h) @ recurrent[:, 2 * units :]
    candidate = np.tanh(x_h + inner)
    return [z * h + (1 - z) * candidate, np.concatenate([z, r, candidate], -1)]


def by_hand(step: Any, states: list[Array], x: Array, kept: Array | None = None) -> list[Array]:
    """Return what `step` gives at every time; a masked step repeats the one before."""
    width = step(x[:, 0], *states)[-1].shape[-1]
    now = [*states, np.zeros((len(x), width), "float32")][: len(step(x[:, 0], *states))]
    trail = []
    for t in range(x.shape[1]):
        new = step(x[:, t], *now[: len(states)])
        goes = np.ones((len(x), 1), bool) if kept is None else kept[:, t, None]
        now = [np.where(goes, a, b) for a, b in zip(new, now, strict=True)]
        trail.append(now)
    return [np.stack(parts, 1) for parts in zip(*trail, strict=True)]


def check(found: list[Array], expected: list[Array]) -> None:
    """Compare to float32 rounding."""
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=2e-6)


def softmax(x: Array) -> Array:
    """Return probabilities along the last axis."""
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)
