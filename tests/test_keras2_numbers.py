"""Functions with Keras 2's names that its code no longer has, against NumPy; and errors."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from keras2_cases import chances, floats, integers

from layerprobe import backend as K  # noqa: N812 - the name users give it
from layerprobe.errors import BackendError

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module", autouse=True)
def keras(engine):
    """Return Keras on the engine of this run."""
    assert engine
    import keras

    return keras


def both_ways(keras, function, *arrays):
    """Return what a function gives for arrays, and what its graph of symbolic tensors gives."""
    direct = [np.asarray(K.eval(leaf)) for leaf in keras.tree.flatten(function(*arrays))]
    inputs = [keras.Input(batch_shape=a.shape, dtype=str(a.dtype)) for a in arrays]
    graph = K.function(inputs, keras.tree.flatten(function(*inputs)))(list(arrays))
    for one, other in zip(direct, graph, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-6)
    return direct


def assert_close(results, *wanted):
    """Check that results are what is wanted, to rounding, in shape too."""
    for result, value in zip(results, wanted, strict=True):
        assert result.shape == np.shape(value)
        np.testing.assert_allclose(result, value, rtol=0, atol=5e-6 * max(1, np.abs(value).max()))


def test_small_functions(keras):
    """Sums of exponentials, copies, and slices up to the end."""
    x = floats(3, 4, 5)
    assert_close(both_ways(keras, lambda t: K.logsumexp(t, axis=1), x), np.log(np.exp(x).sum(1)))
    assert_close(both_ways(keras, K.identity, x), x)
    box = both_ways(keras, lambda t: K.slice(t, (0, 1, 2), (-1, 2, 3)), x)
    assert_close(box, x[:, 1:3, 2:])
    with pytest.raises(BackendError, match="reaches beyond"):
        K.slice(x, (0, 3, 0), (3, 2, 5))
    with pytest.raises(BackendError, match="3 starts"):
        K.slice(x, (0,), (1,))
    first, second = K.stop_gradient([x, x + 1])
    assert_close([K.eval(first), K.eval(second)], x, x + 1)


def test_a_vector_condition_chooses_rows(keras):
    """The axes of a condition are the first ones; a scalar chooses all, and runs one function."""
    x, y, rows = floats(3, 3), floats(3, 3), np.array([1, 0, 1], "float32")
    chosen = np.where(rows[:, None] > 0, x, y)
    assert_close(both_ways(keras, K.switch, rows, x, y), chosen)
    cells = (x > 0).astype("float32")
    assert_close(both_ways(keras, K.switch, cells, x, y), np.where(cells > 0, x, y))
    for value in (0.0, 1.0):
        one = np.array(value, "float32")

        def choose(condition, then, other):
            return K.switch(condition, lambda: then * 2, lambda: other * 3)

        inputs = [keras.Input(batch_shape=a.shape) for a in (one, x, y)]
        graph = K.function(inputs, [choose(*inputs)])([one, x, y])
        wanted = x * 2 if value else y * 3
        assert_close([K.eval(choose(K.constant(one), K.constant(x), K.constant(y)))], wanted)
        assert_close(graph, wanted)
    with pytest.raises(BackendError, match="as many axes"):
        K.switch(x > 0, x[0], y[0])


def test_loops_over_the_first_axis(keras):
    """Mapping one and several tensors, folding from either end."""
    x, y = floats(4, 3), floats(4, 3)
    assert_close(both_ways(keras, lambda t: K.map_fn(lambda r: K.sum(r) * 2, t), x), x.sum(1) * 2)
    pairs = both_ways(keras, lambda a, b: K.map_fn(lambda p: p[0] - p[1], (a, b)), x, y)
    assert_close(pairs, x - y)
    whole = K.map_fn(K.sum, x, dtype="int32")
    assert K.dtype(whole) == "int32"

    def fold(total, row):
        return total * 0.5 + row

    left, right = x[0], x[3]
    for row in x[1:]:
        left = left * 0.5 + row
    for row in x[2::-1]:
        right = right * 0.5 + row
    assert_close(both_ways(keras, lambda t: K.foldl(fold, t), x), left)
    assert_close(both_ways(keras, lambda t: K.foldr(fold, t), x), right)
    start = np.ones(3, "float32")
    begun = ((start * 0.5 + x[0]) * 0.5 + x[1]) * 0.5 + x[2]
    assert_close(both_ways(keras, lambda t, s: K.foldl(fold, t, s), x[:3], start), begun)
    assert_close(both_ways(keras, lambda t: K.foldl(fold, t), x[:1]), x[0])


def test_rnn_gives_the_last_output_alone_and_takes_time_first(keras):
    """Only the last output, in one step; steps in front; a mask of which nothing is known."""
    x, h = floats(5, 3, 2), np.zeros((3, 2), "float32")

    def step(row, states):
        return row + states[0], [row + states[0]]

    def run(rows, state):
        return K.rnn(step, rows, [state], time_major=True, return_all_outputs=False)

    total = x.sum(0)
    assert_close(both_ways(keras, run, x, h), total, total[None], total)


def local(x, kernel, size, strides):
    """Return a local convolution in NumPy, channels last."""
    places = [(n - k) // s + 1 for n, k, s in zip(x.shape[1:-1], size, strides, strict=True)]
    result = np.zeros((len(x), *places, kernel.shape[-1]))
    for number, place in enumerate(np.ndindex(*places)):
        box = [slice(p * s, p * s + k) for p, s, k in zip(place, strides, size, strict=True)]
        patch = x[(slice(None), *box)]
        result[(slice(None), *place)] = patch.reshape(len(x), -1) @ kernel[number]
    return result


def test_local_convolutions_have_a_kernel_for_each_place(keras):
    """One and two axes, strides, channels in front: each place against its own kernel."""
    x, kernel = floats(2, 9, 3), floats(4, 6, 5)
    wanted = local(x, kernel, (2,), (2,))
    assert_close(both_ways(keras, lambda a, k: K.local_conv1d(a, k, (2,), (2,)), x, kernel), wanted)
    x, kernel = floats(2, 5, 6, 3), floats(8, 18, 4)
    wanted = local(x, kernel, (2, 3), (3, 1))
    run = lambda a, k: K.local_conv2d(a, k, (2, 3), (3, 1), (2, 4))  # noqa: E731
    assert_close(both_ways(keras, run, x, kernel), wanted)
    # With channels in front Keras 2 flattened a patch with them in front.
    turned = kernel.reshape(8, 2, 3, 3, 4).transpose(0, 3, 1, 2, 4).reshape(8, 18, 4)
    front = K.local_conv2d(
        np.moveaxis(x, -1, 1), turned, (2, 3), (3, 1), data_format="channels_first"
    )
    assert_close([K.eval(front)], np.moveaxis(wanted, -1, 1))


def test_transposed_convolution_of_volumes(keras):
    """Each input value spreads its kernel from its place times the stride."""
    x, kernel = floats(2, 2, 3, 2, 3), floats(2, 3, 2, 4, 3)
    full = np.zeros((2, 4, 9, 4, 4))
    for place in np.ndindex(2, 3, 2):
        spread = np.einsum("bc,dhwfc->bdhwf", x[(slice(None), *place)], kernel)
        box = [slice(2 * p, 2 * p + n) for p, n in zip(place, kernel.shape, strict=False)]
        full[(slice(None), *box)] += spread
    strides = (2, 2, 2)
    run = lambda a, k: K.conv3d_transpose(a, k, (2, 4, 8, 4, 4), strides)  # noqa: E731
    assert_close(both_ways(keras, run, x, kernel), full[:, :, :8])
    with pytest.raises(BackendError, match="An axis of 9 becomes 4"):
        K.conv3d_transpose(x, kernel, (2, 9, 7, 4, 4), strides)


def test_separable_convolution_over_steps(keras):
    """Each channel by its own kernels, then mixed."""
    x, deep, mix = floats(2, 7, 3), floats(3, 3, 2), floats(1, 6, 4)
    parts = np.stack([np.einsum("bkc,kcm->bcm", x[:, t : t + 3], deep) for t in range(5)], 1)
    wanted = parts.reshape(2, 5, 6) @ mix[0]
    assert_close(both_ways(keras, K.separable_conv1d, x, deep, mix), wanted)


@pytest.mark.parametrize("axes", [(0, 1, 2), (0, 2, 3), (0,)])
def test_normalizing_a_batch_gives_its_statistics(keras, axes):
    """The mean, the population's variance, and the values by them."""
    x = floats(4, 3, 2, 5)
    mean, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    gamma, beta = (np.abs(floats(*mean.squeeze(axes).shape)) + 1 for _ in range(2))
    wanted = (x - mean) / np.sqrt(var + 0.01) * gamma.reshape(mean.shape) + beta.reshape(mean.shape)
    run = lambda t, g, b: K.normalize_batch_in_training(t, g, b, axes, 0.01)  # noqa: E731
    results = both_ways(keras, run, x, gamma, beta)
    assert_close(results, wanted, mean.squeeze(axes), var.squeeze(axes))
    bare = K.normalize_batch_in_training(x, None, None, axes, 0.01)[0]
    assert_close([K.eval(bare)], (x - mean) / np.sqrt(var + 0.01))


