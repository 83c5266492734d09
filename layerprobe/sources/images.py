"""Folders of images, one row each, decoded and resized by Pillow.

Every image is turned upright by its EXIF orientation, converted to the channels the model takes,
and stretched to the model's size by Pillow's bilinear filter, which weighs all pixels that it
shrinks. Only formats that hold nothing but pixels are opened. An image is decoded when its row is
read; only
the names are kept.
"""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from layerprobe.errors import DataError
from layerprobe.sources.names import EXTENSIONS
from layerprobe.sources.options import SourceOptions
from layerprobe.sources.rows import Array, RowReader, tidy

_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
_SAFE_MODES = frozenset("1 L LA La P PA RGB RGBA RGBa RGBX CMYK YCbCr".split())
_COLOURS = {1: "L", 3: "RGB", 4: "RGBA"}
_FEW = 5
# What Pillow raises on arbitrary bytes; its own class for images that are far too large is no
# OSError.
_DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    TypeError,
    LookupError,
    OverflowError,
    Image.DecompressionBombError,
)


def images_in(location: str, folder: Path) -> list[str]:
    """Return the images of a folder and of the folders in it: their paths inside, in plain order.

    Raises:
        DataError: There is none, or a file that is no image by its name.
    """
    found: list[str] = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        inside = Path(place).relative_to(folder)
        found += [(inside / name).as_posix() for name in names if not name.startswith(".")]
    found.sort()
    others = [name for name in found if Path(name).suffix.lower() not in EXTENSIONS]
    if others or not found:
        shown = ", ".join(tidy(name, 60) for name in others[:_FEW])
        more = f", … ({len(others)} in all)" if len(others) > _FEW else ""
        problem = f"files that are no images: {shown}{more}" if found else "no file at all"
        raise DataError(
            f"The folder {location} holds {problem}.",
            expected=f"images alone ({' '.join(sorted(EXTENSIONS))}); hidden files are left out",
            fix=f"Give what is meant by a pattern: --input '{folder}/**/*.jpg'",
            location=location,
        )
    return found


class ImageSource(RowReader):
    """Images, a row each, as bytes.

    Args:
        location: What the user wrote.
        folder: Where they are.
        names: Their paths in there, which are the row ids.
        options: What the model takes; sizes that it leaves open are those of the first image, and
            all the others have to have them too.

    Raises:
        DataError: The model takes no images, or the first one is needed and cannot be read.
    """

    def __init__(
        self, location: str, folder: Path, names: Sequence[str], options: SourceOptions
    ) -> None:
        warnings.filterwarnings("ignore", module=r"PIL\.")  # on images that are fine
        self.location = location
        self._folder, self._names = folder, names
        channels, self._axis, (height, width) = options.image_layout(location)
        self._colour = _COLOURS[channels]
        self._stretch = True
        if height is None or width is None:
            self._stretch = False
            found = self._decoded(0, None).size
            width, height = (width or found[0], height or found[1])
        self._size = (width, height)
        row = (height, width, channels) if self._axis == -1 else (channels, height, width)
        path = folder / names[0] if len(names) == 1 else None
        super().__init__(location, path, (len(names), *row), np.dtype("uint8"))

    @property
    def files(self) -> tuple[Path, ...]:
        """The images, in order."""
        return tuple(self._folder / name for name in self._names)

    def place_of(self, row: int) -> str:
        """Return the file of a row."""
        return self._names[row]

    def row_ids(self, start: int, stop: int) -> list[str]:
        """Return the names of the files of some rows."""
        return list(self._names[start:stop])

    def _fetch(self, start: int, stop: int) -> Array:
        rows = np.empty((stop - start, *self.shape[1:]), self.dtype)
        for number, row in enumerate(rows, start):
            values = np.asarray(self._decoded(number, self._size))
            values = values.reshape(self._size[1], self._size[0], -1)
            row[...] = values if self._axis == -1 else values.transpose(2, 0, 1)
        return rows

    def _decoded(self, number: int, size: tuple[int, int] | None) -> Image.Image:
        """Return an image upright, in the model's colours and size."""
        path = self._folder / self._names[number]
        try:
            with Image.open(path, formats=_FORMATS) as image:
                problem = _problem(image)
                if not problem:
                    upright = ImageOps.exif_transpose(image).convert(self._colour)
        except _DAMAGE as error:
            system = getattr(error, "errno", None) not in (None, errno.ENOENT)
            why = getattr(error, "strerror", None) or tidy(str(error).replace(str(path), "it"))
            raise self._bad(
                number, f"cannot be read as an image: {why}", 74 if system else 65
            ) from error
        if not problem and size is not None and upright.size != size:
            if self._stretch:
                return upright.resize(size, Image.Resampling.BILINEAR)
            problem = f"has {upright.size[0]} x {upright.size[1]} pixels"
        if problem:
            raise self._bad(number, problem, 65)
        return upright

    def _bad(self, number: int, problem: str, exit_code: int) -> DataError:
        path = self._folder / self._names[number]
        sized = "" if self._stretch else ", all of one size where the model leaves it open"
        return DataError(
            f"{path} (row {number}) {problem}.",
            expected=f"an image of 8 bits a channel{sized}",
            fix="Replace it, or take it out; no row is left out or made up.",
            exit_code=exit_code,
            location=str(path),
            row=number,
        )

    def _release(self) -> None:
        """Do nothing: no file is open between two reads."""


def _problem(image: Image.Image) -> str:
    """Return what keeps an image from being one row of bytes; "" if nothing does."""
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # a camera's small copies after the photo
        return f"holds {frames} images"
    if image.mode not in _SAFE_MODES:
        return f"has more than 8 bits a channel (mode {image.mode}), which would be cut off"
    return ""
