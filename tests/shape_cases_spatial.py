"""Calls of layers over spatial axes: data for `test_shapes.py`."""

from __future__ import annotations

from typing import Any

from shape_cases import CAST, FIRST, GATED, IMAGE, OPEN, PLANES, SEQUENCE, VOLUME
from shape_harness import Case, case

_POOLS: list[Case] = []
for _rank, (_plain, _open, _planes) in enumerate(
    zip((SEQUENCE, IMAGE, VOLUME), OPEN, PLANES, strict=True), start=1
):
    _POOLS += [
        case(f"{kind}Pooling{_rank}D", shape, **arguments)
        for kind in ("Max", "Average")
        for shape, arguments in (
            (_plain, {"pool_size": 2}),
            (_open, {"pool_size": 3, "strides": 2, "padding": "same"}),
            (_plain, {"pool_size": (3, 2, 1)[:_rank], "strides": 1}),
            (_planes, {"pool_size": 2, "padding": "same", "data_format": FIRST}),
        )
    ]
    _POOLS += [
        case(f"Global{kind}Pooling{_rank}D", shape, **arguments)
        for kind in ("Max", "Average")
        for shape, arguments in (
            (_plain, {}),
            (_open, {"keepdims": True}),
            (_planes, {"data_format": FIRST}),
        )
    ]
    _POOLS += [
        case(f"Adaptive{kind}Pooling{_rank}D", _plain, output_size=size)
        for kind in ("Max", "Average")
        for size in (2, (3, 2, 2)[:_rank])  # TensorFlow 2.21 dies of an adaptive size of 1
    ]
POOLING = [
    *_POOLS,
    case("MaxPooling2D", IMAGE, dtype="int32", unlike=CAST),
    case("GlobalMaxPooling1D", SEQUENCE, dtype="int32", unlike=CAST),
    case("GlobalAveragePooling1D", SEQUENCE, dtype="int32"),
    case("AdaptiveMaxPooling2D", IMAGE, output_size=2, dtype="int32", unlike=CAST),
]

_CONVOLUTIONS: list[Case] = []
for _rank, (_plain, _open) in enumerate(zip((SEQUENCE, IMAGE, VOLUME), OPEN, strict=True), start=1):
    _kernel = (3, 2, 1)[:_rank]
    _settings: tuple[dict[str, Any], ...] = (
        {},
        {"strides": 2},
        {"padding": "same"},
        {"strides": 2, "padding": "same"},
    )
    _CONVOLUTIONS += [
        case(name, shape, filters=5, kernel_size=_kernel, **settings)
        for name in (f"Conv{_rank}D", f"Conv{_rank}DTranspose")
        for shape in (_plain, _open)
        for settings in _settings
    ]
    _CONVOLUTIONS.append(
        case(f"Conv{_rank}D", _plain, filters=5, kernel_size=2, dilation_rate=(2, 3, 1)[:_rank])
    )
    if _rank < 3:
        _CONVOLUTIONS += [
            case(name, shape, kernel_size=2, **settings, **more)
            for name, more in (
                (f"SeparableConv{_rank}D", {"filters": 5, "depth_multiplier": 2}),
                (f"DepthwiseConv{_rank}D", {"depth_multiplier": 2}),
            )
            for shape in (_plain, _open)
            for settings in (*_settings, {"dilation_rate": 2})
        ]
CONVOLUTION = [
    *_CONVOLUTIONS,
    case("Conv1D", SEQUENCE, filters=5, kernel_size=3, padding="causal", dilation_rate=2),
    case("Conv2D", (None, 8, 8, 4), filters=6, kernel_size=3, groups=2),
    case("Conv2D", IMAGE, filters=6, kernel_size=3, activation="glu", unlike=GATED),
    case("Conv1DTranspose", SEQUENCE, filters=5, kernel_size=3, strides=2, output_padding=1),
    case("Conv1DTranspose", SEQUENCE, filters=5, kernel_size=3, dilation_rate=2),
    case(
        "Conv2DTranspose", IMAGE, filters=5, kernel_size=(3, 4), strides=3, padding="same",
        output_padding=(1, 2),
    ),
]  # fmt: skip

# Not to be computed here: channels-first convolutions on a CPU, sound shorter than a frame.
SYMBOLIC_ONLY = [
    case("MelSpectrogram", (None, None), num_mel_bins=8),
    case("STFTSpectrogram", (None, None, 2), mode="real"),
    case("AdaptiveMaxPooling3D", PLANES[2], output_size=(3, 2, 1), data_format=FIRST),
    case("AdaptiveAveragePooling1D", PLANES[0], output_size=2, data_format=FIRST),
    case("Conv2D", PLANES[1], filters=5, kernel_size=3, data_format=FIRST),
    case("Conv3D", PLANES[2], filters=5, kernel_size=2, strides=2, data_format=FIRST),
    case("Conv2DTranspose", PLANES[1], filters=5, kernel_size=3, data_format=FIRST),
    case("DepthwiseConv2D", PLANES[1], kernel_size=3, depth_multiplier=2, data_format=FIRST),
    case("SeparableConv2D", PLANES[1], filters=5, kernel_size=3, data_format=FIRST),
    case("ConvLSTM2D", (None, 4, 3, 9, 8), filters=5, kernel_size=3, data_format=FIRST),
]
