"""Cropping that may leave nothing: Keras 2 gave an empty array where Keras 3 refuses to build."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras

from layerprobe.backend.legacy.convolutions import registered


class _Cropping:
    cropping: Any
    data_format = "channels_last"

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        sizes = list(input_shape)
        for axis, (before, after) in self._pairs():
            size = sizes[axis]
            sizes[axis] = None if size is None else max(size - before - after, 0)
        return tuple(sizes)

    def call(self, inputs: Any) -> Any:
        kept = [slice(None)] * len(inputs.shape)
        for axis, (before, after) in self._pairs():
            kept[axis] = slice(before, -after or None)
        return inputs[tuple(kept)]

    def _pairs(self) -> Iterator[tuple[int, tuple[int, int]]]:
        """Yield each cropped axis with what is taken off before and after it."""
        pairs = self.cropping if isinstance(self.cropping[0], tuple) else (self.cropping,)
        yield from enumerate(pairs, 2 if self.data_format == "channels_first" else 1)


@registered
class Cropping1D(_Cropping, keras.layers.Cropping1D):
    """`keras.layers.Cropping1D` that may leave nothing."""


@registered
class Cropping2D(_Cropping, keras.layers.Cropping2D):
    """`keras.layers.Cropping2D` that may leave nothing."""


@registered
class Cropping3D(_Cropping, keras.layers.Cropping3D):
    """`keras.layers.Cropping3D` that may leave nothing."""
