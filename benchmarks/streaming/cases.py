"""What the contests are about: models, rows, and the bars that `extract` is held to."""

from __future__ import annotations

from typing import NamedTuple


class Bar(NamedTuple):
    """How fast `extract` is to be beside a contestant.

    Attributes:
        who: The contestant.
        least: The smallest good ratio of its time to that of `extract`.
        outputs: For which kinds of output.
    """

    who: str
    least: float
    outputs: tuple[str, ...] = ("extract to .h5",)


class Case(NamedTuple):
    """A layer of a model, a kind of rows, how many, and how batched."""

    title: str
    model: str
    layer: str
    rows_of: str
    rows: int
    batch_size: int
    bars: tuple[Bar, ...]


BARE = "bare compiled loop, nothing written"
DURABLE = "plain durable write, nothing computed"
STORED = "the sink of .h5 alone, nothing computed"
BY_HAND = "predict_on_batch and h5py"
SYNCED = "predict_on_batch, h5py and fsync"
WHOLE = "predict, then h5py"
ANEW = "a new Model and predict, each batch"

_ALL = ("extract to .h5", "extract to .npy")

CASES = {
    "deep": Case(
        "ResNet50 on 64 x 64 images, layer conv4_block2_out, 66 kB a row: computing takes the time",
        "small-resnet",
        "conv4_block2_out",
        "images",
        1_024,
        32,
        (Bar(BARE, 0.95, _ALL), Bar(ANEW, 10)),
    ),
    "small": Case(
        "a CNN of four convolutions on 64 x 64 images, the pooled features, 1 kB a row: computing "
        "takes the time",
        "small-cnn",
        "features",
        "images",
        6_400,
        32,
        (Bar(BARE, 0.95, _ALL),),
    ),
    "tiny": Case(
        "digits_cnn, layer conv2, 1.5 kB a row: so little that calls count",
        "digits_cnn",
        "conv2",
        "digits",
        120_064,
        256,
        (),
    ),
    "wide": Case(
        "16 numbers to 16,384, 66 kB a row: writing takes the time",
        "wide",
        "wide",
        "numbers",
        8_192,
        32,
        (Bar(DURABLE, 0.9, _ALL),),
    ),
    "balanced": Case(
        "one convolution on 64 x 64 images, 66 kB a row: computing and writing take as long",
        "one-convolution",
        "conv",
        "images",
        6_400,
        32,
        (Bar(BY_HAND, 1.4), Bar(SYNCED, 1.4), Bar(ANEW, 10)),
    ),
}
