"""The graph of Keras: one of the files, compat*.py, that touch its private attributes.

Why private ones at all: `keras.Function` and `keras.Model` refuse two models that share a layer
name, keep every activation alive, add nodes to the layers they are built on, and cannot reach into
nested models. The graph underneath (nodes, tensors, their history) is unchanged since Keras 3.6.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
from keras.src import tree
from keras.src.backend import (
    SUPPORTS_SPARSE_TENSORS,
    compute_output_spec,
    get_keras_mask,
    set_keras_mask,
)
from keras.src.models.functional import Functional
from keras.src.ops.node import Node
from keras.src.ops.operation import Operation as _Operation
from keras.src.saving import saving_lib
from keras.src.utils.naming import reset_uids as _reset_uids

from layerprobe.errors import BackendError
from layerprobe.modelfile.slashes import saved_name

KerasTensor, Operation = keras.KerasTensor, _Operation


def is_symbolic(value: object) -> bool:
    """Tell whether a value is a symbolic tensor of a Keras graph."""
    return isinstance(value, keras.KerasTensor)


def history(tensor: Any) -> tuple[Any, Any, int]:
    """Return the operation, the node and the output number that made a symbolic tensor.

    Raises:
        BackendError: The tensor belongs to no graph, or to a circle.
    """
    record = getattr(tensor, "_keras_history", None)
    if record is None or record.operation is None:
        raise BackendError(
            f"The symbolic tensor {tensor.name!r} belongs to no graph.",
            expected="a tensor that a layer returned, or an input of a model",
        )
    operation, node_index, tensor_index = record
    node = operation._inbound_nodes[node_index]
    if any(taken is tensor for taken in node.input_tensors):
        # Keras' Equalization returns the symbolic tensor it got; a walk would never end.
        raise BackendError(
            f"{operation.name!r} takes its own output: Keras recorded a circle in the graph.",
            fix=f"Keras cannot run {type(operation).__name__} inside a model either; leave it out.",
        )
    return operation, node, tensor_index


def inlined(operation: Any) -> Any:
    """Return the graph of a nested model that does nothing but run its graph, else None."""
    call = type(operation).call
    if call is keras.Sequential.call:
        return operation._functional
    return operation if call is Functional.call else None


def graph_of(model: Any) -> Any:
    """Return the Functional graph of a model.

    Raises:
        BackendError: It has none: it is subclassed, or a Sequential that was never built.
    """
    graph = inlined(model)
    if graph is None:
        raise BackendError(
            f"The model {model.name!r} has no graph of layers.",
            expected="a Functional model, or a Sequential that knows its input shape",
        )
    return graph


def graph_inputs(graph: Any) -> list[Any]:
    """Return the flat symbolic inputs of a graph."""
    return list(graph._inputs)


def graph_outputs(graph: Any) -> list[Any]:
    """Return the flat symbolic outputs of a graph."""
    return list(graph._outputs)


def calls(graph: Any, layer: Any) -> list[Any]:
    """Return the nodes of a layer that belong to a graph, in the order of the calls.

    Other nodes of the layer come from other models, or from earlier states of a growing Sequential.
    """
    own = {id(node) for nodes in graph._nodes_by_depth.values() for node in nodes}
    return [node for node in layer._inbound_nodes if id(node) in own]


def layer_named(graph: Any, name: str) -> Any:
    """Return the layer or bare operation of that name in a graph."""
    return next(found for found in graph._operations if saved_name(found.name) == name)


def arguments_fed(node: Any) -> list[Any]:
    """Return the flat symbolic tensors a nested model is called on."""
    return list(tree.flatten(node.arguments.args[0]))


def masks_fed(node: Any) -> list[Any]:
    """Return the flat masks a nested model is called with, None where there is none."""
    masks = node.arguments.kwargs.get("mask")
    return [] if masks is None else list(tree.flatten(masks))


def masks_carried(node: Any) -> list[tuple[int, Any]]:
    """Return the masks a call reads off its tensors, where the node does not record them.

    Keras hands masks on as an attribute of tensors. For most layers the node records the mask as a
    keyword argument; for others (MultiHeadAttention) only the attribute carries it, which a value
    that is fed does not have.

    Returns:
        For each such tensor its position in `node.input_tensors`, and its symbolic mask.
    """
    operation = node.operation
    if not isinstance(operation, keras.Layer):
        return []
    parameters = inspect.signature(operation.call).parameters
    takes = [name for name in parameters if name == "mask" or name.endswith("_mask")]
    if all(node.arguments.kwargs.get(name) is not None for name in takes):
        return []
    masks = [(i, get_keras_mask(tensor)) for i, tensor in enumerate(node.input_tensors)]
    return [(i, mask) for i, mask in masks if mask is not None]


def mask_of(value: Any) -> Any:
    """Return the mask that a tensor carries, or None."""
    return get_keras_mask(value)


def attach_mask(value: Any, mask: Any) -> None:
    """Make a tensor carry a mask, as Keras' layers expect it."""
    set_keras_mask(value, mask)


