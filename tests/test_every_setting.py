"""Masks, policies, quantisation, open sizes, structures, phase: layers in settings that differ.

As in `test_every_layer.py` the truth is the layers called by hand, outside of any model.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from every_layer import assert_same, check, net_around, rows_of, shake
from shape_harness import Case, case, layer

from layerprobe import backend
from layerprobe.errors import BackendError

pytestmark = pytest.mark.engine

STEPS = (None, 8, 4)
_HEADS = {"num_heads": 2, "key_dim": 3}
MASKED = [
    case("Dense", STEPS, units=5),
    case("Activation", STEPS, activation="softmax"),
    case("BatchNormalization", STEPS),
    case("Dropout", STEPS, rate=0.5),
    case("Concatenate", STEPS, STEPS, axis=1),
    case("Add", STEPS, STEPS),
    case("LSTM", STEPS, units=5, return_sequences=True, return_state=True),
    case("GRU", (None, None, 4), units=5),
    case("SimpleRNN", STEPS, units=5, go_backwards=True),
    case("RNN", STEPS, cell=layer("GRUCell", units=5)),
    case("Bidirectional", STEPS, layer=layer("LSTM", units=5)),
    case("TimeDistributed", STEPS, layer=layer("Dense", units=5)),
    case("Attention", STEPS, STEPS),
    case("AdditiveAttention", STEPS, STEPS, kwargs={"return_attention_scores": True}),
    case("MultiHeadAttention", STEPS, STEPS, **_HEADS),
    case("MultiHeadAttention", STEPS, STEPS, **_HEADS, kwargs={"use_causal_mask": True}),
    case("GroupQueryAttention", STEPS, STEPS, head_dim=3, num_query_heads=4,
         num_key_value_heads=2),
    case("GlobalAveragePooling1D", STEPS),
]  # fmt: skip

LOW = [
    case("Dense", STEPS, units=5, activation="tanh"),
    case("Conv2D", (None, 9, 8, 3), filters=5, kernel_size=3, activation="relu"),
    case("BatchNormalization", (None, 9, 8, 3)),
    case("LSTM", STEPS, units=5, return_sequences=True),
    case("MultiHeadAttention", STEPS, STEPS, **_HEADS),
    case("Embedding", (None, 7), dtype="int32", input_dim=11, output_dim=3),
]
# Engine, class, computing dtype -> why it cannot run.
LOW_CANNOT = {
    ("jax", "MultiHeadAttention", "float16"): "XLA on a CPU has no such product of float16",
}
ROUNDING = {"float16": 2.0**-10, "bfloat16": 2.0**-7}

QUANTISED = [
    (case("Dense", (None, 16), units=8), ("int8", "int4", "float8")),
    (case("EinsumDense", STEPS, equation="abc,cd->abd", output_shape=(None, 6), bias_axes="d"),
     ("int8", "int4", "float8")),
    (case("Embedding", (None, 7), dtype="int32", input_dim=11, output_dim=8), ("int8", "int4")),
]  # fmt: skip


@pytest.mark.parametrize("case", MASKED, ids=str)
def test_a_mask_reaches_every_layer(case: Case) -> None:
    """Behind a Masking layer a layer gives what it gives on a tensor that carries the mask."""
    net, rows = net_around(case, front="Masking"), rows_of(case)
    for row in rows:
        row[0, -3:] = 0
        row[1, -1:] = 0
    check(net, rows)


@pytest.mark.parametrize("policy", ["float16", "bfloat16", "mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("case", LOW, ids=str)
def test_low_precision_is_kept(case: Case, policy: str) -> None:
    """Under a low precision policy the dtype is the layer's own, the values to its rounding."""
    net, rows, dtype = net_around(case, dtype=policy), rows_of(case), policy.removeprefix("mixed_")
    if (backend.engine_name(), case.spec.class_name, dtype) in LOW_CANNOT:
        with pytest.raises(BackendError, match="not supported"):
            backend.function(net.inputs, net.outputs)(rows)
        return
    assert {t.dtype for t in net.outputs[len(net.front) :]} == {dtype}
    check(net, rows, ROUNDING[dtype])


@pytest.mark.parametrize(
    ("case", "mode"), [(case, m) for case, modes in QUANTISED for m in modes], ids=str
)
def test_a_quantised_layer_computes_as_quantised(case: Case, mode: str) -> None:
    """After `quantize` the function gives what the quantised layer gives, not the original."""
    net, rows = net_around(case), rows_of(case)
    original = keras_numpy(net.eagerly(rows)[-1])
    net.layer.quantize(mode)
    check(net, rows)
    assert np.abs(keras_numpy(net.eagerly(rows)[-1]) - original).max() > 1e-5


def keras_numpy(value: Any) -> Any:
    """Return a tensor of the engine as an array."""
    import keras

    return keras.ops.convert_to_numpy(value)


