"""TensorFlow passes the engines' suites, and takes arrays without a copy only where it may."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import layerprobe.backend as K  # noqa: N812 - as Keras 2 had it
from layerprobe.backend.suite import BackendSuite, wrapped
from layerprobe.backend.update_suite import UpdateSuite
from layerprobe.sources.rows import aligned_rows

pytestmark = pytest.mark.engine("tensorflow")


class TestTensorFlow(BackendSuite):
    """The suite on TensorFlow; the fixture `engine` is in conftest.py."""


class TestTensorFlowUpdates(UpdateSuite):
    """The suite of updates, the phase and random numbers on TensorFlow."""


def rows_of_numbers(count: int) -> np.ndarray:
    """Return rows in memory that TensorFlow takes as it is."""
    rows = aligned_rows((count, 64), np.dtype("float32"))
    rows[:] = np.random.default_rng(3).standard_normal(rows.shape)
    return rows


@pytest.mark.parametrize("shift", [0, 1])
def test_inputs_stay_as_they_are(shift):
    """Operations that could work in place get other memory than the caller's, and no result has it.

    `shift` moves the rows to memory that TensorFlow copies.
    """
    x = keras.Input((64,), name="x")
    hidden = keras.layers.Activation("relu", name="relu")(x)
    model = wrapped(keras.Model(x, keras.layers.Rescaling(2.0, name="twice")(hidden)))
    function = K.function(model.inputs, [model["x"], model["relu"], model["twice"]])
    rows = rows_of_numbers(65)[shift : 64 + shift].reshape(-1)[shift:][: 63 * 64].reshape(63, 64)
    before = rows.copy()
    for _ in range(3):
        same, positive, twice = function([rows])
        np.testing.assert_array_equal(rows, before)
        np.testing.assert_array_equal(same, before)
        np.testing.assert_array_equal(positive, np.maximum(before, 0))
        np.testing.assert_array_equal(twice, 2 * np.maximum(before, 0))
        for result in (same, positive, twice):
            assert not np.may_share_memory(result, rows)
            np.add(result, 1, out=result)  # it is the caller's own


def test_a_variable_has_memory_of_its_own():
    """What is assigned stays, whatever becomes of the array that it came from."""
    x, variable = K.placeholder((8, 64)), keras.Variable(np.zeros((8, 64), "float32"))
    rows = rows_of_numbers(8)
    before = rows.copy()
    K.function([x], [], [(variable, x)])([rows])
    rows[:] = 0
    np.testing.assert_array_equal(np.asarray(variable), before)
