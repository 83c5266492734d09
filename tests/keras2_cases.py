"""Calls of Keras 2's backend, each to be compared with what Keras 2 on TensorFlow computes.

A case is the name, the positional arguments and the keywords. Arrays among the positional ones
become symbolic tensors in the tests of symbolic use.
"""

from __future__ import annotations

import numpy as np

_RNG = np.random.default_rng(7)


def floats(*shape):
    """Return made-up numbers around zero."""
    return _RNG.normal(size=shape).astype("float32")


def chances(*shape):
    """Return rows of made-up probabilities, away from 0, of the sum 1."""
    raw = _RNG.random(shape).astype("float32") + 0.1
    return raw / raw.sum(-1, keepdims=True)


def integers(high, *shape):
    """Return made-up whole numbers from 0 up to `high`."""
    return _RNG.integers(0, high, shape).astype("int32")


X = floats(3, 4)
TIES = np.array([[0.5, 0.5, 0.1], [0.2, 0.1, 0.7], [0.4, np.nan, 0.3]], "float32")
# Near 1, float32 leaves so little of 1 - p that two orders of adding differ in the third digit.
EDGE = np.array([[0.0, 0.999, 0.5], [1e-8, 0.99, 0.25]], "float32")
BITS = np.array([[1, 0, 1], [0, 1, 1]], "float32")
IMAGES, VOLUMES = floats(2, 5, 6, 3), floats(2, 4, 5, 3, 2)
FIRST = {"data_format": "channels_first"}

ALIASES = [
    *((n, (X,), {}) for n in "abs cos elu exp round sigmoid sign sin softmax softplus".split()),
    *((n, (X,), {}) for n in "softsign square tanh transpose zeros_like ones_like flatten".split()),
    *(
        (n, (X,), {"axis": 1, "keepdims": True})
        for n in "all any max mean min prod std sum var".split()
    ),
    *((n, (X > 0,), {}) for n in "all any mean std var".split()),
    ("round", (np.array([0.5, 1.5, 2.5, -0.5], "float32"),), {}),
    ("log", (np.abs(X),), {}),
    ("elu", (X,), {"alpha": 0.3}),
    ("softmax", (floats(2, 3, 4),), {"axis": 1}),
    ("cast", (X, "int32"), {}),
    ("squeeze", (floats(3, 1, 2), 1), {}),
    ("stack", ([X, X + 1],), {"axis": 1}),
    ("categorical_crossentropy", (chances(3, 4), chances(3, 4) * 2), {}),
    ("categorical_crossentropy", (chances(3, 4), X), {"from_logits": True}),
    ("categorical_crossentropy", (chances(3, 4), chances(3, 4)), {"axis": 0}),
]

ARITHMETIC = [
    *(
        (n, (np.round(X), np.round(X[::-1])), {})
        for n in "equal not_equal greater greater_equal less less_equal maximum minimum".split()
    ),
    ("pow", (np.abs(X), 1.5), {}),
    ("sqrt", (X,), {}),
    ("clip", (X, -0.5, 0.5), {}),
    ("clip", (X, 0.5, -0.5), {}),
    ("clip", (X, None, 0.1), {}),
    ("clip", (X, 0.1, None), {}),
    ("cumsum", (X,), {}),
    ("cumsum", (X, 1), {}),
    ("cumprod", (X,), {}),
    ("stop_gradient", (X,), {}),
    ("hard_sigmoid", (np.linspace(-4, 4, 17, dtype="float32"),), {}),
    *(
        ("relu", (X * 3,), kwargs)
        for kwargs in (
            {},
            {"alpha": 0.2},
            {"max_value": 1.0},
            {"max_value": 6},
            {"threshold": 0.7},
            {"threshold": -0.7},
            {"alpha": 0.2, "max_value": 1.0, "threshold": 0.5},
            {"alpha": 0.2, "max_value": 1.0, "threshold": -0.5},
            {"alpha": 0.1, "threshold": -0.5},
        )
    ),
    ("l2_normalize", (X,), {}),
    ("l2_normalize", (X * 0,), {"axis": 1}),
    ("l2_normalize", (X,), {"axis": -1}),
    ("dot", (X, floats(4, 5)), {}),
    ("dot", (floats(2, 3, 4), floats(4, 5)), {}),
    ("dot", (floats(2, 3, 4), floats(5, 4, 6)), {}),
    *(
        ("batch_dot", (floats(*left), floats(*right)), {"axes": axes})
        for left, right, axes in (
            ((3, 4), (3, 4), None),
            ((3, 4), (3, 4), 1),
            ((3, 4), (3, 4, 5), None),
            ((3, 5), (3, 4, 5), (1, 2)),
            ((3, 2, 4), (3, 4), None),
            ((3, 2, 4), (3, 4, 5), None),
            ((3, 4, 2), (3, 4, 5), 1),
            ((3, 2, 4), (3, 5, 4), (-1, -1)),
            ((3, 2, 6, 4), (3, 5, 4, 7), (3, 2)),
            ((3, 4, 2, 6), (3, 4, 5), (1, 1)),
        )
    ),
    ("bias_add", (IMAGES, floats(3)), {}),
    ("bias_add", (IMAGES, floats(5)), FIRST),
    ("bias_add", (IMAGES, floats(5, 6, 3)), {}),
    ("bias_add", (IMAGES, floats(6, 3, 5)), FIRST),
    ("bias_add", (X, floats(4)), {}),
    ("batch_normalization", (X, floats(4), np.abs(floats(4)), floats(4), floats(4)), {}),
    ("batch_normalization", (X, floats(4), np.abs(floats(4)), None, None), {"epsilon": 0.1}),
    ("batch_normalization", (X, floats(3, 1), np.abs(floats(3, 1)), floats(3, 1), None), {}),
]