def test_batch_normalization_runs_along_its_axis(keras):
    """Parameters of rank 1 belong to the axis named."""
    x, mean, var, beta, gamma = floats(2, 3, 4), floats(3), np.abs(floats(3)), floats(3), floats(3)
    m, v, b, g = (p.reshape(3, 1) for p in (mean, var, beta, gamma))
    run = lambda *all_five: K.batch_normalization(*all_five, axis=1)  # noqa: E731
    results = both_ways(keras, run, x, mean, var, beta, gamma)
    assert_close(results, (x - m) / np.sqrt(v + 1e-3) * g + b)


def ctc_probabilities(steps, blank):
    """Return the probability of every labeling: the sum over all paths that collapse to it."""
    found: dict[tuple[int, ...], float] = {}
    for path in itertools.product(range(steps.shape[1]), repeat=len(steps)):
        labels = tuple(k for k, _ in itertools.groupby(path) if k != blank)
        chance = float(np.prod([steps[t, k] for t, k in enumerate(path)], dtype="float64"))
        found[labels] = found.get(labels, 0.0) + chance
    return found


def test_ctc_agrees_with_all_paths_counted():
    """Loss and search against the sum over every path, for short sequences."""
    steps = chances(3, 5, 3) ** 3
    steps[0, :, :2] *= [[4, 0.1], [0.1, 0.1], [4, 0.1], [0.1, 4], [0.1, 0.1]]
    steps /= steps.sum(-1, keepdims=True)
    lengths = np.array([5, 4, 5], "int32")
    counted = [ctc_probabilities(s[:n], 2) for s, n in zip(steps, lengths, strict=True)]
    (found, second), logs = K.ctc_decode(
        steps, lengths, greedy=False, top_paths=2, merge_repeated=False
    )
    for row, labels in enumerate(counted):
        ranking = sorted(labels, key=labels.__getitem__, reverse=True)
        for place, path in enumerate((found, second)):
            said = tuple(int(k) for k in K.eval(path)[row] if k >= 0)
            assert said == ranking[place]
            assert abs(K.eval(logs)[row, place] - np.log(labels[said])) < 1e-4
    target, counts = integers(2, 3, 2), np.array([[2], [1], [2]], "int32")
    loss = K.eval(K.ctc_batch_cost(target, steps, lengths[:, None], counts))
    wanted = [
        -np.log(labels[tuple(int(k) for k in target[row][: counts[row, 0]])])
        for row, labels in enumerate(counted)
    ]
    assert_close([loss], np.array(wanted)[:, None])


