"""Sizes in words."""

from __future__ import annotations


def in_units(count: float) -> str:
    """Return a number of bytes for people.

    Example:
        >>> in_units(999), in_units(1_500_000_000)
        ('999 bytes', '1.5 GB')
    """
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"
