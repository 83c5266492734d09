"""Layers that need code which is not Keras' own: none of it is run.

They are replaced by a formula or a class of the user's own, if one was given, and else by a layer
that refuses to compute; all that does not depend on it still can be.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from layerprobe.errors import ModelError, TrustError
from layerprobe.modelfile.audit.names import is_keras_space
from layerprobe.modelfile.configs import has_graph, is_operation
from layerprobe.modelfile.contents import Config, Contents
from layerprobe.modelfile.digest import digest
from layerprobe.modelfile.graph import MODEL_CLASSES
from layerprobe.modelfile.reading import Reading
from layerprobe.modelfile.shapes import LAYER_CLASSES
from layerprobe.modelfile.upgrade.classes import APPLICATION_CLASSES, CODE, FORMER_CLASSES
from layerprobe.modelfile.upgrade.walk import name_of, with_wrapped

PACKAGE = "layerprobe"
Path = tuple[str, ...]


@dataclass(frozen=True)
class Foreign:
    """A layer of a model that needs code: its place, the layer with the code, and what that is.

    Attributes:
        path: Its name, after those of the models it lies in.
        layer: The layer of the model.
        cause: The layer that needs the code: itself, or one that it wraps.
        what: What it is, for messages.
    """

    path: Path
    layer: Config
    cause: Config
    what: str

    def refusal(self, contents: Contents) -> TrustError:
        """Return the error of who needs the layer's output."""
        name = name_of(self.cause)
        if self.cause["class_name"] == "Lambda" and self.cause is self.layer:
            given = shlex.quote(f"{name}=x/127.5 - 1")
            fix = f"If you know what it computes, say it: --lambda {given}"
            if runs_if_trusted(self, contents) and contents.path.exists():
                fix += f"\nIf you trust the file to run it: --trust {digest(contents.path)}"
        elif self.cause["class_name"] in CODE or self.cause["class_name"] == "Merge":
            fix = f"Begin after it: --from {shlex.quote(name_of(self.layer))}"
        else:
            fix = (
                f"Give the class {self.cause['class_name']!r} from a file of your own that you "
                "trust: --custom-objects FILE.py"
            )
        return TrustError(
            f"{contents.path}: layer {name!r} {self.what}.",
            expected="layers whose code is part of Keras; no code that a file brings along is run",
            fix=f"{fix}\nLayers that do not depend on {name!r} can be extracted.",
            layer=name,
            class_name=self.cause["class_name"],
            path="/".join(self.path),
        )


def runs_if_trusted(foreign: Foreign, contents: Contents) -> bool:
    """Tell whether the code can be run at all: Keras 3 runs only Lambdas of its own writing."""
    return foreign.cause["class_name"] == "Lambda" and (contents.major_version or 0) >= 3


def foreign_layers(config: Config) -> list[Foreign]:
    """Return the layers of a model, and of models inside it, that need code."""
    return list(_foreign(config, ()))


def _foreign(model: Config, path: Path) -> Iterator[Foreign]:
    inner = model["config"]
    for layer in inner if isinstance(inner, list) else (inner or {}).get("layers", ()):
        here = (*path, name_of(layer))
        if has_graph(layer):
            yield from _foreign(layer, here)
            continue
        for part in with_wrapped(layer):
            if what := code_of(part):
                yield Foreign(here, layer, part, what)
                break


def code_of(layer: Mapping[str, Any]) -> str:
    """Return what code a layer needs, or nothing."""
    class_name = str(layer.get("class_name"))
    if class_name in CODE:
        return f"is a {class_name}: code that its author wrote"
    if class_name == "Merge" and not _merges_cosines(layer):
        return "is a Merge with code that its author wrote"
    if is_operation(layer) or _is_keras_own(layer, class_name) or _was_keras_own(layer):
        return ""
    return f"is of a class that is not Keras' own: {class_name!r}"


def _is_keras_own(layer: Mapping[str, Any], class_name: str) -> bool:
    module = str(layer.get("module") or "keras")
    if class_name in APPLICATION_CLASSES:
        return module.startswith("keras.src.applications.")
    known = class_name in LAYER_CLASSES or class_name in MODEL_CLASSES
    return known and is_keras_space(module)


def _was_keras_own(layer: Mapping[str, Any]) -> bool:
    module = str(layer.get("module") or "keras")
    return is_keras_space(module) and layer["class_name"] in FORMER_CLASSES


def _merges_cosines(layer: Mapping[str, Any]) -> bool:
    return isinstance(layer["config"], dict) and layer["config"].get("mode") == "cos"


def without_code(
    config: Config, contents: Contents, reading: Reading
) -> tuple[dict[Path, TrustError], list[str]]:
    """Replace the layers that need code, in place.

    Returns:
        For each that cannot be computed the error to raise when it is needed; and notes.

    Raises:
        ModelError: A formula is given for a layer that needs none.
    """
    refused: dict[Path, TrustError] = {}
    notes = []
    found = foreign_layers(config)
    lambdas = dict(reading.lambdas)
    for foreign in found:
        layer, name = foreign.layer, name_of(foreign.layer)
        class_name = foreign.cause["class_name"]
        if name in lambdas and foreign.cause is layer:
            settings = {"formula": lambdas[name], "stands_for": class_name}
            _replace(layer, "Formula", settings)
            notes.append(f"layer {name} computed by the formula that was given: {lambdas[name]}")
        elif class_name in reading.custom_classes:
            foreign.cause.update({"module": "custom", "registered_name": class_name})
            notes.append(f"layer {name}: class {class_name} from the file that was given")
        elif reading.trust is not None and runs_if_trusted(foreign, contents):
            notes.append(f"layer {name}: computed by the code in the file, which --trust lets run")
        else:
            error = foreign.refusal(contents)
            refused[foreign.path] = error
            settings = {"message": str(error), "stands_for": layer["class_name"]}
            _replace(layer, "Unrun", settings)
    known = [name_of(f.layer) for f in found if f.cause is f.layer]
    for name in lambdas:
        if name not in known:
            raise ModelError(
                f"A formula is given for {name!r}, which is no layer that needs one.",
                expected=f"one of: {', '.join(known)}" if known else "a model with Lambda layers",
                exit_code=2,
                layer=name,
            )
    return refused, notes


def _replace(layer: Config, class_name: str, settings: Mapping[str, Any]) -> None:
    inner = layer["config"] if isinstance(layer["config"], dict) else {}
    kept = {key: inner[key] for key in ("batch_input_shape", "dtype") if inner.get(key) is not None}
    if not isinstance(kept.get("dtype", ""), str):
        del kept["dtype"]
    layer["class_name"] = class_name
    layer["config"] = {"name": name_of(layer), **kept, **settings}
    layer |= {"module": PACKAGE, "registered_name": f"{PACKAGE}>{class_name}"}
