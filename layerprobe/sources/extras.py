"""Packages that only some kinds of data need, and how to get them."""

from __future__ import annotations

import importlib.util

from layerprobe.errors import DataError


def need(package: str, extra: str, what: str) -> None:
    """Make sure that a package is installed.

    Args:
        package: As it is imported.
        extra: The extra of layerprobe that brings it.
        what: What it is needed for, as the beginning of a sentence.

    Raises:
        DataError: It is not (exit code 70).
    """
    if importlib.util.find_spec(package) is None:
        raise DataError(
            f"{what} cannot be read: the package {package} is not installed.",
            fix=f"Install it with: pip install 'layerprobe[{extra}]'",
            exit_code=70,
            package=package,
        )