def test_height_and_width_vary_between_calls() -> None:
    """One function serves images of several sizes, where the model leaves the size open."""
    import keras

    layers = [
        keras.layers.Conv2D(4, 3, strides=2, padding="same"),
        keras.layers.BatchNormalization(),
        keras.layers.MaxPooling2D(padding="same"),
        keras.layers.UpSampling2D(),
        keras.layers.GlobalAveragePooling2D(),
    ]
    model = keras.Sequential([keras.Input((None, None, 3)), *layers])
    shake(model)
    function = backend.function(model.inputs, [one.output for one in layers])
    for number, (height, width) in enumerate([(9, 8), (12, 7), (9, 8), (5, 20)]):
        rows = np.random.default_rng(number).random((2, height, width, 3), np.float32)
        value: Any = keras.ops.convert_to_tensor(rows)
        for one, result in zip(layers, function([rows]), strict=True):
            value = one(value)
            assert_same(result, value)


def test_length_varies_between_calls() -> None:
    """One function serves sequences of several lengths, each layer with its mask."""
    import keras

    embedding = keras.layers.Embedding(9, 4, mask_zero=True)
    lstm = keras.layers.LSTM(5, return_sequences=True, return_state=True)
    pooled = keras.layers.GlobalAveragePooling1D()
    x = keras.Input((None,), dtype="int32")
    sequence, *states = lstm(embedding(x))
    outputs = [embedding.output, sequence, *states, pooled(sequence)]
    function = backend.function([x], outputs)
    for length in (6, 3, 11):
        tokens = np.random.default_rng(length).integers(1, 9, (3, length)).astype("int32")
        tokens[0, -2:] = 0
        vectors = embedding(tokens)
        values = lstm(vectors, mask=keras.ops.convert_to_tensor(tokens != 0))
        mean = pooled(values[0], mask=keras.ops.convert_to_tensor(tokens != 0))
        for result, wanted in zip(function([tokens]), [vectors, *values, mean], strict=True):
            assert_same(result, wanted)


@pytest.mark.parametrize("kind", ["dict", "list", "nested"])
def test_models_of_structures(kind: str) -> None:
    """A model of a dict, a list or a nest of inputs and outputs, also inside of another one."""
    import keras

    left, right = keras.Input((4,), name="left"), keras.Input((3,), name="right")
    one, two = keras.layers.Dense(5), keras.layers.Dense(5)
    both = keras.layers.Multiply()

    def arranged(a: Any, b: Any, names: tuple[str, str]) -> Any:
        forms = {"list": [a, b], "dict": {names[1]: b, names[0]: a}, "nested": {names[0]: [a, [b]]}}
        return forms[kind]

    ends = both([one(left), two(right)]), one.output
    names = ("left", "right")
    inner = keras.Model(arranged(left, right, names), arranged(*ends, ("sum", "alone")))
    x, y = keras.Input((4,)), keras.Input((3,))
    outer = keras.tree.flatten(inner(arranged(x, y, names)))
    rows = [np.random.default_rng(1).random((2, n), np.float32) for n in (4, 3)]
    a, b = one(rows[0]), two(rows[1])
    expected = {"product": keras.ops.multiply(a, b), "alone": a}
    fed = {"left": rows[0], "right": rows[1]}
    given = [fed[tensor.name] for tensor in keras.tree.flatten(inner.inputs)]
    flat = keras.tree.flatten(inner.outputs)
    which = ["product" if t is ends[0] else "alone" for t in flat]
    for function, values in (
        (backend.function(inner.inputs, flat), given),
        (backend.function([x, y], outer), rows),
    ):
        for name, result in zip(which, function(values), strict=True):
            assert_same(result, expected[name])


def test_the_default_phase_is_inference() -> None:
    """Where nobody names a phase, dropout passes on and statistics are used, not taken."""
    import keras

    layers = [
        keras.layers.BatchNormalization(),
        keras.layers.Dropout(0.5),
        keras.layers.GaussianNoise(1.0),
        keras.layers.RandomFlip(),
    ]
    model = keras.Sequential([keras.Input((6, 5, 3)), *layers])
    shake(model)
    rows = np.random.default_rng(1).random((4, 6, 5, 3), np.float32)
    results = backend.function(model.inputs, [one.output for one in layers])([rows])
    gamma, beta, mean, variance = map(keras.ops.convert_to_numpy, layers[0].weights)
    normed = (rows - mean) / np.sqrt(variance + layers[0].epsilon) * gamma + beta
    for result in results:
        np.testing.assert_allclose(result, normed, rtol=0, atol=1e-6 * np.abs(normed).max())


def test_layers_that_run_somebody_elses_code() -> None:
    """Lambda runs on every engine; JAX's and PyTorch's own programs each on theirs."""
    import keras

    foreign = {"tensorflow": _lambda, "jax": _jax_layer, "torch": _torch_layer}
    for make in (_lambda, foreign[backend.engine_name()]):
        x = keras.Input((4,))
        one = make()
        y = one(x)
        rows = np.random.default_rng(1).random((2, 4), np.float32)
        result = backend.function([x], [y])([rows])[0]
        assert_same(result, one(keras.ops.convert_to_tensor(rows)))


def _lambda() -> Any:
    import keras

    return keras.layers.Lambda(lambda x: x * 2 + 1)


def _jax_layer() -> Any:
    import keras

    return keras.layers.JaxLayer(
        lambda params, inputs: inputs @ params["w"],
        params={"w": np.arange(12, dtype="float32").reshape(4, 3)},
    )


def _torch_layer() -> Any:
    import keras
    import torch

    return keras.layers.TorchModuleWrapper(torch.nn.Linear(4, 3), output_shape=(None, 3))
