"""The arithmetic of windows along an axis, against Keras and against counting."""

from __future__ import annotations

import os
from itertools import product

import pytest

from layerprobe.modelfile.shape_spatial import transposed_size, window_size

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

KERNELS, STRIDES, DILATIONS, SIZES = range(1, 5), range(1, 4), range(1, 4), range(1, 13)


def ours(rule: object, *arguments: object, **more: object) -> object:
    """Return what a function gives, or ValueError if it raises that."""
    try:
        return rule(*arguments, **more)  # type: ignore[operator]
    except ValueError:
        return ValueError


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"),
    [
        sizes
        for sizes in product(KERNELS, STRIDES, ("valid", "same", "causal"), DILATIONS)
        if sizes[1] == 1 or sizes[3] == 1  # Keras has no strides and dilation together
    ],
)
def test_a_convolution_takes_as_many_steps_as_in_keras(
    kernel: int, stride: int, padding: str, dilation: int
) -> None:
    """For any axis, known or not, the length is Keras', and none where Keras finds none."""
    import keras

    layer = keras.layers.Conv1D(2, kernel, strides=stride, padding=padding, dilation_rate=dilation)
    for size in (*SIZES, None):
        expected = ours(lambda n: layer.compute_output_shape((None, n, 3))[1], size)
        assert ours(window_size, size, kernel, stride, padding, dilation) == expected, size


@pytest.mark.parametrize(
    ("pool", "stride", "padding"), list(product(KERNELS, STRIDES, ("valid", "same")))
)
def test_a_pool_takes_as_many_steps_as_in_keras(pool: int, stride: int, padding: str) -> None:
    """For any axis, known or not, the length is Keras', and none where Keras finds none."""
    import keras

    layer = keras.layers.MaxPooling1D(pool, strides=stride, padding=padding)
    for size in (*SIZES, None):
        expected = ours(lambda n: layer.compute_output_shape((None, n, 3))[1], size)
        assert ours(window_size, size, pool, stride, padding) == expected, size


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "extra"),
    list(product(KERNELS, STRIDES, ("valid", "same"), (None, 0, 1))),
)
def test_a_transposed_convolution_is_as_long_as_in_keras(
    kernel: int, stride: int, padding: str, extra: int | None
) -> None:
    """For any axis, known or not, and any dilation that Keras takes, the length is Keras'."""
    import keras

    for dilation in DILATIONS if stride == 1 else (1,):
        layer = keras.layers.Conv1DTranspose(
            2, kernel, strides=stride, padding=padding, dilation_rate=dilation
        )
        layer.output_padding = extra
        for size in (*SIZES, None):
            expected = layer.compute_output_shape((None, size, 3))[1]
            found = transposed_size(size, kernel, stride, padding, dilation=dilation, extra=extra)
            assert found == expected, (size, dilation)


@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"), list(product(KERNELS, STRIDES, DILATIONS))
)
def test_windows_can_be_counted(kernel: int, stride: int, dilation: int) -> None:
    """The length is the number of places where the window lies inside, or begins inside."""
    for size in SIZES:
        starts = range(0, size, stride)
        inside = [i for i in starts if i + (kernel - 1) * dilation < size]
        expected = len(inside) or ValueError
        assert ours(window_size, size, kernel, stride, "valid", dilation) == expected
        assert window_size(size, kernel, stride, "same", dilation) == len(starts)
