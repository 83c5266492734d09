"""Shape rules of the layers that are neither spatial, recurrent nor preprocessing.

Dense layers, embeddings, merges, reshapes, activations, regularisation, normalisation, attention.
"""

from __future__ import annotations

import math
import re

from layerprobe.layers import Shape
from layerprobe.modelfile.shape_call import (
    Call,
    DtypeRule,
    Rule,
    ShapeRule,
    Tensor,
    activated,
    attempt,
    axis,
    computed,
    dimensions,
    float32_of_integers,
    integers,
    is_float,
    items,
    kept,
    policy_dtypes,
    same_shape,
    single,
)

_EINSUM = re.compile(r"(\.\.\.)?([a-zA-Z]+)(\.\.\.)?,[a-zA-Z]+->(?:\.\.\.)?[a-zA-Z]+(?:\.\.\.)?")


def _input_layer(call: Call) -> Shape:
    return dimensions(call.config.get("batch_shape", call.config.get("batch_input_shape")))


def _identity(call: Call) -> list[Tensor]:
    return [Tensor(tensor.shape, kept(call.on(tensor))) for tensor in call.inputs]


def _dense(call: Call) -> Shape:
    return (*call.shape()[:-1], call.integer("units"))


def _einsum_dense(call: Call) -> Shape:
    """Return the batch, the axes that the config names, and those that "..." stands for."""
    match = _EINSUM.fullmatch(str(call.config["equation"]))
    if match is None:
        raise ValueError(call.config["equation"])
    inputs = call.shape()
    given = call.config["output_shape"]
    named = dimensions([given] if isinstance(given, int) else given)
    elided = len(inputs) - len(match[2])
    if match[1]:
        return (inputs[0], *inputs[1:elided], *named)
    return (inputs[0], *named, *inputs[len(inputs) - elided :])


def _embedding(call: Call) -> Shape:
    return (*call.shape(), call.integer("output_dim"))


def _reversible_embedding(call: Call) -> Shape:
    if call.kwargs.get("reverse"):
        return (*call.shape()[:-1], call.integer("input_dim"))
    return _embedding(call)


def _reversible_embedding_dtype(call: Call) -> str | None:
    """Return the dtype of token vectors or of logits, for which neither side is cast."""
    if not call.kwargs.get("reverse"):
        return call.compute_dtype
    if call.config.get("reverse_dtype") is not None:
        return policy_dtypes(call.config["reverse_dtype"])[0]
    narrower = (call.variable_dtype, "float16", "bfloat16")
    return call.variable_dtype if call.inputs[0].dtype in narrower else None


def _reshape(call: Call) -> Shape:
    batch, *rest = call.inputs[0].shape or (None, None)
    target = dimensions(call.config["target_shape"])
    if None in rest or None not in target:
        return (batch, *target)
    known = math.prod(size for size in target if size is not None)
    missing, remainder = divmod(math.prod(size for size in rest if size is not None), known)
    if remainder or target.count(None) > 1:
        raise ValueError(target)
    return (batch, *(missing if size is None else size for size in target))


def _flatten(call: Call) -> Shape:
    batch, *rest = call.inputs[0].shape or (None, None)
    return (batch, None if None in rest else math.prod(size for size in rest if size is not None))


def _permute(call: Call) -> Shape:
    axes = items(call.config["dims"])
    shape = call.shape(len(axes) + 1)
    if sorted(axes) != list(range(1, len(shape))):
        raise ValueError(axes)
    return (shape[0], *(shape[position] for position in axes))


def _repeat_vector(call: Call) -> Shape:
    batch, features = call.shape(2)
    return (batch, call.integer("n"), features)


def _activation_dtype(call: Call) -> str | None:
    """Return the dtype of an activation; only these two are known to take integers."""
    dtype = kept(call)
    if dtype is None or is_float(dtype):
        return dtype
    return dtype if call.config.get("activation") in ("linear", "relu") else None


def _masking_dtype(call: Call) -> str | None:
    """Return the dtype of Masking, which multiplies, so that no boolean stays one."""
    dtype = kept(call)
    return None if dtype == "bool" else dtype


def _average_dtype(call: Call) -> str | None:
    """Return the dtype of an average; the engines do not agree on that of integers."""
    dtype = kept(call)
    return dtype if dtype is not None and is_float(dtype) else None


def _elementwise(call: Call) -> Shape:
    """Broadcast as merges do: the batch apart, the rest aligned at the last axis."""
    shapes = [call.shape(position=i) for i in range(len(call.inputs))]
    rest = shapes[0][1:]
    for shape in shapes[1:]:
        rest = _broadcast(rest, shape[1:])
    batches = {shape[0] for shape in shapes} - {None}
    return (batches.pop() if len(batches) == 1 else None, *rest)


def _broadcast(one: Shape, other: Shape) -> Shape:
    if len(one) < len(other):
        one, other = other, one
    alone = len(one) - len(other)
    return (*one[:alone], *(_common(a, b) for a, b in zip(one[alone:], other, strict=True)))


