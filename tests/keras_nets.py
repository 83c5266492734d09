"""Keras models with all that layers can do, and some that Keras itself offers."""

from __future__ import annotations

from keras_models import MODELS, model

__all__ = ["MODELS"]


@model
def several_outputs(k):
    """Use states of recurrent layers, some of them as the initial states of others."""
    x = k.Input((5, 3), name="x")
    lstm = k.layers.LSTM(4, return_sequences=True, return_state=True, name="lstm")
    sequence, h, c = lstm(x)
    again = k.layers.LSTM(4, name="again")(sequence, initial_state=[h, c])
    both, *states = k.layers.Bidirectional(
        k.layers.GRU(2, return_state=True), merge_mode="concat", name="both"
    )(sequence)
    return k.Model(x, [k.layers.Concatenate(name="all")([again, both, *states]), c])


@model
def masks_and_operations(k):
    """Embed with a mask, and compute with bare operations, slices and reshapes."""
    words = k.Input((6,), dtype="int32", name="words")
    x = k.layers.Embedding(11, 4, mask_zero=True, name="embed")(words)
    x = k.layers.LSTM(3, return_sequences=True, name="lstm")(x)
    x = x * 2.0 + 1.0
    x = k.ops.reshape(x[:, 1:], (-1, 15))
    return k.Model(words, k.layers.Dense(2, name="end")(1.0 - x))


@model
def wrappers(k):
    """Apply layers and models at every step, and in both directions."""
    inner = k.Sequential([k.layers.Dense(3, name="a"), k.layers.ReLU(name="b")], name="inner")
    x = k.Input((5, 4), name="x")
    y = k.layers.TimeDistributed(k.layers.Dense(4), name="each")(x)
    y = k.layers.TimeDistributed(inner, name="each_model")(y)
    y = k.layers.Bidirectional(k.layers.SimpleRNN(2, return_sequences=True), name="both")(y)
    return k.Model(x, k.layers.RNN(k.layers.LSTMCell(3), name="cell")(y))


@model
def half_precision(k):
    """Compute in float16 with float32 weights, and end in float32."""
    policy = k.dtype_policies.DTypePolicy("mixed_float16")
    x = k.Input((8, 8, 2), name="x")
    y = k.layers.Conv2D(3, 3, dtype=policy, name="conv")(x)
    y = k.layers.BatchNormalization(dtype=policy, name="norm")(y)
    y = k.layers.GlobalMaxPooling2D(dtype=policy, name="pool")(y)
    return k.Model(x, k.layers.Dense(2, dtype="float32", name="end")(y))


@model
def attention(k):
    """Attend with scores put out, arguments by keyword, and a residual."""
    x = k.Input((5, 8), name="x")
    norm = k.layers.LayerNormalization(name="norm")(x)
    attend = k.layers.MultiHeadAttention(2, 4, name="attend")
    y, scores = attend(norm, value=norm, key=x, return_attention_scores=True)
    return k.Model(x, [k.layers.Add(name="residual")([x, y]), scores])


@model
def open_dimensions(k):
    """Leave height, width and length open."""
    image = k.Input((None, None, 3), name="image")
    steps = k.Input((None, 4), name="steps")
    pooled = k.layers.GlobalAveragePooling2D(name="pool")(k.layers.Conv2D(4, 3, name="conv")(image))
    summed = k.layers.GRU(4, name="gru")(k.layers.Conv1D(4, 2, padding="causal", name="c1")(steps))
    return k.Model([image, steps], k.layers.Multiply(name="times")([pooled, summed]))


@model
def random_layers(k):
    """Hold random state beside the weights, in layers and in a nested model."""
    inner = k.Sequential(
        [k.Input((6, 6, 1), name="in"), k.layers.GaussianNoise(0.1, name="noise")], name="inner"
    )
    x = k.Input((6, 6, 1), name="x")
    y = k.layers.Rescaling(1 / 255, name="scale")(inner(x))
    y = k.layers.SpatialDropout2D(0.2, name="maps")(k.layers.Conv2D(2, 3, name="conv")(y))
    y = k.layers.AlphaDropout(0.1, name="alpha")(k.layers.Flatten(name="flat")(y))
    return k.Model(
        x, k.layers.GRU(2, dropout=0.1, name="gru")(k.layers.Reshape((4, 8), name="r")(y))
    )


@model
def many_of_a_class(k):
    """Hold several layers of a class, out of order, with states that do not train."""
    x = k.Input((4,), name="x")
    y = k.layers.Dense(3, name="z")(x)
    y = k.layers.BatchNormalization(name="n2")(y)
    y = k.layers.Dense(5, name="a")(y)
    y = k.layers.BatchNormalization(name="n1")(y)
    y = k.layers.PReLU(name="p")(y)
    normal = k.layers.Normalization(axis=-1, mean=[0.0] * 5, variance=[1.0] * 5, name="given")(y)
    return k.Model(x, k.layers.Dense(2, name="m", use_bias=False)(normal))


@model
def whole_numbers(k):
    """Take bytes and put out whole numbers and truth values."""
    pixels = k.Input((4, 4), dtype="uint8", name="pixels")
    x = k.layers.Flatten(name="flat")(k.layers.Rescaling(1 / 255, name="scale")(pixels))
    x = k.layers.Dense(3, name="dense")(x)
    return k.Model(pixels, [k.ops.argmax(x, axis=-1), x > 0, pixels])


@model
def mobilenet(k):
    """Build MobileNetV2 as Keras offers it."""
    return k.applications.MobileNetV2((96, 96, 3), 0.35, weights=None, classes=10)


@model
def efficientnet(k):
    """Build EfficientNetB0 as Keras offers it, preprocessing included."""
    return k.applications.EfficientNetB0(input_shape=(64, 64, 3), weights=None, classes=10)


@model
def densenet(k):
    """Build DenseNet121 as Keras offers it."""
    return k.applications.DenseNet121(input_shape=(64, 64, 3), weights=None, classes=10)


@model
def convnext(k):
    """Build ConvNeXtTiny as Keras offers it, with a layer class of its own."""
    return k.applications.ConvNeXtTiny(input_shape=(64, 64, 3), weights=None, classes=10)
