"""Batches of any size on an engine that compiles anew for each: rows are added, and taken off.

That is right only where no row of an output depends on another row, so it is done only for layers
that are known to keep rows apart; anything else is compiled for each size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from layerprobe.backend import compat_operations
from layerprobe.backend.calls import LayerCall
from layerprobe.backend.engine import Compiled
from layerprobe.backend.program import Program
from layerprobe.backend.slopes import opaque

_OWN_SIZES = 4  # compiled as they are: most callers have one size, and another for what is left

# By class; `Add` and its like are layers and operations alike, the last line is operations alone.
_KEEP_ROWS_APART = frozenset(
    """
    Activation ReLU LeakyReLU PReLU ELU Softmax Dense Embedding Masking
    Conv1D Conv2D Conv3D SeparableConv1D SeparableConv2D DepthwiseConv1D DepthwiseConv2D
    Conv1DTranspose Conv2DTranspose Conv3DTranspose
    MaxPooling1D MaxPooling2D MaxPooling3D AveragePooling1D AveragePooling2D AveragePooling3D
    GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D
    GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D
    BatchNormalization LayerNormalization GroupNormalization RMSNormalization UnitNormalization
    Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D GaussianDropout GaussianNoise
    AlphaDropout Flatten Reshape Permute RepeatVector Rescaling
    Cropping1D Cropping2D Cropping3D ZeroPadding1D ZeroPadding2D ZeroPadding3D
    UpSampling1D UpSampling2D UpSampling3D
    LSTM GRU SimpleRNN Bidirectional TimeDistributed
    MultiHeadAttention GroupQueryAttention Attention AdditiveAttention
    Add Subtract Multiply Average Maximum Minimum Concatenate
    NotEqual Any Relu Sigmoid Silu Tanh Gelu
    """.split()
)


def keeps_rows_apart(program: Program, *, training: bool) -> bool:
    """Tell whether each row of the outputs is known to depend on its own row of the inputs alone.

    Args:
        program: What is asked about; with updates or gradients it is never so.
        training: The phase; in training, batches have statistics and random numbers.
    """
    plan = program.plan
    if training or program.updates or program.seeds_in(training) or plan.gradients:
        return False
    shapes = [symbol.tensor.shape for symbol in (*plan.inputs, *plan.outputs)]
    open_rows = all(shape and shape[0] is None for shape in shapes)
    return open_rows and all(_apart(step.call) for step in plan.steps)


def _apart(call: Any) -> bool:
    if not isinstance(call, LayerCall) or opaque(call.operation):
        return False
    shapes = [tensor.shape for tensor in (*call.node.input_tensors, *call.node.outputs)]
    open_rows = all(len(shape) > 1 and shape[0] is None for shape in shapes)
    ranks = {len(tensor.shape) for tensor in call.node.input_tensors}
    # An operation lines axes up from the last one, so rows might meet another axis.
    lined_up = isinstance(call.operation, keras.Layer) or len(ranks) == 1
    return open_rows and lined_up and _layer_apart(call.operation, min(map(len, shapes)))


def _layer_apart(layer: Any, rank: int) -> bool:
    """Tell whether a layer does, where each tensor has at least so many axes, rows first."""
    if isinstance(layer, keras.layers.TimeDistributed):
        return rank > 2 and _layer_apart(layer.layer, rank - 1)
    along_rows = any(a == 0 or a <= -rank for a in compat_operations.axes_of(layer))
    known = type(layer).__name__ in _KEEP_ROWS_APART and getattr(layer, "keeps_rows_apart", True)
    return known and not along_rows and not getattr(layer, "stateful", False)


def of_few_sizes(compiled: Compiled) -> Compiled:
    """Return a pass that lets another compute batches of few sizes, and gives the rows asked for.

    A pass of some sizes computes them as they are. After these, a new size is rounded up, to the
    powers of two and the middles between them; at most half as many rows again are computed.
    """
    own: set[int] = set()

    def call(values: Sequence[Any], states: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        sizes = {len(v) for v in values if isinstance(v, np.ndarray)}
        rows = sizes.pop() if len(sizes) == 1 else 0
        if not rows or len(own) < _OWN_SIZES or rows in own:
            own.add(rows)
            return compiled(values, states)
        more = _rounded(rows) - rows
        outputs, states = compiled([_lengthened(value, more) for value in values], states)
        # A copy, or the rows added would stay in memory as long as the others.
        return [out[:rows].copy() if more else out for out in outputs], list(states)

    return call


def _rounded(rows: int) -> int:
    """Return the next of 1, 2, 3, 4, 6, 8, 12, 16, 24 and so on."""
    power = 1 << (rows - 1).bit_length()
    return power * 3 // 4 if rows <= power * 3 // 4 else power


def _lengthened(value: Any, more: int) -> Any:
    """Return an array with its last row repeated: numbers that the layers know to deal with."""
    return np.concatenate([value, np.repeat(value[-1:], more, axis=0)]) if more else value
