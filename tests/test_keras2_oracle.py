"""The functions with Keras 2's names against Keras 2's own code, which Keras 3 still carries along.

That code runs on TensorFlow alone; what it computes is compared with every engine.
"""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from keras2_cases import CASES, IMAGES, VOLUMES, floats

from layerprobe import backend as K  # noqa: N812 - the name users give it

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def oracle(engine):
    """Return Keras 2's backend on TensorFlow."""
    assert engine
    return importlib.import_module("keras._tf_keras.keras.backend")


def flat(values):
    """Return the leaves of tuples and lists as NumPy arrays."""
    if isinstance(values, list | tuple):
        return [leaf for value in values for leaf in flat(value)]
    return [np.asarray(K.eval(values))]


def expected(oracle, name, args, kwargs):
    """Return what Keras 2 computes."""
    import tensorflow as tf

    def tensor(value):
        if isinstance(value, list) and any(isinstance(v, np.ndarray) for v in value):
            return [tf.constant(v) for v in value]
        return tf.constant(value) if isinstance(value, np.ndarray) else value

    result = getattr(oracle, name)(*map(tensor, args), **kwargs)
    return [np.asarray(leaf) for leaf in tf.nest.flatten(result)]


def assert_same(results, wanted):
    """Check that values agree to rounding, and types in kind."""
    assert len(results) == len(wanted)
    for result, value in zip(results, wanted, strict=True):
        assert result.shape == value.shape
        assert result.dtype.kind == value.dtype.kind
        scale = max(1.0, float(np.abs(np.nan_to_num(value).astype("float64")).max(initial=0.0)))
        np.testing.assert_allclose(result, value, rtol=0, atol=2e-6 * scale)


def named(case):
    """Return a name for a case."""
    return f"{case[0]}-{'-'.join(case[2])}".rstrip("-")


@pytest.mark.parametrize("case", CASES, ids=named)
def test_numbers_are_those_of_keras_2(oracle, case):
    """On arrays the function gives Keras 2's numbers."""
    name, args, kwargs = case
    assert_same(flat(getattr(K, name)(*args, **kwargs)), expected(oracle, name, args, kwargs))


@pytest.mark.parametrize("case", [c for c in CASES if c[0] != "arange"], ids=named)
def test_symbolic_use_computes_the_same(oracle, case):
    """On symbolic tensors with an open batch the graph computes Keras 2's numbers."""
    import keras

    name, args, kwargs = case
    inputs, arrays = [], []

    def symbolic(value):
        if isinstance(value, list) and any(isinstance(v, np.ndarray) for v in value):
            return [symbolic(v) for v in value]
        if not isinstance(value, np.ndarray):
            return value
        fixed = inputs and "crossentropy" not in name and "ctc" not in name
        shape = value.shape if fixed else (None, *value.shape[1:])
        inputs.append(keras.Input(batch_shape=shape, dtype=str(value.dtype)))
        arrays.append(value)
        return inputs[-1]

    result = getattr(K, name)(*[symbolic(value) for value in args], **kwargs)
    outputs = keras.tree.flatten(result)
    wanted = expected(oracle, name, args, kwargs)
    for output, value in zip(outputs, wanted, strict=True):
        told = zip(output.shape, value.shape, strict=True)
        assert all(length in (None, real) for length, real in told)
    assert_same([np.asarray(v) for v in K.function(inputs, outputs)(arrays)], wanted)


@pytest.mark.parametrize(
    ("name", "args", "kwargs"),
    [
        ("conv1d", (floats(2, 9, 3), floats(3, 3, 4)), {"padding": "causal"}),
        ("conv2d", (IMAGES, floats(3, 2, 3, 4)), {"strides": (2, 2), "padding": "same"}),
        ("conv3d", (VOLUMES, floats(2, 3, 2, 2, 4)), {}),
        ("depthwise_conv2d", (IMAGES, floats(3, 3, 3, 2)), {}),
        ("separable_conv2d", (IMAGES, floats(3, 3, 3, 2), floats(1, 1, 6, 4)), {}),
        ("pool2d", (IMAGES, (3, 2)), {"padding": "same", "pool_mode": "avg"}),
        ("pool3d", (VOLUMES, (2, 2, 3)), {"padding": "same"}),
    ],
)
def test_channels_in_front_are_the_same_numbers(oracle, name, args, kwargs):
    """With the channels moved to the front, results are Keras 2's with the channels moved."""
    moved = (np.moveaxis(args[0], -1, 1), *args[1:])
    results = flat(getattr(K, name)(*moved, **kwargs, data_format="channels_first"))
    wanted = expected(oracle, name, args, kwargs)
    assert_same(results, [np.moveaxis(value, -1, 1) for value in wanted])


def test_transposed_convolution_takes_channels_in_front_and_an_open_batch(oracle):
    """`conv2d_transpose` with None for the batch, channels first."""
    x, kernel = floats(2, 3, 4, 3), floats(3, 3, 5, 3)
    kwargs = {"strides": (2, 2), "padding": "same", "data_format": "channels_first"}
    result = K.conv2d_transpose(np.moveaxis(x, -1, 1), kernel, (None, 5, 6, 8), **kwargs)
    kwargs.pop("data_format")
    wanted = expected(oracle, "conv2d_transpose", (x, kernel, (2, 6, 8, 5)), kwargs)
    assert_same(flat(result), [np.moveaxis(wanted[0], -1, 1)])


@pytest.mark.parametrize("go_backwards", [False, True])
@pytest.mark.parametrize("zero_output", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_rnn_runs_a_step_over_time(oracle, go_backwards, zero_output, masked):
    """Outputs and states of a step with two states and a constant, with and without a mask."""
    import keras
    import tensorflow as tf

    x, h, c, k = floats(3, 5, 2), floats(3, 4), floats(3, 4), floats(2, 4)
    mask = np.array([[1, 1, 0, 1, 0], [0, 0, 1, 1, 1], [1, 1, 1, 1, 1]], bool) if masked else None
    options = {"go_backwards": go_backwards, "zero_output_for_mask": zero_output}

    def stepper(face):
        def step(row, states):
            total = face.dot(row, states[2]) + states[0] * 0.5
            return face.tanh(total + states[1]), [total, states[1] + 1.0]

        return step

    wanted = oracle.rnn(
        stepper(oracle),
        tf.constant(x),
        [tf.constant(h), tf.constant(c)],
        mask=None if mask is None else tf.constant(mask),
        constants=[tf.constant(k)],
        **options,
    )
    wanted = [np.asarray(leaf) for leaf in tf.nest.flatten(wanted)]
    assert_same(flat(K.rnn(stepper(K), x, [h, c], mask=mask, constants=[k], **options)), wanted)
    kx, kh, kc = (keras.Input(a.shape[1:]) for a in (x, h, c))
    kk = keras.Input(batch_shape=k.shape)
    inputs, arrays = [kx, kh, kc, kk], [x, h, c, k]
    if masked:
        inputs.append(keras.Input(mask.shape[1:], dtype="bool"))
        arrays.append(mask)
        options["mask"] = inputs[-1]
    outputs = K.rnn(stepper(K), kx, [kh, kc], constants=[kk], **options)
    assert_same(K.function(inputs, keras.tree.flatten(outputs))(arrays), wanted)
