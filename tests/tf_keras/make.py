"""Models of Keras 2 with every layer's output, made by tf_keras: what tests/test_tf_keras.py reads.

Run by hand, with `pip install tf_keras==2.21.0`, in this folder; the files are in the repository.
"""

from __future__ import annotations

import os
from pathlib import Path

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np
import tensorflow as tf
import tf_keras as keras
from tf_keras import layers

HERE = Path(__file__).parent
AT = np.random.default_rng(5)


def save(name, inputs, outputs, kind="h5"):
    """Write a model, random inputs, and what each layer makes of them."""
    model = keras.Model(inputs, outputs)
    for weight in model.weights:
        if "variance" in weight.name:
            weight.assign(AT.uniform(0.5, 2, weight.shape))
        elif weight.dtype == tf.float32:
            weight.assign(AT.normal(0, 0.5, weight.shape))
    for layer in model.layers:
        if isinstance(layer, layers.Normalization):
            layer.finalize_state()  # as loading does: it computes with what it makes of these
    settings = {"save_format": "tf"} if kind == "saved_model" else {}
    model.save(HERE / f"{name}.{kind}", **settings)
    if settings:  # the graphs take megabytes, and are never read
        (HERE / f"{name}.{kind}" / "saved_model.pb").write_bytes(b"")
    rows = [AT.normal(size=(3, *i.shape[1:])).astype("float32") for i in model.inputs]
    arrays = {f"IN|{number}": row for number, row in enumerate(rows)}
    wanted = {}
    known = [node for level in model._nodes_by_depth.values() for node in level]
    for layer in model.layers:
        nodes = [n for n in layer.inbound_nodes if n in known]
        for number, node in enumerate(nodes):
            for place, tensor in enumerate(tf.nest.flatten(node.outputs)):
                wanted[f"{layer.name}|{number}|{place}"] = tensor
    with tf.init_scope():
        keras.backend.set_learning_phase(0)  # random layers would take it for training
    found = keras.backend.function(model.inputs, list(wanted.values()))(rows)
    np.savez_compressed(HERE / f"{name}.npz", **arrays, **dict(zip(wanted, found, strict=True)))


def recurrent():
    """An encoder and a decoder that begins with the encoder's states, in both directions too."""
    x, y = keras.Input((5, 3), name="x"), keras.Input((4, 2), name="y")
    coded, *states = layers.LSTM(4, return_state=True, name="encoder")(x)
    decoded = layers.LSTM(4, return_sequences=True, name="decoder")(y, initial_state=states)
    gru = layers.GRU(3, name="gru")(decoded, initial_state=layers.Dense(3, name="start")(coded))
    both = layers.Bidirectional(layers.GRU(2, return_sequences=True), name="both")(decoded)
    return [x, y], [gru, both]


def attention():
    """Attention of several kinds, with tensors among the keywords."""
    x, y = keras.Input((5, 4), name="x"), keras.Input((3, 4), name="y")
    heads = layers.MultiHeadAttention(2, 3, name="heads")(x, y)
    named = layers.MultiHeadAttention(2, 3, name="named")(y, value=x, key=x)
    dot = layers.Attention(use_scale=True, name="dot")([x, y])
    added = layers.AdditiveAttention(name="added")([x, y])
    joined = layers.Concatenate(axis=1, name="joined")([heads, dot, added, named])
    normed = layers.LayerNormalization(name="normed")(joined)
    einsum = layers.EinsumDense("abc,cd->abd", (None, 5), bias_axes="d", name="einsum")
    return [x, y], einsum(normed)


def activations():
    """Layers as activations, and the activations that have a name."""
    x = keras.Input((6,), name="x")
    found = [
        layers.Dense(4, activation=layers.LeakyReLU(0.3), name="leaky")(x),
        layers.Dense(4, activation=layers.ReLU(max_value=1.0), name="limited")(x),
        layers.LeakyReLU(name="slope")(x),
        layers.ThresholdedReLU(0.4, name="threshold")(x),
        *(
            layers.Dense(4, activation=name, name=name)(x)
            for name in "hard_sigmoid gelu swish elu selu softsign softplus exponential".split()
        ),
    ]
    return x, found


