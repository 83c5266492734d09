"""The conformance suite of engines that can update; see `layerprobe.testing`.

Every expected value is written down, worked out in NumPy, or comes from a Keras layer called by
itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest

from layerprobe.backend.compiled import Function, make_function
from layerprobe.backend.engine import Engine
from layerprobe.backend.expressions import gradients, placeholder, symbolic
from layerprobe.backend.phase import learning_phase
from layerprobe.backend.updates import get_updates, state_updates, update_add
from layerprobe.errors import BackendError

Array = npt.NDArray[Any]


def held(*variables: Any) -> list[Array]:
    """Return copies of what variables hold."""
    return [np.array(keras.ops.convert_to_numpy(variable.value)) for variable in variables]


def numbers(*shape: int) -> Array:
    """Return rows of made-up numbers of both signs, the same for the same shape."""
    return np.random.default_rng(len(shape)).normal(size=shape).astype("float32")


class UpdateSuite:
    """The contract of updates, of the phase, and of the random numbers.

    A subclass gives the fixture `engine`: the engine's module, after `select` chose it.
    """

    def function(
        self,
        engine: Engine,
        inputs: Any,
        outputs: Any,
        updates: Sequence[Any] = (),
        *,
        training: bool = False,
    ) -> Function:
        """Return the compiled function on the engine under test."""
        return make_function(inputs, outputs, engine, updates, training=training)

    def test_shows_what_was_before_the_update(self, engine: Engine) -> None:
        """Outputs are of the state before the call, and stay so after the next one."""
        v = keras.Variable(np.ones((2, 2), "float32"))
        read = symbolic(v)
        outputs = [read, keras.ops.reshape(read, (4,)), read * 2]
        function = self.function(engine, [], outputs, [update_add(v, 3.0)])
        first = function([])
        second = function([])
        assert [float(out.max()) for out in (*first, *second)] == [1, 1, 2, 4, 4, 8]
        assert (held(v)[0] == 7).all()

    def test_assigns_together(self, engine: Engine) -> None:
        """Two variables swap: each new value is made of the old ones."""
        a, b = (keras.Variable(np.array(pair, "float32")) for pair in ([1, 2], [3, 4]))
        swap = self.function(engine, [], [], [(a, symbolic(b)), (b, symbolic(a))])
        for wanted in ([[3, 4], [1, 2]], [[1, 2], [3, 4]]):
            swap([])
            assert [value.tolist() for value in held(a, b)] == wanted

    def test_takes_an_optimizers_steps(self, engine: Engine) -> None:
        """Gradient descent on a line, worked out in NumPy; other variables do not move."""
        dense, other = keras.layers.Dense(1), keras.layers.Dense(4)
        x, y = keras.Input((3,)), placeholder((None, 1))
        out = dense(keras.ops.tanh(other(x)))
        loss = keras.ops.mean(keras.ops.square(out - y))
        updates = get_updates(keras.optimizers.SGD(0.1), loss, dense)
        step = self.function(engine, [x, y], loss, updates)
        given, wanted = numbers(8, 3), numbers(8, 1)
        kernel, bias = held(*dense.weights)
        before = held(*other.weights)
        inner = np.tanh(given @ before[0] + before[1])
        for _ in range(5):
            error = inner @ kernel + bias - wanted
            np.testing.assert_allclose(step([given, wanted]), (error**2).mean(), rtol=1e-5)
            kernel = kernel - 0.1 * 2 * inner.T @ error / 8
            bias = bias - 0.1 * 2 * error.mean(axis=0)
        for found, expected in zip(held(*dense.weights), (kernel, bias), strict=True):
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
        for found, expected in zip(held(*other.weights), before, strict=True):
            np.testing.assert_array_equal(found, expected)

    def test_sees_what_is_assigned_between_updates(self, engine: Engine) -> None:
        """A step starts from what the variables hold by then."""
        v = keras.Variable(np.float32(1))
        double = self.function(engine, [], symbolic(v), [(v, symbolic(v) * 2)])
        assert double([]) == 1
        v.assign(10.0)
        assert double([]) == 10
        assert held(v)[0] == 20

    def test_gives_gradients(self, engine: Engine) -> None:
        """By an input, by what is made of it, by a variable, and of a gradient."""
        x, v = placeholder((3,)), keras.Variable(np.float32(2))
        cubes = x * x * x
        loss = keras.ops.sum(cubes * symbolic(v))
        by_x, by_cubes, by_v = gradients(loss, [x, cubes, v])
        (twice,) = gradients(keras.ops.sum(by_x), x)
        function = self.function(engine, [x], [by_x, by_cubes, by_v, twice])
        given = np.array([1, -2, 3], "float32")
        expected = [6 * given**2, [2, 2, 2], (given**3).sum(), 12 * given]
        for found, wanted in zip(function([given]), expected, strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-6)

    def test_refuses_gradients_that_do_not_exist(self, engine: Engine) -> None:
        """A stop inside the user's own code is found before anything moves."""
        x, dense = keras.Input((3,)), keras.layers.Dense(2)
        loss = keras.ops.mean(keras.layers.Lambda(keras.ops.stop_gradient)(dense(x)))
        optimizer = keras.optimizers.SGD(0.1)
        updates = get_updates(optimizer, loss, dense)
        before = held(*dense.weights)
        with pytest.raises(BackendError, match="does not depend"):  # at build, or at the first call
            self.function(engine, [x], loss, updates)([numbers(4, 3)])
        for found, expected in zip(held(*dense.weights), before, strict=True):
            np.testing.assert_array_equal(found, expected)

    def test_obeys_the_phase_of_each_call(self, engine: Engine) -> None:
        """Dropout and statistics of the batch in phase 1 only; nothing is kept unasked."""
        x = keras.Input((200,))
        norm, drop = keras.layers.BatchNormalization(), keras.layers.Dropout(0.5, seed=1)
        phase = learning_phase()
        function = self.function(engine, [x, phase], [norm(x), drop(x), phase])
        given = numbers(10, 200) + 3
        state = held(*norm.variables, *drop.variables)
        normal, dropped, said = function([given, 1])
        assert said == 1
        np.testing.assert_allclose(normal.mean(axis=0), np.zeros(200), atol=1e-4)
        kept = dropped != 0
        assert 800 < kept.sum() < 1200
        np.testing.assert_allclose(dropped[kept], given[kept] * 2, rtol=1e-6)
        normal, dropped, said = function([given, 0])
        assert said == 0
        np.testing.assert_allclose(normal, given / np.sqrt(1.001), rtol=1e-5)
        np.testing.assert_array_equal(dropped, given)
        for found, expected in zip(held(*norm.variables, *drop.variables), state, strict=True):
            np.testing.assert_array_equal(found, expected)

    def test_keeps_states_where_asked(self, engine: Engine) -> None:
        """Statistics and generators move through state_updates, in the phase that moves them."""
        x = keras.Input((3,))
        norm = keras.layers.BatchNormalization(momentum=0.75)
        drop = keras.layers.Dropout(0.5, seed=1)
        out = drop(norm(x))
        given = numbers(8, 3)
        phase = learning_phase()
        function = self.function(engine, [x, phase], out, state_updates(norm, drop))
        function([given, 0])
        assert not held(norm.moving_mean)[0].any()
        (seed,) = held(drop.seed_generator.state)
        function([given, 1])
        np.testing.assert_allclose(held(norm.moving_mean)[0], given.mean(axis=0) / 4, rtol=1e-5)
        assert (held(drop.seed_generator.state)[0] != seed).any()

    def test_random_numbers_follow_the_seed(self, engine: Engine) -> None:
        """Other ones at each call; the same after the same seed; the first as the layer's own."""
        x, drop = keras.Input((100,)), keras.layers.Dropout(0.5, seed=1)
        function = self.function(engine, [x], drop(x), training=True)
        ones = np.ones((2, 100), "float32")
        first, second = function([ones]), function([ones])
        assert (first != second).any()
        np.testing.assert_array_equal(first, keras.ops.convert_to_numpy(drop(ones, training=True)))
        function.seed(7)
        third, fourth = function([ones]), function([ones])
        function.seed(7)
        np.testing.assert_array_equal(function([ones]), third)
        np.testing.assert_array_equal(function([ones]), fourth)
        assert (third != fourth).any()
