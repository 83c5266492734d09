"""Which layers are computed together: all, or as many as a batch of fits into the memory.

One function for all of them is the fastest, as every layer runs once. Where the limit of memory
leaves too little room for that, they are divided in their order into groups, each with a function
of its own, which are computed and written one after another for the same rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from layerprobe.batch_size import LARGEST, SMALLEST, rows_a_pass
from layerprobe.batches import input_bytes
from layerprobe.errors import ModelError
from layerprobe.feed import Feed
from layerprobe.layers import LayerOutput
from layerprobe.memory import default_memory, give_back_freed, held_memory
from layerprobe.options import Options
from layerprobe.passes import Pass
from layerprobe.preparing import Prepared
from layerprobe.units import in_units

# What a batch takes, in terms of its results: those in the engine and their copies, and those of
# the batch before, which are being written. Measured; see docs/limits.md.
COPIES = 4
# Of the largest layer on the way: what an engine holds of it and of what it is computed from.
ON_THE_WAY = 4
ENGINE = 64 << 20  # what engines take for themselves at their first batch


class Grouping(NamedTuple):
    """How layer outputs are divided.

    Attributes:
        counts: How many each group has.
        batch_size: Rows a pass.
        why: For the user, where there are several groups.
    """

    counts: tuple[int, ...]
    batch_size: int
    why: str = ""


@dataclass(frozen=True)
class Demand:
    """What layer outputs take of the memory.

    Attributes:
        wanted: The layer outputs.
        sizes: Bytes of a row of each, as it is stored.
        besides: Bytes for each row that any group takes: of inputs, and of layers on the way.
        limit: Bytes that the process may hold.
        held: Bytes that it holds already, the model included.
    """

    wanted: Sequence[LayerOutput]
    sizes: Sequence[int]
    besides: int
    limit: int
    held: int

    @property
    def room(self) -> int:
        """Bytes that a batch may take."""
        return self.limit - self.held - ENGINE

    def of(self, results: int, batch: int) -> int:
        """Return what a batch takes, from the bytes of a row of its results."""
        return batch * (COPIES * results + self.besides)

    def divided(self, batch: int) -> tuple[int, ...]:
        """Return how many layer outputs each group has for batches of a size.

        Raises:
            ModelError: One does not fit alone (exit code 77).
        """
        largest = max(self.sizes)
        if self.of(largest, batch) > self.room:
            raise self._too_large(self.wanted[self.sizes.index(largest)], largest, batch)
        fitting = (self.room // batch - self.besides) // COPIES
        return divided(self.sizes, fitting)

    def largest_batch(self, counts: Sequence[int]) -> int:
        """Return the most rows that all groups fit with."""
        ends = [sum(counts[:number]) for number in range(len(counts) + 1)]
        sums = [sum(self.sizes[a:b]) for a, b in pairwise(ends)]
        return max(1, self.room // max(1, self.of(max(sums), 1)))

    def why(self, counts: Sequence[int], batch: int) -> str:
        """Say, for the user, why there are several groups."""
        return (
            f"{len(counts)} groups of layers, one after another for each batch of {batch} rows: "
            f"together they would take about {in_units(self.of(sum(self.sizes), batch))} besides "
            f"the {in_units(self.held)} held now, of {in_units(self.limit)}"
        )

    def _too_large(self, row: LayerOutput, size: int, batch: int) -> ModelError:
        fitting = self.room // max(1, self.of(size, 1))
        smaller = f"Take --batch-size {fitting}, or make" if fitting > 0 else "Make"
        return ModelError(
            f"{row.address} takes about {in_units(self.of(size, batch))} of memory for a batch of "
            f"{batch} rows, with what it is computed from.",
            expected=f"at most {in_units(max(0, self.room))}: of {in_units(self.limit)} the engine "
            f"and the model hold {in_units(self.held)}, and may take {in_units(ENGINE)} more",
            fix=f"{smaller} it smaller with --reduce or --select, or raise --max-memory.",
            exit_code=77,
            address=row.address,
            bytes=self.of(size, batch),
            batch_size=fitting,
        )


def group(
    prepared: Prepared,
    wanted: Sequence[LayerOutput],
    way: Sequence[LayerOutput],
    feeds: Sequence[Feed],
    whole: tuple[int, int],
    begun: Mapping[str, Any],
    options: Options,
) -> tuple[list[Pass], Grouping]:
    """Return the passes that compute all layer outputs, and how these are divided among them.

    Args:
        prepared: What passes are made of.
        wanted: The layer outputs.
        way: All that they are computed from.
        feeds: What a batch is made of.
        whole: The first row of all shards together, and the one after the last.
        begun: What an output that is gone on with was begun with: it keeps its groups.
        options: What was asked for: batch size, memory.

    Raises:
        ModelError: A layer output does not fit into the memory (exit code 77).
    """
    rows = whole[1] - whole[0]
    size = _known_size(prepared, rows, begun, options)
    smallest = size or min(SMALLEST, rows)
    demand = _demand(prepared, wanted, way, feeds, options)
    counts: tuple[int, ...] = (len(wanted),)
    if begun and begun.get("state") != "complete":
        counts = tuple(begun.get("groups", counts))
    elif demand is not None:
        counts = demand.divided(smallest)
    if len(counts) > 1:
        give_back_freed()  # a group's results, before the next group's are there
    passes = prepared.passes(counts)
    if size is None:
        most = LARGEST if demand is None else min(LARGEST, demand.largest_batch(counts))
        size = rows_a_pass(passes, feeds, rows, None if demand is None else demand.limit, most)
    why = "" if demand is None or len(counts) == 1 else demand.why(counts, size)
    return passes, Grouping(counts, size, why)


def _known_size(
    prepared: Prepared, rows: int, begun: Mapping[str, Any], options: Options
) -> int | None:
    """Return the rows a pass; None where they are to be found."""
    if prepared.batch_size is not None:
        return prepared.batch_size
    if not isinstance(options.batch_size, str):
        return min(options.batch_size, rows)
    found: int | None = begun.get("options", {}).get("batch_size")  # it is not looked for again
    return found


def _demand(
    prepared: Prepared,
    wanted: Sequence[LayerOutput],
    way: Sequence[LayerOutput],
    feeds: Sequence[Feed],
    options: Options,
) -> Demand | None:
    """Return what layer outputs take; None where it, or the limit, is not known."""
    limit, held = options.max_memory or default_memory(), held_memory()
    sizes = prepared.row_bytes([feed.source.shape[1:] for feed in feeds])
    if limit is None or held is None or sizes is None:
        return None
    largest = max((row.bytes_per_row or 0 for row in way), default=0)
    return Demand(wanted, sizes, ON_THE_WAY * (input_bytes(feeds) + largest), limit, held)


def divided(sizes: Sequence[int], most: int) -> tuple[int, ...]:
    """Divide things into groups in their order, each as large as it may be.

    Args:
        sizes: How large each is.
        most: How large a group may be; what is larger alone is a group of its own.

    Example:
        >>> divided([3, 3, 3, 9, 1], 6), divided([1, 2], 6)
        ((2, 1, 1, 1), (2,))
    """
    counts, total = [0], 0
    for size in sizes:
        if counts[-1] and total + size > most:
            counts.append(0)
            total = 0
        counts[-1] += 1
        total += size
    return tuple(counts)