def spatial():
    """Layers over images and volumes."""
    x, v = keras.Input((8, 6, 4), name="x"), keras.Input((4, 4, 4, 2), name="v")
    found = [
        layers.DepthwiseConv2D(3, strides=2, padding="same", name="depthwise")(x),
        layers.SeparableConv2D(3, 2, padding="same", name="separable")(x),
        layers.Conv2D(4, 3, groups=2, name="grouped")(x),
        layers.Conv2DTranspose(3, 3, strides=2, padding="same", name="transposed")(x),
        layers.UpSampling2D((3, 2), interpolation="bilinear", name="bilinear")(x),
        layers.UpSampling2D(2, name="nearest")(x),
        layers.LocallyConnected2D(2, 3, name="local")(x),
        layers.GlobalAveragePooling2D(keepdims=True, name="mean")(x),
        layers.BatchNormalization(name="norm")(x),
        layers.GroupNormalization(2, name="groups")(x),
        layers.UnitNormalization(name="unit")(x),
        layers.Rescaling(0.5, 1.0, name="scaled")(x),
        layers.Resizing(4, 4, name="resized")(x),
        layers.CenterCrop(4, 4, name="centre")(x),
        layers.Permute((2, 1, 3), name="permuted")(x),
        layers.SpatialDropout2D(0.5, name="dropped")(x),
        layers.Conv3D(2, 2, name="volume")(v),
        layers.Conv3DTranspose(2, 2, strides=2, name="grown")(v),
    ]
    return [x, v], found


def sequences():
    """Layers along time."""
    x, f = keras.Input((6, 3), name="x"), keras.Input((4, 5, 5, 2), name="f")
    found = [
        layers.Conv1D(2, 2, padding="causal", dilation_rate=2, name="causal")(x),
        layers.Conv1DTranspose(2, 3, strides=2, name="transposed")(x),
        layers.DepthwiseConv1D(2, name="depthwise")(x),
        layers.LocallyConnected1D(2, 2, name="local")(x),
        layers.SimpleRNN(2, name="simple")(x),
        layers.GRU(2, reset_after=False, name="before")(x),
        layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)], name="stack")(x),
        layers.TimeDistributed(layers.Dense(2), name="each")(x),
        layers.ConvLSTM2D(2, 3, padding="same", return_sequences=True, name="conv_lstm")(f),
        layers.Bidirectional(layers.ConvLSTM2D(2, 2), name="both")(f),
    ]
    return [x, f], found


def masked():
    """Recurrent layers over steps of which some are masked: those that are not above 0."""
    x = keras.Input((6, 1), name="x")
    y = layers.Masking(name="some")(layers.ReLU(name="above")(x))
    zeros = {"zero_output_for_mask": True}
    found = [
        layers.Bidirectional(layers.GRU(2, return_sequences=True), name="both")(y),
        layers.Bidirectional(layers.LSTM(2), name="both_last")(y),
        layers.Bidirectional(layers.SimpleRNN(2, **zeros), name="both_zeros")(y),
        layers.LSTM(2, return_sequences=True, name="forth")(y),
        layers.LSTM(2, return_sequences=True, go_backwards=True, name="back")(y),
        layers.GRU(2, return_sequences=True, name="zeros", **zeros)(y),
        layers.RNN([layers.LSTMCell(2), layers.GRUCell(2)], name="last_zeros", **zeros)(y),
    ]
    return x, found


def meeting():
    """Masked steps that meet in merging layers, each with a recurrent layer behind."""
    x, y = keras.Input((5, 1), name="x"), keras.Input((5, 1), name="y")
    one, other = (
        layers.Masking(name=f"{i.name}_some")(layers.ReLU(name=f"{i.name}_above")(i))
        for i in (x, y)
    )
    found = [
        layers.LSTM(2, return_sequences=True, name=f"after_{after}")(merged)
        for after, merged in {
            "add": layers.Add(name="add")([one, other]),
            "subtract": layers.Subtract(name="subtract")([one, other]),
            "maximum": layers.Maximum(name="maximum")([one, y]),
            "multiply": layers.Multiply(name="multiply")([x, other]),
            "beside": layers.Concatenate(name="beside")([one, x, other]),
            "behind": layers.Concatenate(axis=1, name="behind")([one, other]),
            "alone": layers.Concatenate(name="alone")([one, y]),
            "scaled": layers.Rescaling(2.0, name="scaled")(one),
            "rectified": layers.ReLU(name="rectified")(other),
        }.items()
    ]
    seen = layers.MultiHeadAttention(1, 2, name="seen")(one, other)
    return [x, y], [*found, layers.GRU(2, name="after_seen")(seen)]


def operations():
    """Operations of TensorFlow between layers."""
    x, y = keras.Input((4, 3), name="x"), keras.Input((4, 3), name="y")
    z = tf.reduce_mean(x * 2.0 + y, axis=-1, keepdims=True)
    z = tf.concat([z, tf.nn.softmax(x - 1.0), tf.transpose(y, (0, 1, 2))], axis=-1)
    z = tf.reshape(z, (-1, 28)) / 3.0
    rest = 1.0 - tf.matmul(x, y, transpose_b=True)
    return [x, y], [layers.Dense(2, name="dense")(tf.nn.relu(z)), rest]


