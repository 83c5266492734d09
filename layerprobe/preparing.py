"""What passes are made of: all outputs as they are stored, and the functions that compute some.

All layer outputs are prepared once, reductions and casts included; which of them a function
computes together is decided afterwards (`grouping`), and makes no difference to random numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from layerprobe.backend import engine as engines
from layerprobe.feed import Feed
from layerprobe.layers import LayerOutput, Shape
from layerprobe.options import Options
from layerprobe.passes import Pass
from layerprobe.scales import Scales
from layerprobe.sinks import dtype_named

if TYPE_CHECKING:
    from layerprobe.backend.calls import Symbol
    from layerprobe.backend.compiled import Function
    from layerprobe.backend.model import Model
    from layerprobe.backend.narrowing import Narrowed
    from layerprobe.backend.program import Program


@dataclass(frozen=True)
class Prepared:
    """What passes are made of.

    Attributes:
        sources: The tensors to feed.
        layers: Of each layer output that is wanted, what is stored of it: addresses, and tensors.
        selected: The engine.
        options: What was asked for.
    """

    sources: Sequence[Symbol]
    layers: Sequence[Sequence[tuple[str, Narrowed]]]
    selected: engines.Selected
    options: Options

    @property
    def batch_size(self) -> int | None:
        """Rows a pass, where the model fixes it."""
        return next((s.shape[0] for s in self.sources if s.shape[0] is not None), None)

    def row_bytes(self, shapes: Sequence[Shape]) -> list[int] | None:
        """Return the bytes of a row of each layer output as it leaves the device.

        Args:
            shapes: Of the rows of each tensor to feed.

        Returns:
            The bytes; None where they are not known before a batch is computed.
        """
        from layerprobe.backend.sizes import output_shapes

        tensors = [made.values for layer in self.layers for _, made in layer]
        found: list[Shape] | None = [tuple(tensor.shape) for tensor in tensors]
        if found and any(None in shape[1:] for shape in found):
            batch = (self.batch_size,)
            program = self._program(tensors)
            found = output_shapes(program, [(*batch, *shape) for shape in shapes])
        if found is None or any(None in shape[1:] for shape in found):
            return None
        kinds = 2 if self.options.mc_samples else 1
        sizes = iter(
            kinds * math.prod(int(n or 0) for n in shape[1:]) * _itemsize(tensor)
            for shape, tensor in zip(found, tensors, strict=True)
        )
        return [sum(islice(sizes, len(layer))) for layer in self.layers]

    def passes(self, groups: Sequence[int]) -> list[Pass]:
        """Return a pass for each group of layer outputs; together they draw as a single one would.

        Args:
            groups: How many layer outputs each group has, in their order.
        """
        layers = iter(self.layers)
        parts = [[o for layer in islice(layers, count) for o in layer] for count in groups]
        return [self._pass(part, whole=len(parts) == 1) for part in parts]

    def _pass(self, outputs: Sequence[tuple[str, Narrowed]], *, whole: bool) -> Pass:
        from layerprobe.backend.compiled import make_function

        options, every = self.options, [output for layer in self.layers for output in layer]
        draws = options.training and not whole

        def function(tensors: Sequence[Any]) -> Function:
            engine = self.selected.engine
            return make_function(list(self.sources), tensors, engine, training=options.training)

        addresses = [address for address, _ in outputs]
        stored = [made for _, made in outputs]
        tallied = [at for at, made in enumerate(stored) if made.tally is not None]
        quantised = {at: made.scale for at, made in enumerate(stored) if made.scale is not None}

        def measuring() -> Pass:
            drawn = self._program(_peaks(every)).seeds if draws else None
            names = [addresses[at] for at in quantised]
            return Pass(function(_peaks(outputs)), names, options, generators=drawn)

        scales = Scales(quantised, measuring) if quantised else None
        drawn = self._program(_tensors(every)).seeds if draws else None
        return Pass(function(_tensors(outputs)), addresses, options, tallied, scales, drawn)

    def _program(self, tensors: Sequence[Any]) -> Program:
        """Return what computes some tensors; it is not compiled."""
        from layerprobe.backend.compiled import program_of

        return program_of(self.sources, tensors)


def _tensors(outputs: Sequence[tuple[str, Narrowed]]) -> list[Any]:
    """Return what a pass computes: the outputs, and behind them the tallies."""
    tallies = [made.tally for _, made in outputs if made.tally is not None]
    return [*(made.values for _, made in outputs), *tallies]


def _peaks(outputs: Sequence[tuple[str, Narrowed]]) -> list[Any]:
    return [made.peaks for _, made in outputs if made.scale is not None]


def _itemsize(tensor: Any) -> int:
    try:
        return dtype_named(str(tensor.dtype)).itemsize
    except TypeError:  # text
        return 0


def prepare(
    model: Model,
    begin: Sequence[LayerOutput],
    feeds: Sequence[Feed],
    wanted: Sequence[LayerOutput],
    selected: engines.Selected,
    options: Options,
) -> Prepared:
    """Return what leads from some inputs, or tensors to begin at, to the outputs wanted."""
    from layerprobe.backend.narrowing import narrowed
    from layerprobe.backend.reductions import reduced

    by_name = {symbol.address: symbol for symbol in model.inputs}
    sources = [model.symbol(row) for row in begin] or [by_name[f.spec.name] for f in feeds]
    # A mean of samples is cast when it is there, since it would lose digits before.
    dtype = None if options.mc_samples else options.dtype
    layers = [
        [(a, narrowed(made, dtype)) for a, made in reduced(model.symbol(row), options.reductions)]
        for row in wanted
    ]
    return Prepared(sources, layers, selected, options)