def fill_in(node: Any, values: dict[int, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return a node's arguments with values for its symbolic tensors, given by their `id`."""
    args, kwargs = node.arguments.fill_in(values)
    return tuple(args), dict(kwargs)


def fixed_arguments(node: Any) -> tuple[Any, ...]:
    """Return what distinguishes two calls on the same tensors: the other arguments."""
    structure = (node.arguments.args, node.arguments.kwargs)
    leaves = tree.flatten(structure)
    shape = repr(tree.map_structure(lambda _: 0, structure))
    return (shape, *(None if is_symbolic(leaf) else _comparable(leaf) for leaf in leaves))


def _comparable(leaf: Any) -> Any:
    try:
        hash(leaf)
    except TypeError:
        return id(leaf)
    return (type(leaf), leaf)


def flatten(structure: Any) -> list[Any]:
    """Return the leaves of a nested structure in Keras' order."""
    return list(tree.flatten(structure))


def mapped(function: Callable[[Any], Any], structure: Any) -> Any:
    """Return a nested structure with a function applied to its leaves."""
    return tree.map_structure(function, structure)


def output_spec(function: Callable[..., Any], tensors: Sequence[Any]) -> Any:
    """Return the symbolic results of a function of tensors, without computing it."""
    return compute_output_spec(function, *tensors)


def record(operation: Any, taken: Sequence[Any], results: Sequence[Any]) -> None:
    """Record in the graph that an operation makes some symbolic tensors of others."""
    Node(operation, call_args=tuple(taken), call_kwargs={}, outputs=list(results))


def share_history(tensor: Any, other: Any) -> None:
    """Give a symbolic tensor the place of another one in the graph."""
    if hasattr(tensor, "_keras_history"):
        other._keras_history = tensor._keras_history


def carry_mask(old: Any, new: Any) -> Any:
    """Return a tensor that stands for another, with its mask."""
    mask = get_keras_mask(old)
    if mask is not None and new is not old:
        set_keras_mask(new, mask)
    return new


def enter(tensor: Any, value: Any, mask: Any) -> Any:
    """Return a value as a nested model takes it: in its input's dtype and rank, with its mask."""
    carried = get_keras_mask(value) if mask is None else mask
    entered = keras.ops.convert_to_tensor(value, dtype=tensor.dtype)
    missing = len(tensor.shape) - len(entered.shape)
    if missing == 1:
        entered = keras.ops.expand_dims(entered, -1)
    elif missing == -1:
        entered = keras.ops.squeeze(entered, -1)
    if carried is not None:
        set_keras_mask(entered, carried)
    return entered


def load_archive(file: Any, *, safe_mode: bool = True) -> Any:
    """Load an open .keras archive, whatever its name; in safe mode without running code from it."""
    return saving_lib.load_model(file, compile=False, safe_mode=safe_mode)


def named_outputs(model: Any) -> dict[tuple[str, int], Any]:
    """Return the symbolic outputs of the first call of each of a model's layers in its graph."""
    graph = graph_of(model)
    found: dict[tuple[str, int], Any] = {}
    for layer in graph.layers:
        for place, tensor in enumerate(calls(graph, layer)[0].outputs):
            found[layer.name, place] = tensor
    return found


def graph_inputs_of(layer: Any) -> list[Any]:
    """Return the symbolic tensors that the first call of a layer takes."""
    return list(layer._inbound_nodes[0].input_tensors)


def save_archive(model: Any, file: Any) -> None:
    """Write a model as a .keras archive into an open file, whatever its name."""
    saving_lib._save_model_to_fileobj(model, file, "h5")


def constant(value: Any, dtype: str) -> Any:
    """Return a tensor of a value."""
    return keras.ops.convert_to_tensor(value, dtype=dtype)


def cast(value: Any, dtype: str) -> Any:
    """Return a tensor in another dtype."""
    return keras.ops.cast(value, dtype)


def is_tensor(value: object) -> bool:
    """Tell whether a value is a tensor of the engine."""
    return bool(keras.ops.is_tensor(value))


def ids(values: Iterable[Any]) -> list[int]:
    """Return what tells objects apart."""
    return [id(value) for value in values]


def packed(structure: Any, leaves: Sequence[Any]) -> Any:
    """Return leaves in the structure of another nested value."""
    return tree.pack_sequence_as(structure, list(leaves))


def new_input(shape: Sequence[int | None], **options: Any) -> Any:
    """Return a symbolic tensor that belongs to no model yet."""
    if options.get("sparse") and not SUPPORTS_SPARSE_TENSORS:
        options["sparse"] = False
    return keras.Input(batch_shape=tuple(shape), **options)


def is_source(tensor: Any) -> bool:
    """Tell whether nothing computes a symbolic tensor: it is a model's input, or of no graph."""
    record = getattr(tensor, "_keras_history", None)
    if record is None or record.operation is None:
        return True
    return isinstance(record.operation, keras.layers.InputLayer)


def reset_uids() -> None:
    """Begin anew with the numbers in the names that Keras makes up."""
    _reset_uids()


def as_array(value: Any) -> Any:
    """Return a tensor of the engine as a NumPy array."""
    return keras.ops.convert_to_numpy(value)


def is_optional(tensor: Any) -> bool:
    """Tell whether a symbolic tensor is an input that may be None."""
    return bool(getattr(history(tensor)[0], "optional", False))