def arranged():
    """Operations of TensorFlow that take parts of tensors, compare, and put together."""
    x, y = keras.Input((4, 3), name="x"), keras.Input((4, 3), name="y")
    first, second = tf.split(x, [1, 3], axis=1)
    found = [
        x[:, 0] - y[..., -1:][:, 1],
        x[:, 1:3, ::2],
        x[:, ::-1],
        tf.stack([first, second[:, 1:2]], axis=1),
        tf.reshape(x, [tf.shape(y)[0], 12]),
        tf.where(x > y, x, tf.zeros_like(y)),
        tf.pad(x, [[0, 0], [1, 1], [0, 2]]),
        tf.gather(x, [2, 0], axis=1),
        tf.math.l2_normalize(x, axis=-1),
        tf.math.reduce_std(x, axis=1),
        tf.one_hot(tf.argmax(x, axis=-1), 3),
        tf.math.top_k(x, 2)[0],
        tf.math.divide_no_nan(x, tf.nn.relu(y)),
    ]
    return [x, y], found


def named():
    """Names with slashes, models in sequences and over time, calls by name."""
    x, v = keras.Input((7, 4), name="x"), keras.Input((3, 7, 4), name="v")
    held = keras.Input((7, 4), name="held")
    first = layers.Conv1D(3, 2, name="block/conv")(held)
    body = keras.Model(held, layers.GlobalMaxPooling1D(name="block/pool")(first), name="body")
    a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
    pair = keras.Model(
        {"a": a, "b": b},
        {"p": layers.Dense(2, name="p")(a), "q": layers.Add(name="q")([a, b])},
        name="pair",
    )
    of_pair = pair({"a": x[:, 0], "b": x[:, 1]})
    found = [
        keras.Sequential([body, layers.Dense(2, name="last")], name="chain")(x),
        layers.TimeDistributed(body, name="each")(v),
        layers.Subtract(name="apart")([of_pair["p"], of_pair["q"][:, :2]]),
        layers.BatchNormalization(synchronized=True, name="conv1/norm")(x),
        layers.SeparableConv1D(3, 2, padding="causal", dilation_rate=2, name="separable")(x),
        layers.AveragePooling1D(3, 2, padding="same", name="means")(x),
        layers.AveragePooling2D(2, padding="same", name="more_means")(v),
        layers.LayerNormalization(axis=1, name="along_time")(x),
        layers.ConvLSTM1D(2, 2, name="conv_lstm")(v),
        layers.SpectralNormalization(layers.Dense(2), name="spectral")(x),
    ]
    return [x, v], found


def preprocessing():
    """Layers that prepare numbers and images; at inference random ones do nothing."""
    x, image = keras.Input((4,), name="x"), keras.Input((6, 6, 3), name="image")
    normal = layers.Normalization(name="normal")
    normal.adapt(AT.normal(3, 2, (50, 4)).astype("float32"))
    bins = layers.Discretization(bin_boundaries=[-1.0, 0.0, 0.5], name="bins")(x)
    found = [
        normal(x),
        layers.Normalization(mean=1.5, variance=4.0, name="fixed")(x),
        bins,
        layers.CategoryEncoding(5, output_mode="multi_hot", name="coded")(bins),
        layers.IntegerLookup(vocabulary=[1, 2, 3], name="looked_up")(bins),
    ]
    for kind in "Flip Rotation Zoom Translation Contrast".split():
        given = {"Flip": (), "Translation": (0.1, 0.1)}.get(kind, (0.1,))
        found.append(getattr(layers, f"Random{kind}")(*given, name=f"random_{kind.lower()}")(image))
    return [x, image], found


def nested():
    """A model that is called twice, in a Sequential, beside layers of one class."""
    inner_in = keras.Input((6,), name="inner_in")
    hidden = layers.Dense(5, activation="relu", name="inner_dense")(inner_in)
    normed = layers.BatchNormalization(name="inner_norm")(hidden)
    inner = keras.Model(inner_in, normed, name="inner")
    tail = keras.Sequential([layers.Dense(3, name="a"), layers.Dense(2, name="b")], name="tail")
    x, y = keras.Input((6,), name="x"), keras.Input((6,), name="y")
    joined = layers.Subtract(name="apart")([inner(x), inner(y)])
    return [x, y], tail(layers.Dense(4, name="joined")(joined))


def stacked():
    """Cells in a list, which is an attribute of a layer."""
    x = keras.Input((5, 3), name="x")
    cells = [layers.LSTMCell(4), layers.GRUCell(3)]
    return [x], [layers.RNN(cells, return_sequences=True, name="stack")(x)]


if __name__ == "__main__":
    for make in (
        recurrent,
        attention,
        activations,
        spatial,
        sequences,
        operations,
        preprocessing,
        nested,
        masked,
        meeting,
        stacked,
        arranged,
        named,
    ):
        keras.utils.set_random_seed(1)
        keras.backend.clear_session()
        save(make.__name__, *make())
        if make in (recurrent, attention, nested, sequences, spatial, preprocessing):
            keras.backend.clear_session()
            save(f"{make.__name__}_archive", *make(), kind="keras")
        if make in (recurrent, nested, stacked):
            keras.backend.clear_session()
            save(f"{make.__name__}_folder", *make(), kind="saved_model")
