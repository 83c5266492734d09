"""One call of a layer as a shape rule sees it: its config, its inputs, the dtypes they imply.

A config is data from a file: anything in it may be missing or of the wrong kind. So rules read it
through the accessors here alone, which check what they return and raise one of `MALFORMED`
otherwise. What cannot be read makes an output unknown; it is never an error and never a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from layerprobe.layers import Shape

MALFORMED = (ArithmeticError, LookupError, RecursionError, TypeError, ValueError)

_FLOATX = "float32"  # what Keras takes where a config names no dtype
_MIXED = {"mixed_float16": "float16", "mixed_bfloat16": "bfloat16"}
_DTYPES = frozenset(
    """bool string int4 int8 int16 int32 int64 uint8 uint16 uint32 uint64 float8_e4m3fn float8_e5m2
    bfloat16 float16 float32 float64 complex64 complex128""".split()
)


class Tensor(NamedTuple):
    """What is known of a tensor without computing it.

    Attributes:
        shape: The batch first, None for an unknown dimension; None if not even the rank is known.
        dtype: A dtype name such as "float32"; None if unknown.
    """

    shape: Shape | None
    dtype: str | None


@dataclass(frozen=True)
class Call:
    """One call of a layer.

    Attributes:
        config: The layer's own config.
        inputs: The tensors that the call takes by position, flattened in order.
        kwargs: The keyword arguments, tensors as `Tensor`.
        infer: Infers the outputs of a serialized layer that this one holds.
    """

    config: Mapping[str, Any]
    inputs: tuple[Tensor, ...]
    kwargs: Mapping[str, Any]
    infer: Callable[[object, Sequence[Tensor]], list[Tensor] | None]

    @property
    def compute_dtype(self) -> str | None:
        """The dtype that the layer casts float inputs to and computes in."""
        return policy_dtypes(self.config.get("dtype"))[0]

    @property
    def variable_dtype(self) -> str | None:
        """The dtype of the layer's weights."""
        return policy_dtypes(self.config.get("dtype"))[1]

    @property
    def channels_first(self) -> bool:
        """Whether the channels are axis 1; by default they are the last axis."""
        data_format = self.config.get("data_format") or "channels_last"
        if data_format not in ("channels_first", "channels_last"):
            raise ValueError(data_format)
        return bool(data_format == "channels_first")

    def on(self, *inputs: Tensor) -> Call:
        """Return the same call with other inputs."""
        return replace(self, inputs=inputs)

    def shape(self, rank: int | None = None, position: int = 0) -> Shape:
        """Return the shape of an input; all None if it is unknown but its rank is given.

        Raises:
            ValueError: It has another rank, or no rank is known.
            IndexError: There is no such input.
        """
        shape = self.inputs[position].shape
        if shape is None and rank is not None:
            return (None,) * rank
        if shape is None or (rank is not None and len(shape) != rank):
            raise ValueError(shape)
        return shape

    def argument(self, position: int, name: str) -> Shape:
        """Return the shape of a tensor that was passed by position or by name."""
        named = self.kwargs.get(name)
        given = self.on(named) if isinstance(named, Tensor) else self.on(self.inputs[position])
        return given.shape()

    def integer(self, key: str, default: int | None = None) -> int:
        """Return a setting that must be an integer of at least 1."""
        return integer(self.config.get(key, default))

    def integers(self, key: str, count: int, default: int | None = None) -> tuple[int, ...]:
        """Return a setting that must be `count` integers of at least 1, or one for all."""
        return integers(self.config.get(key, default), count)

    def pairs(self, key: str, count: int) -> list[tuple[int, int]]:
        """Return a setting that is a (before, after) pair for each axis, by default 1 and 1."""
        value = self.config.get(key, 1)
        if isinstance(value, int):
            value = [value] * count
        elif count == 1:
            value = [value]
        pairs = [integers(entry, 2, minimum=0) for entry in items(value)]
        if len(pairs) != count:
            raise ValueError(value)
        return [(before, after) for before, after in pairs]


Rule = Callable[[Call], "list[Tensor] | None"]
ShapeRule = Callable[[Call], Shape]
DtypeRule = Callable[[Call], "str | None"]


def computed(call: Call) -> str | None:
    """Return the output dtype of a layer that computes, whatever goes in."""
    return call.compute_dtype


def single(shape: ShapeRule, dtype: DtypeRule = computed) -> Rule:
    """Return the rule of a layer with one output."""

    def rule(call: Call) -> list[Tensor]:
        return [Tensor(attempt(shape, call), dtype(call))]

    return rule


def attempt(shape: ShapeRule, call: Call) -> Shape | None:
    """Return the shape that a rule finds, or None if it cannot."""
    try:
        return shape(call)
    except MALFORMED:
        return None


def same_shape(call: Call) -> Shape:
    """Return the shape of the first input."""
    return call.shape()


