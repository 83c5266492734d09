"""How to read what does not say it itself: raw numbers, pictures, tables."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from layerprobe.errors import DataError
from layerprobe.layers import Shape
from layerprobe.sources.preprocessing import mode_of

_CHANNELS = (1, 3, 4)
_WORDS = "float32, float64, float16, uint8, int8, int16, int32, int64, bool, or >f4 for big-endian"


@dataclass(frozen=True)
class SourceOptions:
    """What the user says of the data, and what the model wants of them.

    Attributes:
        dtype: Of the numbers in a file that is nothing but numbers; None for files that say it.
        row_shape: The shape of a row, where files do not say it; None: as the model wants it.
        columns: Of tables: those that make a row; none are all.
        id_column: Of tables: the one with the names of the rows.
        header: Whether the first line of a CSV file has the names of the columns; None: it has,
            unless all of it is numbers, which is an error.
        preprocess: How the values of images are scaled: a network of keras.applications, or a mode.
        allow_trailing: Whether an .npy file may have bytes after its array.
        wanted: The shape that the model wants, rows first, where None takes any size; None if
            nobody knows.
        wanted_dtype: The dtype that the model wants, "" if nobody knows.
        again: Whether rows will be read more than once.
    """

    dtype: str | None = None
    row_shape: tuple[int, ...] | None = None
    columns: tuple[str, ...] = ()
    id_column: str | None = None
    header: bool | None = None
    preprocess: str | None = None
    allow_trailing: bool = False
    wanted: Shape | None = None
    wanted_dtype: str = ""
    again: bool = False

    def __post_init__(self) -> None:
        if self.dtype is not None:
            self.number_type()
        if self.preprocess is not None:
            mode_of(self.preprocess)

    def number_type(self) -> np.dtype[np.generic]:
        """Return the dtype of the numbers of a raw file.

        Raises:
            DataError: It is no type of numbers (exit code 2).
        """
        try:
            found = np.dtype(self.dtype)
        except (TypeError, ValueError, SyntaxError):
            found = np.dtype(object)
        if found.kind not in "biuf":
            raise DataError(
                f"The type {self.dtype!r} of the input is not known.",
                expected=_WORDS,
                exit_code=2,
            )
        return found

    def image_layout(self, location: str) -> tuple[int, int, tuple[int | None, int | None]]:
        """Return how the model takes images.

        Returns:
            The number of channels, their axis (-1, or 1 where they come first), height and width.

        Raises:
            DataError: It takes no images.
        """
        wanted = self.wanted
        if self.row_shape is not None:
            wanted = (None, *self.row_shape)
        if wanted is None:
            return 3, -1, (None, None)
        if len(wanted) == 4:
            _, first, middle, last = wanted
            if last in _CHANNELS or last is None:
                return last or 3, -1, (first, middle)
            if first in _CHANNELS:
                return first, 1, (middle, last)
        raise DataError(
            f"{location} holds images, and the model takes rows of shape "
            f"({', '.join('any' if size is None else str(size) for size in wanted[1:])}).",
            expected="height, width and 1, 3 or 4 channels, which may also come first",
            fix="Make arrays of them that fit, and give those.",
            location=location,
        )


def names_in(text: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return names from "a,b,c"; one with a comma in it stands in double quotes.

    Example:
        >>> names_in('a,"b,c",d'), names_in(["a"]), names_in(None)
        (('a', 'b,c', 'd'), ('a',), ())
    """
    if text is None or not text:
        return ()
    return tuple(next(csv.reader([text]))) if isinstance(text, str) else tuple(text)


def sizes(text: str | Sequence[int] | None) -> tuple[int, ...] | None:
    """Return the shape of a row from "224,224,3"; "" is that of rows of one number each.

    Raises:
        DataError: It is no list of positive whole numbers (exit code 2).

    Example:
        >>> sizes("224,224,3"), sizes("8")
        ((224, 224, 3), (8,))
    """
    if text is None:
        return None
    if not isinstance(text, str):
        text = ",".join(map(str, text))
    if not re.fullmatch(r"([1-9][0-9]{0,17}(,[1-9][0-9]{0,17})*)?", text):
        raise DataError(
            f"The shape {text!r} of a row is not a list of sizes.",
            expected="whole numbers from 1 with commas between, such as 224,224,3",
            exit_code=2,
        )
    return tuple(int(size) for size in text.split(",") if size)
