"""Output shapes and dtypes of Keras' own layers, from their configs alone.

Listing a model must not need Keras, so every built-in layer has a rule here: a function from one
call of the layer (`shape_call.Call`) to its outputs. The rules say what a call returns when a
trained model is run. Mostly that is what Keras' symbolic tensors promise; where the two differ,
the rule follows the run. What the config does not tell is None: no rule guesses, none raises.

The rules live by family: `shape_core`, `shape_spatial`, `shape_recurrent`, `shape_preprocessing`,
`shape_former`.
Dtypes are those of TensorFlow and PyTorch; JAX halves 64-bit ones unless told otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from layerprobe.modelfile import (
    shape_core,
    shape_former,
    shape_preprocessing,
    shape_recurrent,
    shape_spatial,
)
from layerprobe.modelfile.graph import MODEL_CLASSES
from layerprobe.modelfile.shape_call import MALFORMED, Call, Rule, Tensor, opened, tensors_in

__all__ = ["LAYER_CLASSES", "Nested", "Tensor", "infer"]

Nested = Callable[[str, Mapping[str, Any], Sequence[Tensor]], "list[Tensor] | None"]

_RULES: dict[str, Rule] = {
    **shape_core.RULES,
    **shape_spatial.RULES,
    **shape_recurrent.RULES,
    **shape_preprocessing.RULES,
}
_FORMER_RULES = shape_former.RULES

LAYER_CLASSES: frozenset[str] = frozenset(_RULES)
"""Names of the layer classes of Keras that have a rule: all whose code is Keras' own."""

_FIRST_ARGUMENTS = ("inputs", "sequences", "sequence", "data", "x")
_NO_KWARGS: Mapping[str, Any] = MappingProxyType({})

# Arguments of Keras 1, and one of Keras 2, that mean what others mean now. A rule that does not
# know them would take the defaults of their successors.
_FORMER_ARGUMENTS = frozenset(
    "border_mode dim_ordering length nb_filter pool_length subsample time_major".split()
)


def infer(
    class_name: str,
    config: Mapping[str, Any],
    inputs: Sequence[Tensor],
    kwargs: Mapping[str, Any] = _NO_KWARGS,
    nested: Nested | None = None,
) -> list[Tensor] | None:
    """Return the outputs of one call of a layer.

    Args:
        class_name: Class of the layer as saved, such as "Conv2D".
        config: The layer's own config, in the dialect of Keras 3 or 2.
        inputs: The tensors of the positional arguments, flattened in order.
        kwargs: The keyword arguments of the call, with tensors as `Tensor`.
        nested: Infers a model that a wrapper such as TimeDistributed holds, from its class name,
            its config and its inputs.

    Returns:
        The outputs, flattened in order, the batch as the first axis of each. None if even their
        number is unknown: code that is not Keras' own, or a call that cannot be made sense of.

    Example:
        >>> image = Tensor((None, 28, 28, 1), "float32")
        >>> infer("Conv2D", {"filters": 8, "kernel_size": [3, 3]}, [image])
        [Tensor(shape=(None, 26, 26, 8), dtype='float32')]
        >>> infer("Lambda", {}, [image]) is None
        True
    """
    if class_name in MODEL_CLASSES:
        return nested(class_name, config, inputs) if nested else None
    rule = _RULES.get(class_name) or _FORMER_RULES.get(class_name)
    if rule is None or _FORMER_ARGUMENTS & _in_use(config):
        return None

    def inner(serialized: object, tensors: Sequence[Tensor]) -> list[Tensor] | None:
        try:
            return infer(*opened(serialized), tensors, nested=nested)
        except MALFORMED:
            return None

    if not inputs:
        named = (kwargs[name] for name in _FIRST_ARGUMENTS if name in kwargs)
        inputs = list(tensors_in(next(named, ())))
    try:
        return rule(Call(config, tuple(inputs), kwargs, inner))
    except MALFORMED:
        return None


def _in_use(config: Mapping[str, Any]) -> set[str]:
    return {key for key, value in config.items() if value not in (None, False)}
