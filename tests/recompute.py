"""What every layer of every sample model must yield, found without the code under test.

Two roads, written out layer by layer so that a reader can check them against the models' script:
`recompute` calls the Keras layers by hand on eager tensors, on whichever engine Keras runs here;
`numpy_digits_cnn` needs no Keras at all: it reads the weights with h5py and computes with NumPy.
Nothing here walks a graph and nothing here imports layerprobe.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def recompute(model: str, keras_model: Any, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Return every layer output of a sample model, by calling its layers one after the other.

    Args:
        model: "digits_cnn", "places_lstm" or "digits_pairs".
        keras_model: That model, as `keras.models.load_model` returns it.
        inputs: The rows to feed, by name of the input.

    Returns:
        Arrays by address, in the order of the calls.
    """
    from keras import ops

    tensors = {
        name: ops.convert_to_tensor(array, "int32" if name == "letters" else "float32")
        for name, array in inputs.items()
    }
    values = _BY_HAND[model](keras_model, **tensors)
    return {address: ops.convert_to_numpy(value) for address, value in values.items()}


def _digits_cnn(model: Any, images: Any) -> dict[str, Any]:
    v = {"images": images}
    v["conv1"] = model.get_layer("conv1")(v["images"])
    v["norm1"] = model.get_layer("norm1")(v["conv1"], training=False)
    v["relu1"] = model.get_layer("relu1")(v["norm1"])
    v["pool1"] = model.get_layer("pool1")(v["relu1"])
    v["conv2"] = model.get_layer("conv2")(v["pool1"])
    v["norm2"] = model.get_layer("norm2")(v["conv2"], training=False)
    v["relu2"] = model.get_layer("relu2")(v["norm2"])
    v["pool2"] = model.get_layer("pool2")(v["relu2"])
    v["flat"] = model.get_layer("flat")(v["pool2"])
    v["drop"] = model.get_layer("drop")(v["flat"], training=False)
    v["features"] = model.get_layer("features")(v["drop"])
    v["logits"] = model.get_layer("logits")(v["features"])
    v["digit"] = model.get_layer("digit")(v["logits"])
    return v


def _places_lstm(model: Any, letters: Any) -> dict[str, Any]:
    from keras import ops

    v = {"letters": letters}
    v["vectors"] = model.get_layer("vectors")(v["letters"])
    v["drop1"] = model.get_layer("drop1")(v["vectors"], training=False)
    # The mask that Embedding(mask_zero=True) makes; from here on it is handed over explicitly.
    v["not_equal"] = mask = ops.not_equal(letters, 0)
    v["lstm"], v["lstm:1"], v["lstm:2"] = model.get_layer("lstm")(
        v["drop1"], mask=mask, training=False
    )
    v["attention"], v["attention:1"] = model.get_layer("attention")(
        v["lstm"],
        v["lstm"],
        query_mask=mask,
        value_mask=mask,
        return_attention_scores=True,
        training=False,
    )
    v["pooled"] = model.get_layer("pooled")(v["attention"], mask=mask)
    v["joined"] = model.get_layer("joined")([v["pooled"], v["lstm:1"], v["lstm:2"]])
    v["drop2"] = model.get_layer("drop2")(v["joined"], training=False)
    v["direction"] = model.get_layer("direction")(v["drop2"])
    return v


def _digits_pairs(model: Any, left: Any, right: Any) -> dict[str, Any]:
    from keras import ops

    v = {"left": left, "right": right}
    for call, images in (("encoder@0", left), ("encoder@1", right)):
        inner = _encoder(model.get_layer("encoder"), images)
        v[call] = inner["code"]
        v |= {f"{call}/{name}": value for name, value in inner.items()}
    v["difference"] = model.get_layer("difference")([v["encoder@0"], v["encoder@1"]])
    v["absolute"] = ops.absolute(v["difference"])
    v["product"] = model.get_layer("product")([v["encoder@0"], v["encoder@1"]])
    v["joined"] = model.get_layer("joined")([v["absolute"], v["product"]])
    v["compare"] = model.get_layer("compare")(v["joined"])
    v["same"] = model.get_layer("same")(v["compare"])
    return v


