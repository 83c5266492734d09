"""What a batch goes through: the compiled function, in the phase and as often as was asked.

In the training phase random numbers depend on the seed and the batch's first row alone, not on what
was computed before; and a batch is never filled up, since its rows may influence each other there.

A device that has no memory for a batch is given pieces of it from there on, where rows do not
influence each other: the rows and their order stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from layerprobe.errors import BackendError
from layerprobe.layers import Shape
from layerprobe.options import Options
from layerprobe.scales import Scales

if TYPE_CHECKING:
    from layerprobe.backend.compiled import Function

Array = np.ndarray[Any, Any]


class Pass:
    """A compiled function with its phase, seed and number of samples.

    Args:
        function: The function.
        given: The address of each of its first outputs.
        options: The rest.
        tallied: Which of those have a tally; these follow behind them, in this order.
        scales: Of those that are quantised.
        generators: The random generators of all that is computed, if this is a part of it.

    Attributes:
        fills: Whether a batch may be filled up with copies of a row.
        inputs: The shape of each input.
        outputs: The address and the shape of each output.
        eager: Whether to compute layer by layer and not by what was compiled; not in training.
        piece: How many rows a pass the device had memory for; None while it had for all.
        scales: Of those outputs that are quantised, to be set before the first call; None if there
            is none.
    """

    def __init__(
        self,
        function: Function,
        given: Sequence[str],
        options: Options,
        tallied: Sequence[int] = (),
        scales: Scales | None = None,
        generators: Sequence[Any] | None = None,
    ) -> None:
        self._function = function
        self._training = options.training
        self._seed = options.seed
        self._samples = options.mc_samples
        self._generators = generators
        self.fills = not options.training
        self.eager = False
        self.piece: int | None = None
        self.inputs: list[Shape] = [symbol.shape for symbol in function.plan.inputs]
        self._tallied = tuple(tallied)
        self.scales = scales
        shapes = [symbol.shape for symbol in function.plan.outputs[: len(given)]]
        kinds = (":mean", ":variance") if self._samples else ("",)
        self.outputs: list[tuple[str, Shape]] = [
            (f"{address}{kind}", shape)
            for address, shape in zip(given, shapes, strict=True)
            for kind in kinds
        ]

    @property
    def notes(self) -> list[str]:
        """What the user should know of the training phase."""
        if not self._training:
            return []
        notes = ["training phase: where a layer normalises by its batch, rows influence each other"]
        if not self._function.draws:
            notes.append("no layer draws random numbers: every pass gives the same")
        return notes

    @property
    def remarks(self) -> list[str]:
        """What happened on the way."""
        if self.piece is None:
            return []
        return [f"out of memory: batches were computed in pieces of {self.piece} rows"]

    def tallies(self, results: Sequence[Array]) -> list[Array | None]:
        """Return for each of `outputs` the tally that a call returned with it, or None.

        A tally is of integers (rows, 3): how many values of a row were NaN, Inf, and finite and
        beyond what the stored dtype holds; see `backend.narrowing`.
        """
        count = len(self.outputs)
        found = dict(zip(self._tallied, results[count:], strict=True))
        return [found.get(at) for at in range(count)]

    def __call__(self, batch: Sequence[Array], row: int) -> list[Array]:
        """Compute a batch.

        Args:
            batch: The rows of each input.
            row: The number of the first one, for the random numbers.

        Returns:
            An array for each of `outputs`, and behind them the tallies. Mean and variance are over
            the samples, the variance with their number as its divisor.
        """
        if not self._samples:
            return self._once(batch, row, 0)
        first = [result.astype(np.float64) for result in self._once(batch, row, 0)]
        means, squares = first, [np.zeros_like(mean) for mean in first]
        for number in range(1, self._samples):
            for at, result in enumerate(self._once(batch, row, number)):
                # Welford's sums: exact where the spread is small beside the mean.
                off = result - means[at]
                means[at] = means[at] + off / (number + 1)
                squares[at] += off * (result - means[at])
        both = zip(means, squares, strict=True)
        return [
            value.astype(np.float32)
            for mean, square in both
            for value in (mean, square / self._samples)
        ]

    def _once(self, batch: Sequence[Array], row: int, sample: int) -> list[Array]:
        if self._training:
            self._function.seed((self._seed, row, sample), self._generators)
        while True:
            try:
                return self._in_pieces(batch)
            except BackendError as error:
                size = self.piece or len(batch[0])
                if not error.fields.get("out_of_memory") or not self._divides or size == 1:
                    raise
                self.piece = size // 2

    def _in_pieces(self, batch: Sequence[Array]) -> list[Array]:
        if self.piece is None or self.piece >= len(batch[0]):
            return self._compute(batch)
        pieces = []
        for at in range(0, len(batch[0]), self.piece):
            rows = [array[at : at + self.piece] for array in batch]
            pieces.append(self._compute(rows))
        return [np.concatenate(parts) for parts in zip(*pieces, strict=True)]

    def _compute(self, batch: Sequence[Array]) -> list[Array]:
        eager = self.eager and not self._training
        return (self._function.eagerly if eager else self._function.views)(batch)

    @property
    def _divides(self) -> bool:
        return not self._training and all(shape[0] is None for shape in self.inputs)