ARRANGING = [
    *((n, (X,), k) for n in ("argmax", "argmin") for k in ({}, {"axis": 0})),
    ("arange", (5,), {}),
    ("arange", (-3,), {}),
    ("arange", (2, 11, 3), {}),
    ("arange", (1, 2, 0.25), {"dtype": "float32"}),
    ("reshape", (X, (2, 6)), {}),
    ("reshape", (X, (-1, 2)), {}),
    ("batch_flatten", (IMAGES,), {}),
    ("expand_dims", (X,), {}),
    ("expand_dims", (X, 1), {}),
    ("permute_dimensions", (IMAGES, (0, 3, 1, 2)), {}),
    ("concatenate", ([X, X + 1],), {}),
    ("concatenate", ([X, X + 1],), {"axis": 0}),
    ("reverse", (X, 1), {}),
    ("reverse", (X, [0, 1]), {}),
    ("repeat", (X, 3), {}),
    ("repeat_elements", (X, 2), {"axis": 1}),
    ("tile", (X, [2, 3]), {}),
    ("tile", (X[0], 3), {}),
    ("gather", (X, integers(3, 2, 2)), {}),
    ("one_hot", (np.array([0, 2, 5, -1], "int32"), 3), {}),
    ("in_top_k", (floats(6, 5), integers(5, 6), 2), {}),
    *(("in_top_k", (TIES, np.array(t, "int32"), 1), {}) for t in ([0, 2, 0], [1, 0, 1], [2, 2, 2])),
    ("temporal_padding", (floats(2, 3, 4),), {"padding": (2, 1)}),
    ("spatial_2d_padding", (IMAGES,), {"padding": ((1, 2), (0, 3))}),
    ("spatial_2d_padding", (IMAGES,), FIRST),
    ("spatial_3d_padding", (VOLUMES,), {"padding": ((1, 2), (0, 3), (1, 0))}),
    ("spatial_3d_padding", (VOLUMES,), FIRST),
]