@pytest.mark.parametrize("kind", ["max", "avg"])
def test_pooling_and_resizing_take_open_sizes(keras, kind):
    """Images whose size is known only at the run."""
    x, images = keras.Input((None, None, 2)), floats(2, 5, 4, 2)
    outputs = [
        K.pool2d(x, (2, 2), (2, 2), "same", pool_mode=kind),
        K.resize_images(x, 2, 2, "channels_last", "bilinear"),
        K.resize_images(x, 2, 3, "channels_last"),
    ]
    padded = np.pad(images, ((0, 0), (0, 1), (0, 0), (0, 0)), constant_values=np.nan)
    windows = padded.reshape(2, 3, 2, 2, 2, 2)
    wanted = {"max": np.nanmax, "avg": np.nanmean}[kind](windows, (2, 4))
    pooled, smooth, rough = K.function(x, outputs)([images])
    assert_close([pooled], wanted)
    assert_close([rough], images.repeat(2, 1).repeat(3, 2))
    fixed = K.eval(K.resize_images(images, 2, 2, "channels_last", "bilinear"))
    assert_close([smooth], fixed)


def test_wrong_arguments_are_refused_with_what_is_expected():
    """Ranks, axes, paddings, modes and interpolations that make no sense."""
    x, images = floats(2, 3, 4), floats(1, 4, 4, 2)
    for match, call in {
        "rank 2": lambda: K.repeat(x, 2),
        "ranks of 2": lambda: K.batch_dot(x, x[0, 0]),
        "over their axes": lambda: K.batch_dot(x, x, axes=(1, 2)),
        "not the batch": lambda: K.batch_dot(x, x, axes=0),
        "rank 1 or 2": lambda: K.bias_add(x, x),
        "a pair of numbers": lambda: K.temporal_padding(x, (1, 2, 3)),
        "valid or same": lambda: K.conv2d(images, floats(2, 2, 2, 1), padding="causal"),
        "mode max or avg": lambda: K.pool2d(images, (2, 2), pool_mode="sum"),
        "2 numbers each": lambda: K.pool2d(images, (2,)),
        "nearest or bilinear": lambda: K.resize_images(images, 2, 2, "channels_last", "bicubic"),
        "data format": lambda: K.conv2d(images, floats(2, 2, 2, 1), data_format="front"),
    }.items():
        with pytest.raises(BackendError, match=match):
            call()
