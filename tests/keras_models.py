"""Keras models of every shape that a graph can take, each made by a function of its own.

`MODELS` holds them by name. They are small; their weights are whatever Keras draws.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

MODELS: dict[str, Callable[[], Any]] = {}

# Weights of an .h5 file lie below the names of the outermost layers, where these names collide.
NOT_AS_H5 = frozenset({"same_name_everywhere"})


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
