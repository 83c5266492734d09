"""Calls of Keras layers as data, and what Keras and the rules make of them.

`Case.unlike` is set where Keras' symbolic tensors do not promise what a call returns, and says why;
such a case is compared with the computed outputs alone. A dimension of None is computed with 8.
"""

from __future__ import annotations

import copy
import inspect
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from layerprobe.modelfile.shapes import Tensor, infer

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

SPREAD = frozenset({"MultiHeadAttention", "GroupQueryAttention"})
CELLS = frozenset({"LSTMCell", "GRUCell", "SimpleRNNCell", "StackedRNNCells"})


class Array(NamedTuple):
    """A tensor to call with."""

    shape: tuple[int | None, ...]
    dtype: str = "float32"


class Spec(NamedTuple):
    """A layer to build; layers among its arguments are built first."""

    class_name: str
    arguments: dict[str, Any]


class Case(NamedTuple):
    """One call of one layer."""

    spec: Spec
    inputs: tuple[Array, ...]
    kwargs: dict[str, Any]
    unlike: str

    def __str__(self) -> str:
        names = (f"{key}={_shown(value)}" for key, value in self.spec.arguments.items())
        return f"{self.spec.class_name}({','.join(names)})" + ",".join(
            f"{list(array.shape)}{array.dtype if array.dtype != 'float32' else ''}".replace(" ", "")
            for array in self.inputs
        )


def layer(class_name: str, **arguments: Any) -> Spec:
    """Return a layer to build."""
    return Spec(class_name, arguments)


def case(
    class_name: str,
    /,
    *shapes: tuple[int | None, ...],
    dtype: str = "float32",
    unlike: str = "",
    kwargs: dict[str, Any] | None = None,
    **arguments: Any,
) -> Case:
    """Return the call of a layer of this class and these arguments on inputs of these shapes."""
    inputs = tuple(Array(shape, dtype) for shape in shapes)
    return Case(Spec(class_name, arguments), inputs, kwargs or {}, unlike)


def _shown(value: Any) -> str:
    return f"{value.class_name}()" if isinstance(value, Spec) else str(value).replace(" ", "")


def build(value: Any) -> Any:
    """Return a layer of Keras, or any argument with the layers in it built."""
    import keras

    if isinstance(value, Spec):
        home = keras if value.class_name == "Sequential" else keras.layers
        return getattr(home, value.class_name)(**build(value.arguments))
    if isinstance(value, Mapping):
        return {key: build(item) for key, item in value.items()}
    return [build(item) for item in value] if isinstance(value, list) else value


def saved(layer: Any) -> dict[str, Any]:
    """Return a layer as it stands in the JSON of a .keras file."""
    import keras

    return json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))


def reloaded(case: Case, **arguments: Any) -> tuple[Any, dict[str, Any]]:
    """Return the layer of a case as it comes out of a file, and what the file says."""
    import keras

    spec = case.spec._replace(arguments=case.spec.arguments | arguments)
    serialized = saved(build(spec))
    # Keras takes parts out of the config that it builds from.
    return keras.saving.deserialize_keras_object(copy.deepcopy(serialized)), serialized


def mapped(value: Any, make: Any) -> Any:
    """Return arguments with every `Array` in them replaced."""
    if isinstance(value, Array):
        return make(value)
    if isinstance(value, Mapping):
        return {key: mapped(item, make) for key, item in value.items()}
    return [mapped(item, make) for item in value] if isinstance(value, list) else value


def outputs_of(layer: Any, case: Case, make: Any) -> list[Any]:
    """Call a layer as a case says and return what comes out, flattened."""
    import keras

    tensors = [make(array) for array in case.inputs]
    if case.spec.class_name in SPREAD:
        arguments = tensors
    elif case.spec.class_name in CELLS:
        arguments = [tensors[0], tensors[1:]]
    else:
        arguments = tensors if len(tensors) == 1 else [tensors]
    return list(keras.tree.flatten(layer(*arguments, **mapped(case.kwargs, make))))


def called(layer: Any, case: Case, make: Any) -> list[Tensor]:
    """Call a layer and return the shapes and dtypes of what comes out, flattened."""
    import keras

    dtype = keras.backend.standardize_dtype
    return [Tensor(tuple(x.shape), dtype(x.dtype)) for x in outputs_of(layer, case, make)]


def symbolic(array: Array) -> Any:
    """Return a symbolic tensor of Keras."""
    import keras

    return keras.KerasTensor(array.shape, array.dtype)


def concrete(array: Array) -> Any:
    """Return ones of this shape, two rows of them and 8 where a dimension is open."""
    import keras

    shape = [(2 if axis == 0 else 8) if n is None else n for axis, n in enumerate(array.shape)]
    if array.dtype == "string":
        import tensorflow as tf

        return tf.fill(shape, "a b")
    return keras.ops.convert_to_tensor(np.ones(shape), array.dtype)


def nested(
    class_name: str, config: Mapping[str, Any], inputs: Sequence[Tensor]
) -> list[Tensor] | None:
    """Infer a Sequential model, layer by layer."""
    assert class_name == "Sequential"
    tensors: list[Tensor] | None = list(inputs)
    for layer in config["layers"]:
        if tensors is not None and layer["class_name"] != "InputLayer":
            tensors = infer(layer["class_name"], layer["config"], tensors)
    return tensors


def inferred(case: Case, serialized: Mapping[str, Any], **replaced: Any) -> list[Tensor] | None:
    """Return what the rule says about a case."""
    inputs = replaced.pop("inputs", [Tensor(*array) for array in case.inputs])
    kwargs = mapped(case.kwargs, lambda array: Tensor(*array))
    config = serialized["config"] | replaced
    return infer(serialized["class_name"], config, inputs, kwargs, nested)


def inferred_and_computed(case: Case, **arguments: Any) -> tuple[list[Tensor], list[Tensor]]:
    """Return what the rule says about a case, and what a call in inference mode returns."""
    layer, serialized = reloaded(case, **arguments)
    found = inferred(case, serialized)
    assert found is not None
    if "training" in inspect.signature(layer.call).parameters:
        case = case._replace(kwargs=case.kwargs | {"training": False})
    return found, called(layer, case, concrete)


def agrees(found: Tensor, computed: Tensor) -> bool:
    """Tell whether all that is known of a tensor is true of the computed one."""
    if found.dtype not in (None, computed.dtype):
        return False
    if found.shape is None or computed.shape is None:
        return found.shape is None
    return len(found.shape) == len(computed.shape) and all(
        None in (a, b) or a == b for a, b in zip(found.shape, computed.shape, strict=True)
    )
