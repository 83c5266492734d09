"""How many weights each layer has, read from the two layouts Keras stores weights in."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from layerprobe.modelfile.graph import MODEL_CLASSES, Graph, Layer

Path = tuple[str, ...]


@dataclass(frozen=True)
class LegacySizes:
    """Weights of an .h5 model: one flat list of names a top-level layer.

    Attributes:
        layers: For each top-level layer, its weights' names and their numbers of elements.
    """

    layers: Mapping[str, tuple[tuple[str, int], ...]]

    def params(self, graph: Graph) -> dict[Path, int | None]:
        """Return the number of weights of every layer of the graph, by path."""
        found: dict[Path, int | None] = {}
        for layer in graph.layers.values():
            entries = self.layers.get(layer.name, ())
            self._add(layer, (layer.name,), entries, found)
        return found

    def _add(
        self,
        layer: Layer,
        path: Path,
        entries: tuple[tuple[str, int], ...],
        found: dict[Path, int | None],
    ) -> None:
        found[path] = sum(size for _, size in entries)
        if layer.model is None:
            return
        # A nested model's weights are one list; each name holds its layer's name as one component.
        inner = layer.model.layers
        owned: dict[str, list[tuple[str, int]]] = {name: [] for name in inner}
        lost = False
        for name, size in entries:
            owners = {part for part in name.split("/")[:-1] if part in inner}
            if len(owners) == 1:
                owned[owners.pop()].append((name, size))
            else:
                lost = True
        for child in inner.values():
            if lost:
                found.update(_unknown(child, (*path, child.name)))
            else:
                self._add(child, (*path, child.name), tuple(owned[child.name]), found)


@dataclass(frozen=True)
class Keras3Sizes:
    """Weights of a .keras archive: groups named after classes, counted in the order of the layers.

    Attributes:
        sizes: Number of elements of each dataset, by its path in the archive's weights file.
    """

    sizes: Mapping[str, int]

    def params(self, graph: Graph, prefix: str = "", path: Path = ()) -> dict[Path, int | None]:
        """Return the number of weights of every layer of the graph, by path."""
        found: dict[Path, int | None] = {(*path, name): 0 for name in graph.layers}
        below = f"{prefix}layers/"
        counted = graph.counted()
        holding = {name.removeprefix(below) for name in self._totals if name.startswith(below)}
        groups = group_names(
            [layer.class_name for layer in counted], {name for name in holding if "/" not in name}
        )
        for layer, group in zip(counted, groups, strict=True):
            here = (*path, layer.name)
            base = below + group
            if graph.class_name not in MODEL_CLASSES:
                base = layer.name  # of a subclassed model, whose groups have its attributes' names
            found[here] = self._totals.get(base, 0)
            if layer.model is not None:
                found.update(self.params(layer.model, base + "/", here))
        return found

    @cached_property
    def _totals(self) -> dict[str, int]:
        """The number of weights below each group."""
        totals: dict[str, int] = {}
        for name, size in self.sizes.items():
            # The state of a random generator is stored beside the weights but is none of them.
            if "/seed_generator/" in f"/{name}":
                continue
            group = name
            while "/" in group:
                group = group.rpartition("/")[0]
                totals[group] = totals.get(group, 0) + size
        return totals


def _unknown(layer: Layer, path: Path) -> dict[Path, int | None]:
    found: dict[Path, int | None] = {path: None}
    for child in layer.model.layers.values() if layer.model else ():
        found.update(_unknown(child, (*path, child.name)))
    return found


def one_layout(name: str) -> str:
    """Return a path in the weights of a .keras archive as Keras 3 would have written it.

    Keras 2.12 to 2.14 called the group of a model's layers otherwise, on Windows with backslashes.
    """
    return name.replace("\\", "/").replace("_layer_checkpoint_dependencies/", "layers/")


def group_names(class_names: Sequence[str], holding: Collection[str]) -> list[str]:
    """Return the name of each layer's group in a .keras archive: its class, numbered.

    Keras 2.12 and 2.13 met a layer that has weights twice, and counted it twice. Which of the two a
    file is follows from the groups that are in it.

    Args:
        class_names: The classes of the layers of a model, in order.
        holding: The groups that hold weights.
    """
    once, twice = (list(_numbered(class_names, holding, step)) for step in (1, 2))
    found = set(holding)
    return twice if found <= set(twice) and not found <= set(once) else once


def _numbered(class_names: Sequence[str], holding: Collection[str], step: int) -> Iterator[str]:
    """Yield names of groups, where those that hold weights count `step` times."""
    used: dict[str, int] = {}
    for class_name in class_names:
        group = snake_case(class_name)
        count = used.get(group, 0)
        name = f"{group}_{count}" if count else group
        used[group] = count + (step if name in holding else 1)
        yield name


def snake_case(class_name: str) -> str:
    """Return a class name as Keras 3 writes it in a weights file (`keras.src.utils.naming`)."""
    name = re.sub(r"\W+", "", class_name.rpartition(">")[2])
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