def activated(shape: ShapeRule) -> ShapeRule:
    """Return the shape rule of a layer that applies its `activation` last.

    Keras' own symbolic shape forgets that a gated linear unit halves the last axis.
    """

    def after(call: Call) -> Shape:
        *rest, last = shape(call)
        if call.config.get("activation") != "glu" or last is None:
            return (*rest, last)
        return (*rest, last // 2)

    return after


def is_float(dtype: str) -> bool:
    """Tell whether Keras counts a dtype among the floats, which a layer casts to its own."""
    return dtype.startswith(("float", "bfloat"))


def kept(call: Call) -> str | None:
    """Return the output dtype of a layer that passes integers, booleans and text on as they are.

    Keras casts float inputs alone; its own symbolic dtype claims a cast of the others that no
    engine does. A float among several inputs makes the output float.
    """
    dtypes = {tensor.dtype for tensor in call.inputs}
    names = {dtype for dtype in dtypes if dtype is not None}
    if not names or names != dtypes:
        return None
    if any(is_float(name) for name in names):
        return call.compute_dtype
    return names.pop() if len(names) == 1 else None


def float32_of_integers(call: Call) -> str | None:
    """Return the output dtype of a layer that makes float32 of integers, whatever its policy."""
    dtype = kept(call)
    if dtype is None or is_float(dtype):
        return dtype
    return "float32" if call.compute_dtype == "float32" else None


def items(value: object) -> Sequence[Any]:
    """Return a list, or a tuple in either of the spellings that Keras gives it in JSON."""
    if isinstance(value, Mapping) and value.get("class_name") == "__tuple__":
        value = value.get("items")
    if not isinstance(value, (list, tuple)):
        raise TypeError(value)
    return value


def integer(value: object, minimum: int = 1) -> int:
    """Return an integer of at least `minimum`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        raise ValueError(value)
    return value


def integers(value: object, count: int, *, minimum: int = 1) -> tuple[int, ...]:
    """Return `count` integers of at least `minimum`, from a list of them or from one for all."""
    values = [value] * count if isinstance(value, int) else items(value)
    if len(values) != count:
        raise ValueError(value)
    return tuple(integer(item, minimum) for item in values)


def axis(value: object, shape: Shape) -> int:
    """Return an axis of a shape, counted from its beginning."""
    position = integer(value, -len(shape))
    if position >= len(shape):
        raise IndexError(value)
    return position % len(shape)


def dimensions(value: object) -> Shape:
    """Return a shape as written in a config, where null and -1 are unknown."""
    return tuple(None if d is None or d == -1 else integer(d, 0) for d in items(value))


def opened(serialized: object) -> tuple[str, Mapping[str, Any]]:
    """Return class name and config of a serialized layer inside a config.

    Raises:
        ValueError: It is not a layer of Keras' own.
        TypeError: It is not a serialized layer.
    """
    if not isinstance(serialized, Mapping) or not isinstance(serialized.get("config"), Mapping):
        raise TypeError(serialized)
    module = str(serialized.get("module") or "keras")
    if module != "keras" and not module.startswith("keras."):
        raise ValueError(module)
    return str(serialized["class_name"]), serialized["config"]


def tensors_in(value: object) -> Iterator[Tensor]:
    """Yield the tensors in nested arguments, in Keras' order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for key in sorted(value):
            yield from tensors_in(value[key])
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_in(item)


def policy_dtypes(policy: object) -> tuple[str | None, str | None]:
    """Return the compute and the variable dtype of a dtype policy as it stands in a config.

    Args:
        policy: None, a name such as "mixed_float16" or "int8_from_float32", or a serialized
            DTypePolicy of any kind.

    Example:
        >>> policy_dtypes({"class_name": "DTypePolicy", "config": {"name": "mixed_bfloat16"}})
        ('bfloat16', 'float32')
    """
    try:
        names = set(_policy_names(policy))
    except MALFORMED:
        return None, None
    if len(names) != 1:  # a DTypePolicyMap with several policies: whose is whose needs the paths
        return None, None
    name = names.pop()
    if name in _MIXED:
        return _MIXED[name], "float32"
    return (name, name) if name in _DTYPES else (None, None)


def _policy_names(policy: object) -> Iterator[str]:
    if policy is None:
        yield _FLOATX
    elif isinstance(policy, str):
        yield policy.rpartition("_from_")[2]
    elif isinstance(policy, Mapping) and isinstance(policy.get("config"), Mapping):
        settings = policy["config"]
        if isinstance(settings.get("policy_map"), Mapping):
            yield from _policy_names(settings.get("default_policy"))
            for inner in settings["policy_map"].values():
                yield from _policy_names(inner)
        else:
            yield from _policy_names(settings.get("name") or settings.get("source_name"))
    else:
        raise TypeError(policy)