def _common(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return None
    if 1 not in (one, other) and one != other:
        raise ValueError((one, other))
    return other if one == 1 else one


def _concatenate(call: Call) -> Shape:
    first = list(call.shape())
    shapes = [call.shape(len(first), position=i) for i in range(len(call.inputs))]
    along = axis(call.config.get("axis", -1), call.shape())
    sizes = [shape[along] for shape in shapes]
    first[along] = None if None in sizes else sum(size for size in sizes if size is not None)
    return tuple(first)


def _dot(call: Call) -> Shape:
    first, second = list(call.shape(position=0)), list(call.shape(position=1))
    given = call.config["axes"]
    one, other = (given, given) if isinstance(given, int) else items(given)
    del first[axis(one, call.shape(position=0))], second[axis(other, call.shape(position=1))]
    rest = [*first, *second[1:]]
    return (*rest, 1) if len(rest) == 1 else tuple(rest)


def _attention(shape: ShapeRule, scores: ShapeRule, dtype: DtypeRule) -> Rule:
    """Return the rule of an attention layer, whose scores are a second output on demand."""

    def rule(call: Call) -> list[Tensor]:
        with_scores = call.kwargs.get("return_attention_scores")
        shapes = (shape, scores) if with_scores else (shape,)
        return [Tensor(attempt(part, call), dtype(call)) for part in shapes]

    return rule


def _attended(call: Call) -> Shape:
    return (*call.shape(position=0)[:-1], call.shape(position=1)[-1])


def _attention_scores(call: Call) -> Shape:
    key = call.shape(position=2 if len(call.inputs) > 2 else 1)
    return (*call.shape(position=0)[:-1], key[-2])


def _heads_attended(call: Call) -> Shape:
    query = call.argument(0, "query")
    given = call.config.get("output_shape")
    if not given:
        return query
    features = [given] if isinstance(given, int) else items(given)
    return (*query[:-1], *integers(features, len(features)))


def _head_scores(call: Call) -> Shape:
    """Return the axes not attended, the heads, then the attended axes of query and of value."""
    query, value = call.argument(0, "query"), call.argument(1, "value")
    given = call.config.get("attention_axes")
    if given is None:
        given = list(range(1, len(query) - 1))
    axes = [axis(item, query) for item in ([given] if isinstance(given, int) else items(given))]
    others = [size for i, size in enumerate(query[:-1]) if i not in axes]
    attended = [shape[i] for shape in (query, value) for i in axes]
    return (*others, call.integer("num_heads"), *attended)


def _grouped_attended(call: Call) -> Shape:
    return call.argument(0, "query")


def _grouped_scores(call: Call) -> Shape:
    query, value = call.argument(0, "query"), call.argument(1, "value")
    return (query[0], call.integer("num_query_heads"), query[1], value[1])


_DOT_ATTENTION = _attention(_attended, _attention_scores, float32_of_integers)
_GROUPED_ATTENTION = _attention(_grouped_attended, _grouped_scores, computed)

RULES: dict[str, Rule] = {
    "InputLayer": single(_input_layer, lambda call: call.variable_dtype),
    "Identity": _identity,
    "Dense": single(activated(_dense)),
    "EinsumDense": single(activated(_einsum_dense)),
    "Embedding": single(_embedding),
    "ReversibleEmbedding": single(_reversible_embedding, _reversible_embedding_dtype),
    "Reshape": single(_reshape, kept),
    "Flatten": single(_flatten, kept),
    "Permute": single(_permute, kept),
    "RepeatVector": single(_repeat_vector, kept),
    "Activation": single(activated(same_shape), _activation_dtype),
    "Masking": single(same_shape, _masking_dtype),
    "LeakyReLU": single(same_shape, float32_of_integers),
    **dict.fromkeys(
        """ELU PReLU Softmax BatchNormalization GroupNormalization
        LayerNormalization UnitNormalization""".split(),
        single(same_shape),
    ),
    **dict.fromkeys(
        """ReLU RMSNormalization ActivityRegularization Dropout AlphaDropout GaussianDropout
        GaussianNoise SpatialDropout1D SpatialDropout2D SpatialDropout3D""".split(),
        single(same_shape, kept),
    ),
    **dict.fromkeys("Add Subtract Multiply Maximum Minimum".split(), single(_elementwise, kept)),
    "Average": single(_elementwise, _average_dtype),
    "Concatenate": single(_concatenate, kept),
    "Dot": single(_dot, kept),
    "Attention": _DOT_ATTENTION,
    "AdditiveAttention": _DOT_ATTENTION,
    "MultiHeadAttention": _attention(_heads_attended, _head_scores, computed),
    "GroupQueryAttention": _GROUPED_ATTENTION,
    "GroupedQueryAttention": _GROUPED_ATTENTION,
}
