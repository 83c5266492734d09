"""Keras models of every shape a graph can take, each made by a function of its own.

`MODELS` holds them by name. They are small; their weights are whatever Keras draws.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

MODELS: dict[str, Callable[[], Any]] = {}

# Weights of an .h5 file lie below the names of the outermost layers, where these names collide.
NOT_AS_H5 = frozenset({"same_name_everywhere"})
# TensorFlow, when it compiles, takes layer names for names of scopes, and refuses some.
NOT_ON_TENSORFLOW = frozenset({"hard_names"})


def model(build: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Put a function of the module `keras` into MODELS."""

    def made() -> Any:
        import keras

        keras.utils.set_random_seed(3)
        return build(keras)

    MODELS[build.__name__] = made
    return build


@model
def chain_with_input(k):
    """Stack layers on a given input."""
    return k.Sequential(
        [
            k.Input((8, 8, 3), name="images"),
            k.layers.Conv2D(4, 3, padding="same", name="conv"),
            k.layers.BatchNormalization(name="norm"),
            k.layers.ReLU(name="relu"),
            k.layers.MaxPooling2D(name="pool"),
            k.layers.Dropout(0.5, name="drop"),
            k.layers.Flatten(name="flat"),
            k.layers.Dense(5, activation="softmax", name="probabilities"),
        ]
    )


@model
def chain_without_input(k):
    """Stack layers whose input's shape is known from a first call only."""
    made = k.Sequential([k.layers.Dense(4, name="first"), k.layers.Dense(2, name="last")])
    made(k.ops.zeros((2, 3)))
    return made


@model
def two_in_two_out(k):
    """Put out a tensor of the middle, an end, and the middle again."""
    a, b = k.Input((4,), name="a"), k.Input((3,), name="b")
    both = k.layers.Concatenate(name="both")([a, k.layers.Dense(4, name="widen")(b)])
    end = k.layers.Dense(2, name="end")(both)
    return k.Model([b, a], [both, end, both])


@model
def dicts_in_and_out(k):
    """Take and return dicts whose keys are not in the order of the k.layers."""
    left, right = k.Input((4,), name="left"), k.Input((4,), name="right")
    total = k.layers.Add(name="total")([left, right])
    product = k.layers.Multiply(name="product")([left, right])
    return k.Model({"right": right, "left": left}, {"total": total, "product": product})


@model
def shared_layer(k):
    """Call one layer three times, twice on its own outputs."""
    x = k.Input((4,), name="x")
    step = k.layers.Dense(4, name="step", activation="tanh")
    return k.Model(x, k.layers.Average(name="mean")([step(x), step(step(step(x)))]))


@model
def nested_functional(k):
    """Nest functional models three deep, with two inputs and two outputs in the middle one."""
    x = k.Input((4,), name="x")
    core = k.Model(x, k.layers.Dense(4, name="deep")(k.layers.ReLU(name="relu")(x)), name="core")
    p, q = k.Input((4,), name="p"), k.Input((4,), name="q")
    added = k.layers.Add(name="add")([p, core(p)])
    middle = k.Model([p, q], [core(q), added], name="middle")
    u = k.Input((4,), name="u")
    first, second = middle([u, k.layers.Dense(4, name="before")(u)])
    apart = k.layers.Subtract(name="sub")([first, second])
    return k.Model(u, k.layers.Dense(2, name="after")(apart))


@model
def nested_chains(k):
    """Nest Sequentials three deep, with and without inputs of their own."""
    core = k.Sequential([k.layers.Dense(4, name="a"), k.layers.ReLU(name="b")], name="core")
    middle = k.Sequential(
        [k.Input((4,), name="given"), k.layers.Dense(4, name="c"), core], name="middle"
    )
    return k.Sequential([k.Input((4,), name="x"), middle, k.layers.Dense(1, name="d")])


@model
def chain_in_functional(k):
    """Call a Sequential inside a functional model three times."""
    encode = k.Sequential([k.layers.Dense(4, name="a"), k.layers.Dense(4, name="b")], name="encode")
    x = k.Input((4,), name="x")
    once, again = encode(x), encode(x)
    return k.Model(x, [encode(once), again])


@model
def functional_in_chain(k):
    """Put a functional model with an inner branch into a Sequential."""
    x = k.Input((6,), name="x")
    added = k.layers.Add(name="add")([x, k.layers.Dense(6, name="side")(x)])
    branch = k.Model(x, added, name="net")
    return k.Sequential([k.Input((6,), name="rows"), branch, k.layers.Dense(2, name="end")])


@model
def shared_nested(k):
    """Compare two images by one encoder."""
    image = k.Input((8, 8, 1), name="image")
    x = k.layers.Conv2D(3, 3, name="conv")(image)
    encoder = k.Model(image, k.layers.GlobalAveragePooling2D(name="pool")(x), name="encoder")
    left, right = k.Input((8, 8, 1), name="left"), k.Input((8, 8, 1), name="right")
    apart = k.ops.abs(encoder(left) - encoder(right))
    return k.Model([left, right], k.layers.Dense(1, name="same")(apart))


@model
def first_call_put_out(k):
    """Put out the first call of a nested model although there is a second one."""
    x = k.Input((4,), name="x")
    net = k.Model(x, k.layers.Dense(4, name="inner")(x), name="net")
    rows = k.Input((4,), name="rows")
    once = net(rows)
    return k.Model(rows, [once, k.layers.Dense(1, name="end")(net(once))])


@model
def second_call_put_out(k):
    """Put out the second call of a nested model alone."""
    x = k.Input((4,), name="x")
    net = k.Model(x, k.layers.Dense(4, name="inner")(x), name="net")
    rows = k.Input((4,), name="rows")
    return k.Model(rows, net(net(rows)))


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
def partly_frozen(k):
    """Freeze a layer, and a model in which one layer says that it is trainable."""
    net = k.Sequential(
        [k.Input((4,), name="in"), k.layers.Dense(4, name="a"), k.layers.Dense(4, name="b")],
        name="net",
    )
    x = k.Input((4,), name="x")
    held = k.layers.Dense(4, name="held", trainable=False)
    made = k.Model(x, k.layers.Dense(2, name="free")(net(held(x))))
    net.trainable = False
    net.get_layer("b").trainable = True
    return made


@model
def same_name_everywhere(k):
    """Give a model, the model in it and the layer in that one name."""
    x = k.Input((4,), name="x")
    inner = k.Model(x, k.layers.Dense(4, name="net")(k.layers.Dense(3, name="a")(x)), name="net")
    y = k.Input((4,), name="x")
    middle = k.Model(y, k.layers.Dense(5, name="a")(inner(y)), name="net")
    z = k.Input((4,), name="x")
    return k.Model(z, k.layers.Dense(2, name="a")(middle(z)), name="net")


@model
def named_like_its_parent(k):
    """Give a layer the name of the model that it is in, beside another one."""
    inner = k.Sequential([k.layers.Dense(4, name="net"), k.layers.Dense(3, name="a")], name="net")
    return k.Sequential([k.Input((4,), name="x"), inner])


@model
def hard_names(k):
    """Name layers like numbers, calls, outputs, patterns and terminal codes."""
    names = ["3", "all", "a@1", "a:1", "block*", "a b", "größe", "\x1b[31m", "100%", "-1"]
    x = k.Input((4,), name="re:x")
    y = x
    for name in names:
        y = k.layers.Dense(4, name=name)(y)
    return k.Model(x, y, name="class:x")


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
