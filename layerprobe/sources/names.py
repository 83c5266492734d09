"""Kinds of files that are told by their names, as their content does not begin alike."""

from __future__ import annotations

from pathlib import Path

EXTENSIONS = frozenset(".bmp .gif .jfif .jpe .jpeg .jpg .png .tif .tiff .webp".split())


def is_image(path: str | Path) -> bool:
    """Tell whether a file is an image by its name.

    Example:
        >>> is_image("photos/B.JPG"), is_image("photos/labels.csv")
        (True, False)
    """
    return Path(path).suffix.lower() in EXTENSIONS


def is_csv(path: str | Path) -> bool:
    """Tell whether a file is a table of text by its name."""
    return Path(path).suffix.lower() in {".csv", ".tsv"}
