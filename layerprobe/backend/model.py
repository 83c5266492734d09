"""A live Keras model with the addresses of its layer outputs."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from layerprobe.addresses import quote
from layerprobe.backend import compat
from layerprobe.backend.calls import Symbol, Within
from layerprobe.backend.insides import inside_tensors
from layerprobe.errors import TrustError
from layerprobe.layers import LayerOutput, LayerTable
from layerprobe.modelfile.contents import Config
from layerprobe.modelfile.slashes import saved_name
from layerprobe.modelfile.upgrade.origin import PACKAGE


class Model:
    """A built model: its table of layer outputs, and a symbolic tensor for each.

    Attributes:
        keras: The live Keras model.
        table: The layer outputs, with the addresses that `model[...]` takes.
        inputs: Symbolic tensors of the model's inputs, in its own order.
        outputs: Symbolic tensors of the model's outputs, in its own order.
        notes: What was changed in the file's config to compute what the original computed.
        unrun: For layers that cannot be computed, by the names on the way there: why not.

    Example:
        >>> import layerprobe
        >>> model = layerprobe.load("samples/digits_cnn.keras")
        >>> model["conv1"].shape
        (None, 8, 8, 16)
    """

    def __init__(
        self,
        keras_model: Any,
        table: LayerTable,
        notes: tuple[str, ...] = (),
        unrun: Mapping[tuple[str, ...], TrustError] = MappingProxyType({}),
        config: Config | None = None,
    ) -> None:
        self.keras = keras_model
        self.table = table
        self.notes = notes
        self.unrun = unrun
        self._config = config
        graph = compat.graph_of(keras_model)
        self.inputs = [self._end(tensor) for tensor in compat.graph_inputs(graph)]
        self.outputs = [self._end(tensor) for tensor in compat.graph_outputs(graph)]
        self._addresses: dict[tuple[tuple[int, ...], int], str] | None = None
        self._insides: dict[int, dict[str, Any]] = {}  # by the node of the call, each made once
        self._inside_addresses: dict[tuple[tuple[int, ...], int], str] = {}

    def __getitem__(self, address: str) -> Symbol:
        """Return the symbolic tensor of one layer output.

        Raises:
            LayerNotFound: The address names none, or a layer with several calls.
        """
        return self.symbol(self.table.find(address))

    def symbol(self, row: LayerOutput) -> Symbol:
        """Return the symbolic tensor of a row of the table.

        Raises:
            TrustError: The layer needs code that is not run, or depends on such a layer.
        """
        names = tuple(name for name, _ in row.path)
        for length in range(1, len(names) + 1):
            if names[:length] in self.unrun and not self._has(row):
                raise self.unrun[names[:length]]
        graph = compat.graph_of(self.keras)
        within: list[Any] = []
        for name, number in row.path[:-1]:
            layer = compat.layer_named(graph, name)
            within.append(compat.calls(graph, layer)[number])
            graph = compat.graph_of(layer)
        name, number = row.path[-1]
        node = compat.calls(graph, compat.layer_named(graph, name))[number]
        if not row.inside:
            return Symbol(node.outputs[row.output], tuple(within), row.address, self)
        made = self._inside(row, node)
        self._inside_addresses[tuple(id(n) for n in within), id(made)] = row.address
        return Symbol(made, tuple(within), row.address, self)

    def address_of(self, within: Within, tensor: Any) -> str | None:
        """Return the address of a symbolic tensor of this model, or None if it has none."""
        if self._addresses is None:
            found: dict[tuple[tuple[int, ...], int], str] = {}
            for row in self.table:
                if self.unrun and not self._has(row):
                    continue
                symbol = self.symbol(row)
                key = tuple(id(node) for node in symbol.within), id(symbol.tensor)
                found.setdefault(key, row.address)
            self._addresses = found
        key = tuple(id(node) for node in within), id(tensor)
        return self._addresses.get(key) or self._inside_addresses.get(key)

    def _has(self, row: LayerOutput) -> bool:
        """Tell whether the live model has what a row names; some layers may be left out of it."""
        graph = compat.graph_of(self.keras)
        for name, number in row.path:
            try:
                layer = compat.layer_named(graph, name)
                node = compat.calls(graph, layer)[number]
            except (KeyError, IndexError, ValueError, StopIteration, AttributeError):
                return False
            if (name, number) != row.path[-1]:
                graph = compat.graph_of(layer)
        return row.output < len(node.outputs)

    def plain(self) -> Any:
        """Return a Keras model without layers of ours that computes the same.

        Raises:
            ModelError: Plain Keras has no layers for it.
        """
        from layerprobe.backend.loading import with_modules
        from layerprobe.backend.plain import plain_model

        if self._config is None or f"{PACKAGE}>" not in str(self._config):
            return self.keras
        return plain_model(with_modules(copy.deepcopy(self._config)), self.keras)

    def _inside(self, row: LayerOutput, node: Any) -> Any:
        if id(node) not in self._insides:
            names = [r.inside for r in self.table.insides if r.path == row.path]
            self._insides[id(node)] = inside_tensors(node, names)
        return self._insides[id(node)][row.inside]

    def _end(self, tensor: Any) -> Symbol:
        operation, _, _ = compat.history(tensor)
        return Symbol(tensor, (), quote(saved_name(operation.name)), self)

    def __repr__(self) -> str:
        return f"<layerprobe model {self.keras.name!r} of {len(self.table)} layer outputs>"
