"""What a reader of one file format hands over: a config, its origin, the sizes of the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from layerprobe.errors import ModelError
from layerprobe.modelfile.graph import Graph
from layerprobe.modelfile.jsontext import parse_json

Config = dict[str, Any]


class WeightSizes(Protocol):
    """The numbers of weights in a file, before anything is read from it."""

    def params(self, graph: Graph) -> Mapping[tuple[str, ...], int | None]:
        """Return the number of weights of every layer, by the names on the way to it."""
        ...


@dataclass(frozen=True)
class Contents:
    """A model file taken apart, its config still in the dialect of the Keras that wrote it.

    Attributes:
        path: The file.
        format: "hdf5" or "keras".
        config: `{"class_name": …, "config": …}` of the model; of Keras 1, in the words of Keras 2.
        keras_version: As the file says, or None.
        backend: The engine the model was made on, as the file says, or None.
        weights: Sizes of the weights, or None if the file holds none.
        keras1: Whether Keras 1 wrote it.
        notes: What was put into the words of Keras 2.
    """

    path: Path
    format: str
    config: Config
    keras_version: str | None
    backend: str | None
    weights: WeightSizes | None
    keras1: bool = False
    notes: tuple[str, ...] = ()

    @property
    def major_version(self) -> int | None:
        """The first number of `keras_version`; None where the file names no version."""
        head = (self.keras_version or "").partition(".")[0]
        return int(head) if head.isdecimal() else None


def parse_config(text: str | bytes, path: Path) -> Config:
    """Return a model's config from its JSON text.

    Raises:
        ModelError: It is too large, not JSON or ambiguous, or does not describe a model.
    """
    config = parse_json(text, path)
    if not isinstance(config, dict) or not isinstance(config.get("class_name"), str):
        raise ModelError(
            f"The model config in {path} does not describe a model.",
            expected="an object with a class_name and a config",
            path=str(path),
        )
    return config
