"""One extraction in N parts: which rows a shard has, and what its output is called.

Borders lie between batches of the whole, so that every row is computed in the very batch it would
have been in without shards; joined again, the parts have the bytes of a single run.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from layerprobe.errors import DataError

_KEPT_SUFFIXES = frozenset({".h5", ".hdf5", ".zarr"})


def shard_of(given: str | Sequence[int] | None) -> tuple[int, int] | None:
    """Return which shard is meant, and of how many.

    Args:
        given: "I/N", or I and N; I from 1 to N. None for no shards.

    Raises:
        DataError: It is neither (exit code 2).

    Example:
        >>> shard_of("2/4"), shard_of((2, 4)), shard_of(None)
        ((2, 4), (2, 4), None)
    """
    if given is None:
        return None
    text = given if isinstance(given, str) else "/".join(map(str, given))
    found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    number, of = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= number <= of:
        raise DataError(
            f"The shard {text!r} is not one of N.",
            expected="I/N with I from 1 to N, such as 1/4, 2/4, 3/4 and 4/4",
            exit_code=2,
        )
    return number, of


def shard_rows(
    whole: tuple[int, int], batch_size: int, shard: tuple[int, int] | None
) -> tuple[int, int]:
    """Return the rows of a shard: whole batches, as many as the others have, or one more or less.

    Args:
        whole: The first row of all shards together, and the one after the last.
        batch_size: Rows a pass.
        shard: Which one, and of how many; None for all rows.

    Raises:
        DataError: There are more shards than batches (exit code 2): every shard says so, before
            any of them has computed something, so that no job array ends half done.

    Example:
        >>> [shard_rows((5, 105), 32, (number, 3)) for number in (1, 2, 3)]
        [(5, 37), (37, 69), (69, 105)]
    """
    if shard is None:
        return whole
    (start, stop), (number, of) = whole, shard
    batches = -(-(stop - start) // batch_size)
    if of > batches:
        raise DataError(
            f"{of:,} shards were asked for; the {stop - start:,} rows make {batches:,} batches of "
            f"{batch_size:,}, and every shard takes whole ones.",
            expected=f"at most {batches:,} shards: --shard I/{batches}",
            fix="Take fewer shards, or a smaller --batch-size in all of them.",
            exit_code=2,
            shards=of,
            batches=batches,
        )
    first, last = (start + batch_size * (batches * n // of) for n in (number - 1, number))
    return first, min(last, stop)


def shard_size(whole: tuple[int, int], batch_size: int, shard: tuple[int, int] | None) -> int:
    """Return how many rows the largest shard has.

    Example:
        >>> shard_size((5, 105), 32, (1, 3)), shard_size((5, 105), 32, None)
        (36, 100)
    """
    if shard is None:
        return whole[1] - whole[0]
    every = ((number, shard[1]) for number in range(1, shard[1] + 1))
    parts = (shard_rows(whole, batch_size, each) for each in every)
    return max(stop - start for start, stop in parts)


def shard_name(output: Path, shard: tuple[int, int] | None) -> Path:
    """Return the name of a shard's output, from that of the whole.

    Args:
        output: What all shards together would be called; or what this one is called already.
        shard: Which one, and of how many.

    Example:
        >>> shard_name(Path("out.h5"), (2, 4)).name, shard_name(Path("v1.0"), (2, 4)).name
        ('out-2-of-4.h5', 'v1.0-2-of-4')
        >>> shard_name(Path("out-2-of-4.h5"), (2, 4)).name
        'out-2-of-4.h5'
    """
    return output if shard is None else marked(output, f"-{shard[0]}-of-{shard[1]}")


def marked(output: Path, mark: str) -> Path:
    """Return the name of an output with a mark before its ending, unless it stands there."""
    if not output.name:
        return output
    suffix = output.suffix if output.suffix.lower() in _KEPT_SUFFIXES else ""
    stem = output.name.removesuffix(suffix)
    # The pass of an output may have the numbers of a shard, and is none.
    has_it = stem.endswith(mark) and not stem.endswith(f"-pass{mark}")
    return output if has_it else output.with_name(f"{stem}{mark}{suffix}")
