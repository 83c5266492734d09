"""How activations are made smaller before they leave the device: what is asked for, parsed."""

from __future__ import annotations

import re
from dataclasses import dataclass

from layerprobe.errors import DataError, LayerNotFound

KINDS = ("mean", "max", "gap", "flatten", "cls", "last", "norm")
_UNITS = re.compile(r"(-?\d{1,9})?(?:(:)(-?\d{1,9})?(?::(-?\d{1,9}))?)?")


@dataclass(frozen=True)
class Reductions:
    """What is done to each output, in this order.

    Attributes:
        select: Which channels (units) to keep, such as "0:16" or "3,7,-1"; as Python's slices.
        reduce: One of `KINDS`. Positions are the axes between rows and channels. "mean" and "max"
            are over all positions, "gap" (global average pooling) is another name for "mean";
            "cls" and "last" are the first and the last of one axis of positions. These five leave
            an output without positions as it is. "flatten" gives one axis, "norm" the Euclidean
            length over the channels.
        project: To so many numbers a row, by a random projection of all values: a matrix of normal
            numbers with variance 1 / `project`, which keeps distances about as they are
            (Johnson & Lindenstrauss, 1984).
        topk: Keep the largest so many values along the last axis, and where they were.
        seed: Of the random projection.
    """

    select: str | None = None
    reduce: str | None = None
    project: int = 0
    topk: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.reduce not in (None, *KINDS):
            raise DataError(
                f"The reduction {self.reduce!r} is not known.",
                expected=f"one of {', '.join(KINDS)}",
                exit_code=2,
            )
        if self.topk < 0 or self.project < 0:
            raise DataError(
                f"{min(self.topk, self.project)} numbers were asked for.",
                expected="1 or more",
                exit_code=2,
            )
        for part in self.select.split(",") if self.select is not None else ():
            if not part.strip() or not _UNITS.fullmatch(part.strip()) or part.endswith(":0"):
                raise DataError(
                    f"{self.select!r} does not say which units to keep.",
                    expected="numbers and ranges as Python's, such as 0:16 or 3,7,-1",
                    exit_code=2,
                )

    def __bool__(self) -> bool:
        return bool(self.select is not None or self.reduce or self.project or self.topk)

    def units(self, size: int, address: str) -> list[int]:
        """Return the numbers of the channels to keep, in the order they were asked for.

        Args:
            size: How many there are.
            address: Whose they are.

        Raises:
            LayerNotFound: There is none, or not so many.
        """
        assert self.select is not None  # noqa: S101 - tells the type checker what callers check
        found: list[int] = []
        for part in self.select.split(","):
            whole = _UNITS.fullmatch(part.strip())
            assert whole is not None  # noqa: S101 - checked when this was made
            start, ranged, stop, step = whole.groups()
            first, last, by = (None if text is None else int(text) for text in (start, stop, step))
            if ranged:
                found += range(size)[slice(first, last, by)]
            elif first is not None and -size <= first < size:
                found.append(range(size)[first])
            else:
                raise _no_units(part.strip(), size, address)
        if not found:
            raise _no_units(self.select, size, address)
        return found


def _no_units(text: str, size: int, address: str) -> LayerNotFound:
    return LayerNotFound(
        f"{address} has no unit {text}.",
        expected=f"some of its {size:,} units, 0 to {size - 1:,}",
        exit_code=2,
        address=address,
    )