def _encoder(encoder: Any, images: Any) -> dict[str, Any]:
    v = {"images": images}
    v["conv1"] = encoder.get_layer("conv1")(v["images"])
    v["norm1"] = encoder.get_layer("norm1")(v["conv1"], training=False)
    v["relu1"] = encoder.get_layer("relu1")(v["norm1"])
    v["pool1"] = encoder.get_layer("pool1")(v["relu1"])
    v["conv2"] = encoder.get_layer("conv2")(v["pool1"])
    v["pool2"] = encoder.get_layer("pool2")(v["conv2"])
    v["flat"] = encoder.get_layer("flat")(v["pool2"])
    v["drop"] = encoder.get_layer("drop")(v["flat"], training=False)
    v["code"] = encoder.get_layer("code")(v["drop"])
    return v


_BY_HAND: dict[str, Callable[..., dict[str, Any]]] = {
    "digits_cnn": _digits_cnn,
    "places_lstm": _places_lstm,
    "digits_pairs": _digits_pairs,
}


def numpy_digits_cnn(path: str | Path, images: Array) -> dict[str, Array]:
    """Return every layer output of digits_cnn.h5 with h5py and NumPy alone, as float64.

    Args:
        path: The legacy HDF5 file.
        images: Shape (rows, 8, 8, 1).
    """
    with h5py.File(path) as file:
        stored = file["model_weights"]

        def w(layer: str, name: str) -> Array:
            return np.asarray(stored[f"{layer}/{layer}/{name}"], "float64")

        v: dict[str, Array] = {"images": images.astype("float64")}
        v["conv1"] = _conv_3x3_same(v["images"], w("conv1", "kernel"))
        v["norm1"] = _normalize(v["conv1"], lambda name: w("norm1", name))
        v["relu1"] = np.maximum(v["norm1"], 0)
        v["pool1"] = _tiles_2x2(v["relu1"]).max((2, 4))
        v["conv2"] = _conv_3x3_same(v["pool1"], w("conv2", "kernel")) + w("conv2", "bias")
        v["norm2"] = _normalize(v["conv2"], lambda name: w("norm2", name))
        v["relu2"] = np.maximum(v["norm2"], 0)
        v["pool2"] = _tiles_2x2(v["relu2"]).mean((2, 4))
        v["flat"] = v["pool2"].reshape(len(images), -1)
        v["drop"] = v["flat"]
        features = v["drop"] @ w("features", "kernel") + w("features", "bias")
        v["features"] = np.maximum(features, 0)
        v["logits"] = v["features"] @ w("logits", "kernel") + w("logits", "bias")
        powers = np.exp(v["logits"] - v["logits"].max(-1, keepdims=True))
        v["digit"] = powers / powers.sum(-1, keepdims=True)
    return v


def _conv_3x3_same(x: Array, kernel: Array) -> Array:
    """Correlate (rows, height, width, in) with a (3, 3, in, out) kernel, zeros around."""
    height, width = x.shape[1:3]
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    shifts = [(i, j) for i in range(3) for j in range(3)]
    return np.asarray(
        sum(padded[:, i : i + height, j : j + width] @ kernel[i, j] for i, j in shifts)
    )


def _normalize(x: Array, w: Callable[[str], Array]) -> Array:
    scale = w("gamma") / np.sqrt(w("moving_variance") + 1e-3)
    return (x - w("moving_mean")) * scale + w("beta")


def _tiles_2x2(x: Array) -> Array:
    """Cut (rows, height, width, channels) into tiles of 2x2, on axes 2 and 4."""
    rows, height, width, channels = x.shape
    return x.reshape(rows, height // 2, 2, width // 2, 2, channels)
