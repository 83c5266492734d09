"""Real architectures of keras.applications: every call in them equals the layer called by hand.

Weights and statistics are random. Each layer and operation is called by hand on what the function
gave for the tensors it takes, so that a difference stands where it arises; the first takes the rows
themselves, so together they say that the whole is right.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from every_layer import assert_same, phase, seeded_weights, shake

from layerprobe import backend

pytestmark = pytest.mark.engine

SMALL = {"input_shape": (32, 32, 3), "classes": 10}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "ConvNeXtTiny": SMALL,
    "DenseNet121": SMALL,
    "EfficientNetB0": SMALL,
    "EfficientNetV2B0": SMALL,
    "InceptionV3": {"input_shape": (75, 75, 3), "classes": 10},
    "MobileNet": SMALL | {"alpha": 0.25},
    "MobileNetV2": SMALL | {"alpha": 0.35},
    "MobileNetV3Small": SMALL,
    "ResNet50": SMALL,
    "ResNet50V2": SMALL,
    "VGG16": {"input_shape": (32, 32, 3), "include_top": False},
    "Xception": {"input_shape": (71, 71, 3), "classes": 10},
}


def check_every_call(name: str, arguments: dict[str, Any]) -> None:
    """Build an architecture and compare every call in it with the layer called by hand."""
    import keras

    with seeded_weights():
        model = getattr(keras.applications, name)(weights=None, **arguments)
    shake(model)
    # Keras lists the operations in an order in which they can run; each is called once here.
    nodes = [operation._inbound_nodes[0] for operation in model.operations]
    tensors = [tensor for node in nodes for tensor in node.outputs]
    shape = (2, *arguments["input_shape"])
    rows = np.random.default_rng(1).standard_normal(shape).astype("float32")
    results = backend.function(model.inputs, tensors)([rows])
    given = {id(t): result for t, result in zip(tensors, results, strict=True)}
    np.testing.assert_array_equal(given[id(model.inputs[0])], rows)
    calls = 0
    for operation, node in zip(model.operations, nodes, strict=True):
        if node.is_input:
            continue
        taken = {id(t): keras.ops.convert_to_tensor(given[id(t)]) for t in node.input_tensors}
        args, kwargs = node.arguments.fill_in(taken)
        if isinstance(operation, keras.layers.Layer):
            kwargs = {**kwargs, **phase(operation)}
        for tensor, value in zip(
            node.outputs, keras.tree.flatten(operation(*args, **kwargs)), strict=True
        ):
            assert_same(given[id(tensor)], value)
            calls += 1
    assert calls == len(tensors) - 1 > 15


# JAX compiles every shape of every operation for the calls by hand: half a minute for these two.
SLOW_ON_JAX = pytest.mark.engine("tensorflow", "torch")
LONG = ("DenseNet121", "EfficientNetB0")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=SLOW_ON_JAX if n in LONG else ()) for n in ARCHITECTURES]
)
def test_every_call_equals_the_layer_by_hand(name: str) -> None:
    """All layer outputs of an architecture, in one pass, are what its layers give one by one."""
    check_every_call(name, ARCHITECTURES[name])


@pytest.mark.engine("tensorflow")
def test_nasnet_where_keras_builds_it() -> None:
    """NASNetMobile too, on TensorFlow: Keras refuses it on PyTorch, and JAX compiles it slowly."""
    check_every_call("NASNetMobile", SMALL)
