"""What `keras.applications` does to the values of an image before a network sees them, as data.

Each network was trained on values scaled in one of four ways; feeding it others gives wrong
activations without any error. The table says which network has which way, and `Scaled` does it to
the rows of any source of images.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from layerprobe.errors import DataError
from layerprobe.sources.rows import Array, RowReader

if TYPE_CHECKING:
    from layerprobe.sources import Source


class Way(NamedTuple):
    """Divide by `scale`, subtract `mean`, divide by `spread`; channels turned round before that."""

    scale: float | None = None
    mean: tuple[float, ...] = ()
    spread: tuple[float, ...] = ()
    turned: bool = False


MODES = {
    "caffe": Way(mean=(103.939, 116.779, 123.68), turned=True),
    "tf": Way(scale=127.5, mean=(1.0,)),
    "torch": Way(scale=255.0, mean=(0.485, 0.456, 0.406), spread=(0.229, 0.224, 0.225)),
    "unit": Way(scale=255.0),
    "none": Way(),
}

# The names of keras.applications, less "_" and capitals: functions, and modules.
_NETWORKS = {
    "caffe": "vgg16 vgg19 resnet resnet50 resnet101 resnet152",
    "tf": """inceptionresnetv2 inceptionv3 mobilenet mobilenetv2 nasnet nasnetlarge nasnetmobile
        resnetv2 resnet50v2 resnet101v2 resnet152v2 xception""",
    "torch": "densenet densenet121 densenet169 densenet201",
    # Their first layers scale.
    "none": """convnext convnextbase convnextlarge convnextsmall convnexttiny convnextxlarge
        efficientnet efficientnetb0 efficientnetb1 efficientnetb2 efficientnetb3 efficientnetb4
        efficientnetb5 efficientnetb6 efficientnetb7 efficientnetv2 efficientnetv2b0
        efficientnetv2b1 efficientnetv2b2 efficientnetv2b3 efficientnetv2l efficientnetv2m
        efficientnetv2s mobilenetv3 mobilenetv3large mobilenetv3small""",
}
NETWORKS = {name: mode for mode, names in _NETWORKS.items() for name in names.split()}


def mode_of(name: str) -> str:
    """Return the mode that a network's name stands for; a mode's own name too.

    Raises:
        DataError: It is neither (exit code 2).

    Example:
        >>> mode_of("resnet50"), mode_of("mobilenet_v2"), mode_of("MobileNetV2"), mode_of("torch")
        ('caffe', 'tf', 'tf', 'torch')
    """
    plain = name.lower().replace("_", "").replace("-", "")
    mode = plain if plain in MODES else NETWORKS.get(plain)
    if mode is None:
        near = difflib.get_close_matches(plain, NETWORKS, 3, cutoff=0.6)
        raise DataError(
            f"No way to preprocess is known for {name!r}.",
            expected="a network of keras.applications, such as resnet50 or mobilenet_v2, or one of "
            f"{', '.join(MODES)}",
            fix=f"Is it {' or '.join(near)}?" if near else "",
            exit_code=2,
        )
    return mode


class Scaled(RowReader):
    """The rows of a source of images with their values scaled, as float32.

    Args:
        source: Images with values from 0 to 255; closed with this one.
        name: A network, or a mode.
        axis: Where the channels are in a row with its number in front: -1 or 1.

    Raises:
        DataError: The name is not known, or the network takes another number of channels.
    """

    def __init__(self, source: Source, name: str, axis: int) -> None:
        super().__init__(
            source.location, source.path, source.shape, np.dtype("float32"), source.key
        )
        self._source = source
        self.seekable = source.seekable
        self.layout = source.layout
        self._way = MODES[mode_of(name)]
        self._axis = axis
        channels = max(len(self._way.mean), len(self._way.spread))
        if channels > 1 and source.shape[axis] != channels:
            raise DataError(
                f"{source.location} holds images with {source.shape[axis]} channels.",
                expected=f"{channels}, for --preprocess {name}",
                fix="Leave out --preprocess, or give it as tf, unit or none.",
                location=source.location,
            )

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of the source."""
        return self._source.files

    def place_of(self, row: int) -> str:
        """Return where the source has a row from."""
        return self._source.place_of(row)

    def row_ids(self, start: int, stop: int) -> list[str] | None:
        """Return the ids that the source has."""
        return self._source.row_ids(start, stop)

    def _fetch(self, start: int, stop: int) -> Array:
        rows = self._source.read(start, stop).astype(np.float32, copy=False)
        way = self._way
        if way.turned:
            rows = np.flip(rows, self._axis).copy()
        if way.scale is not None:
            rows /= np.float32(way.scale)
        if way.mean:
            rows -= self._along(way.mean)
        if way.spread:
            rows /= self._along(way.spread)
        return rows

    def _along(self, values: tuple[float, ...]) -> Array:
        """Return values along the axis of the channels."""
        array = np.array(values, np.float32)
        return array if self._axis == -1 else array[:, np.newaxis, np.newaxis]

    def _release(self) -> None:
        self._source.close()
