"""A model with layers of our own said in layers of plain Keras 3, with the same numbers.

Kernels are turned round already. What is left: the hard_sigmoid of Keras 2, which is that of Keras
3 of a sum 1.2 times as large, so that weights say it (clip(0.2 x + 0.5) = relu6(1.2 x + 3) / 6);
padding, which layers before and after a convolution say; and channels, which Permute moves. Each
layer that takes several is a Sequential of its name, so that addresses stay.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from layerprobe.backend import compat
from layerprobe.backend.legacy import convolutions, pooling
from layerprobe.backend.legacy.activations import hard_sigmoid_keras2
from layerprobe.backend.legacy.padding import Window
from layerprobe.errors import ModelError
from layerprobe.modelfile.contents import Config
from layerprobe.modelfile.upgrade.keras2 import ACTIVATION_KEYS, HARD_SIGMOID_NAME
from layerprobe.modelfile.upgrade.origin import PACKAGE
from layerprobe.modelfile.upgrade.walk import layers_in, makes_mask, with_wrapped

_SLOPE = 1.2  # how much steeper the hard_sigmoid of Keras 2 was
# The gates that pass through the recurrent activation; the other part is the candidate.
_GATES = {"LSTM": "1101", "GRU": "110", "ConvLSTM2D": "1101"}
_OURS = (convolutions.Placed, pooling.Placed)
_CROPPING = (keras.layers.Cropping1D, keras.layers.Cropping2D, keras.layers.Cropping3D)


def plain_model(config: Config, live: Any) -> Any:
    """Return a Keras model without layers of our own that computes what another one does.

    Args:
        config: The config that the other model was built from.
        live: The other model.

    Raises:
        ModelError: Plain Keras has no layers that compute the same.
    """
    config = copy.deepcopy(config)
    _rewrite(config, live)
    made = keras.saving.deserialize_keras_object(config, safe_mode=True)
    for one, other in _pairs(live, made):
        other.set_weights(_weights(one))
    return made


def _rewrite(config: Config, live: Any) -> None:
    masked = any(map(makes_mask, layers_in(config)))
    for item in config["config"]["layers"]:
        layer = _named(live, item["config"]["name"]) if "layers" not in item["config"] else None
        if layer is None:
            _rewrite(item, _named(live, item["config"]["name"]))
            continue
        if item.get("module") == PACKAGE and isinstance(layer, _OURS):
            _say_with_several(item, layer)
        if (
            item.get("module") == PACKAGE
            and isinstance(layer, _CROPPING)
            and 0 in layer.output.shape
        ):
            raise _unsayable(layer.name, f"a {item['class_name']} that leaves nothing")
        for part in with_wrapped(item):
            _say_plainly(part, masked=masked)


def _say_plainly(item: Config, *, masked: bool) -> None:
    """Rewrite a layer that plain Keras has under the same name."""
    inner, class_name = item["config"], item["class_name"]
    if item.get("module") == PACKAGE:
        plain_lstm = class_name == "ConvLSTM2D" and not inner.pop("gives_cells", False)
        plain_lstm = plain_lstm and inner.pop("origin", "tensorflow") == "tensorflow"
        last = inner.get("data_format") != "channels_first"
        alike = (class_name == "Bidirectional" and not masked) or class_name.startswith("Cropping")
        if not alike and not (plain_lstm and last):
            raise _unsayable(inner.get("name"), f"a {class_name} as its origin computed it")
        item |= {"module": "keras.layers", "registered_name": None}
    for key in ACTIVATION_KEYS if isinstance(inner, dict) else ():
        given = inner.get(key)
        if not isinstance(given, dict) or HARD_SIGMOID_NAME not in str(given.get("config")):
            continue
        if key == "activation" and class_name in _GATES | {"SimpleRNN": ""}:
            raise _unsayable(inner.get("name"), "the hard_sigmoid of Keras 2 on its states")
        inner[key] = "hard_sigmoid"
        if class_name == "Activation":
            steeper = _layer("Rescaling", name=f"{inner['name']}_slope", scale=_SLOPE)
            _become_chain(item, [steeper, copy.deepcopy({**item, "config": {**inner}})])
            return


def _say_with_several(item: Config, layer: Any) -> None:
    """Rewrite a convolution or pooling as a chain of plain layers."""
    inner = item["config"]
    name, origin = inner["name"], inner.pop("origin")
    first = inner.get("data_format") == "channels_first"
    same = inner.get("padding") == "same" and origin != "tensorflow"
    rank = len(layer.kernel_size if hasattr(layer, "kernel_size") else layer.pool_size)
    inner.pop("counts_padding", None)
    if same and isinstance(layer, pooling.Placed):
        raise _unsayable(name, "pooling padded as its origin padded it")
    around: list[Config] = []
    after: list[Config] = []
    if same or inner.pop("output_shape", None) is not None:
        shape = compat.graph_inputs_of(layer)[0].shape
        if first:
            shape = (shape[0], *shape[2:], shape[1])
        around, after = _padding(layer, name, shape, rank)
        inner["padding"] = "valid"
    inner["data_format"] = "channels_last"
    plain = {"class_name": item["class_name"], "config": {**inner, "name": f"{name}_plain"},
             "module": "keras.layers", "registered_name": None}  # fmt: skip
    chain = [*around, plain, *after]
    if first:
        to_last, back = (*range(2, rank + 2), 1), (rank + 1, *range(1, rank + 1))
        chain.insert(0, _layer("Permute", name=f"{name}_to_last", dims=list(to_last)))
        chain.append(_layer("Permute", name=f"{name}_back", dims=list(back)))
    _become_chain(item, chain)


def _padding(
    layer: Any, name: str, shape: Sequence[Any], rank: int
) -> tuple[list[Config], list[Config]]:
    """Return the layers that pad before a convolution and crop after it."""
    windows: list[Window] = layer.windows(shape)
    if "Transpose" in type(layer).__name__:
        full = [(n - 1) * s + k for n, s, k in
                zip(shape[1:-1], layer.strides, layer.kernel_size, strict=True)]  # fmt: skip
        cut = [(w.low, f - w.low - w.count) for w, f in zip(windows, full, strict=True)]
        if any(side < 0 for pair in cut for side in pair):
            raise _unsayable(name, "an output longer than its kernels reach")
        crop = [_layer(f"Cropping{rank}D", name=f"{name}_crop", cropping=_pairs_of(cut, rank))]
        return [], crop if any(map(any, cut)) else []
    pads = [(w.low, w.high) for w in windows]
    if any(side < 0 for pair in pads for side in pair):
        raise _unsayable(name, "padding that takes away")
    reach = [(k - 1) * d + 1 for k, d in zip(layer.kernel_size, layer.dilation_rate, strict=True)]
    made = [
        (n + low + high - r) // stride + 1
        for n, (low, high), r, stride in zip(shape[1:-1], pads, reach, layer.strides, strict=True)
    ]
    extra = [(0, count - w.count) for count, w in zip(made, windows, strict=True)]
    pad = [_layer(f"ZeroPadding{rank}D", name=f"{name}_pad", padding=_pairs_of(pads, rank))]
    crop = [_layer(f"Cropping{rank}D", name=f"{name}_crop", cropping=_pairs_of(extra, rank))]
    return pad if any(map(any, pads)) else [], crop if any(map(any, extra)) else []


def _pairs_of(pairs: Sequence[tuple[int, int]], rank: int) -> Any:
    return list(pairs[0]) if rank == 1 else [list(pair) for pair in pairs]


def _layer(class_name: str, **config: Any) -> Config:
    return {"class_name": class_name, "config": config, "module": "keras.layers",
            "registered_name": None}  # fmt: skip


def _become_chain(item: Config, layers: list[Config]) -> None:
    name = item["config"]["name"]
    item |= {"class_name": "Sequential", "module": "keras", "registered_name": None}
    item["config"] = {"name": name, "layers": layers}


def _named(live: Any, name: str) -> Any:
    found = [layer for layer in live.layers if layer.name == name]
    if found:
        return found[0]
    return keras.layers.InputLayer(shape=(1,))  # a Sequential does not count its own


def _pairs(live: Any, made: Any) -> Iterator[tuple[Any, Any]]:
    for layer in live.layers:
        other = made.get_layer(layer.name)
        if isinstance(layer, keras.Model):
            yield from _pairs(layer, other)
        elif layer.weights:
            yield layer, other


def _weights(layer: Any) -> list[Any]:
    """Return a layer's weights for its plain successor."""
    if isinstance(layer, keras.layers.Bidirectional):
        return [*_weights(layer.forward_layer), *_weights(layer.backward_layer)]
    if isinstance(layer, keras.layers.TimeDistributed):
        return _weights(layer.layer)
    arrays: list[Any] = layer.get_weights()
    gates = _GATES.get(type(layer).__name__)
    if gates and layer.recurrent_activation is hard_sigmoid_keras2:
        slopes = np.array([_SLOPE if gate == "1" else 1.0 for gate in gates])
        return [array * np.repeat(slopes, array.shape[-1] // len(gates)) for array in arrays]
    if getattr(layer, "activation", None) is hard_sigmoid_keras2 and not gates:
        names = [variable.name for variable in layer.weights]
        return [
            array if name == "depthwise_kernel" and "pointwise_kernel" in names else array * _SLOPE
            for name, array in zip(names, arrays, strict=True)
        ]
    return arrays


def _unsayable(name: Any, what: str) -> ModelError:
    return ModelError(
        f"Plain Keras has no layers that compute layer {name!r}: {what}.",
        fix="layerprobe.load and layerprobe extract compute it from the old file.",
        layer=name,
    )