LOSSES = [
    ("binary_crossentropy", (BITS, EDGE), {}),
    ("binary_crossentropy", (BITS, EDGE * 8 - 4), {"from_logits": True}),
    ("binary_focal_crossentropy", (BITS, EDGE), {}),
    (
        "binary_focal_crossentropy",
        (BITS, EDGE * 4 - 2),
        {"from_logits": True, "apply_class_balancing": True, "alpha": 0.3, "gamma": 1.5},
    ),
    ("categorical_focal_crossentropy", (BITS, EDGE + 0.2), {}),
    ("categorical_focal_crossentropy", (BITS, EDGE * 4 - 2), {"from_logits": True, "axis": 0}),
    ("sparse_categorical_crossentropy", (integers(4, 3), chances(3, 4)), {}),
    ("sparse_categorical_crossentropy", (integers(4, 3), chances(3, 4) * 3), {}),
    ("sparse_categorical_crossentropy", (integers(3, 2), EDGE), {}),
    ("sparse_categorical_crossentropy", (integers(4, 3, 1), X), {"from_logits": True}),
    ("sparse_categorical_crossentropy", (integers(4, 2, 3), chances(2, 3, 4)), {}),
    ("sparse_categorical_crossentropy", (integers(4, 2, 3, 1), chances(2, 3, 4)), {}),
    ("sparse_categorical_crossentropy", (integers(4, 2, 3), chances(2, 4, 3)), {"axis": 1}),
    (
        "sparse_categorical_crossentropy",
        (np.array([[1, 2, 0], [2, 2, 1]], "int32"), chances(2, 3, 4)),
        {"ignore_class": 2},
    ),
    (
        "sparse_categorical_crossentropy",
        (np.array([1, 255, 0], "int32"), X),
        {"ignore_class": 255, "from_logits": True},
    ),
    (
        "ctc_batch_cost",
        (
            integers(4, 3, 3),
            chances(3, 9, 5),
            np.array([[9], [7], [8]], "int32"),
            np.array([[3], [1], [2]], "int32"),
        ),
        {},
    ),
    ("ctc_decode", (chances(4, 9, 3), np.array([9, 4, 1, 6], "int32")), {}),
    (
        "ctc_decode",
        (chances(4, 7, 3) ** 2, np.array([7, 4, 1, 6], "int32")),
        {"greedy": False, "beam_width": 60, "top_paths": 2},
    ),
]

CONVOLUTIONS = [
    *(
        ("conv1d", (floats(2, 9, 3), floats(3, 3, 4)), kwargs)
        for kwargs in (
            {},
            {"strides": 2, "padding": "same"},
            {"padding": "causal", "dilation_rate": 2},
            {"padding": "same", "dilation_rate": 2},
        )
    ),
    *(
        ("conv2d", (IMAGES, floats(3, 2, 3, 4)), kwargs)
        for kwargs in (
            {},
            {"strides": (2, 2), "padding": "same"},
            {"padding": "same", "dilation_rate": (2, 2)},
        )
    ),
    ("conv3d", (VOLUMES, floats(2, 3, 2, 2, 4)), {"padding": "same"}),
    ("conv3d", (VOLUMES, floats(2, 3, 2, 2, 4)), {"strides": (2, 2, 2)}),
    *(
        ("conv2d_transpose", (floats(2, 3, 4, 3), floats(k, k, 5, 3), (2, h, w, 5)), kwargs)
        for k, h, w, kwargs in (
            (3, 5, 6, {}),
            (3, 7, 9, {"strides": (2, 2)}),
            (3, 8, 10, {"strides": (2, 2)}),
            (3, 6, 8, {"strides": (2, 2), "padding": "same"}),
            (3, 5, 7, {"strides": (2, 2), "padding": "same"}),
            (2, 6, 7, {"strides": (2, 2), "padding": "same"}),
            (2, 8, 11, {"strides": (3, 3)}),
            (1, 8, 10, {"strides": (3, 3), "padding": "same"}),
            (3, 3, 4, {"padding": "same", "dilation_rate": (2, 2)}),
            (3, 7, 8, {"dilation_rate": (2, 2)}),
        )
    ),
    *(
        ("depthwise_conv2d", (IMAGES, floats(3, 3, 3, 2)), kwargs)
        for kwargs in (
            {},
            {"strides": (2, 2), "padding": "same"},
            {"padding": "same", "dilation_rate": (2, 2)},
        )
    ),
    ("separable_conv2d", (IMAGES, floats(3, 3, 3, 2), floats(1, 1, 6, 4)), {"padding": "same"}),
    *(
        ("pool2d", (IMAGES, (3, 2)), {"pool_mode": mode, **kwargs})
        for mode in ("max", "avg")
        for kwargs in ({}, {"strides": (2, 2), "padding": "same"})
    ),
    *(
        ("pool3d", (VOLUMES, (2, 2, 3)), {"pool_mode": mode, "padding": "same"})
        for mode in ("max", "avg")
    ),
    *(
        ("resize_images", (IMAGES, 2, 3, data_format, kind), {})
        for data_format in ("channels_last", "channels_first")
        for kind in ("nearest", "bilinear")
    ),
    ("resize_volumes", (VOLUMES, 2, 1, 3, "channels_last"), {}),
    ("resize_volumes", (VOLUMES, 2, 1, 3, "channels_first"), {}),
]

CASES = [*ALIASES, *ARITHMETIC, *ARRANGING, *LOSSES, *CONVOLUTIONS]
