"""One contender on all files from a number on: prints a line of JSON for each.

    python -m benchmarks.corpus.contender layerprobe|keras|tf_keras FIRST

A line holds the file's name, the stage it came to (`refused`, `opened`, `ran`; `part` where
layers that depend on code are left out), whether the values
are right (null where they are not known), and the reason of a refusal. Nothing that a file brings
along is run: Keras loads in safe mode, where tf_keras ignores that its own loader of functions is
taken out, and SavedModel folders, whose graphs would run, are not given to it.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.corpus.truth import Array, Item, items

Run = Callable[[list[Array]], dict[str, Array]]


def main() -> None:
    """Try all files."""
    opener = {"layerprobe": _layerprobe, "keras": _keras, "tf_keras": _tf_keras}[sys.argv[1]]
    for item in itertools.islice(items(), int(sys.argv[2]), None):
        print(json.dumps({"name": item.name, **_tried(item, opener)}), flush=True)


def _tried(item: Item, opener: Callable[[Item], Run]) -> dict[str, Any]:
    stage = "refused"
    try:
        run = opener(item)
        stage = "opened"
        found = run(item.inputs())
    except Exception as error:  # noqa: BLE001 - whatever a contender raises is its answer
        reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        return {"stage": stage, "right": None, "reason": reason[:300]}
    stage = "part" if getattr(run, "part", False) else "ran"
    return {"stage": stage, "right": item.agrees(found), "reason": ""}


def _layerprobe(item: Item) -> Run:
    import layerprobe
    from layerprobe.addresses import quote

    model = layerprobe.load(item.path, architecture=item.architecture)
    unrun = set(model.unrun)
    addresses = [
        row.address
        for row in model.table
        if not any(tuple(n for n, _ in o.path) in unrun for o in model.table.needed([row]))
    ]

    def run(arrays: list[Array]) -> dict[str, Array]:
        function = layerprobe.backend.function(model.inputs, addresses)
        found = dict(zip(addresses, function(arrays), strict=True))
        names = [*item.oracle, *addresses]
        return {name: found[quote(name)] for name in names if quote(name) in found} | found

    run.part = bool(unrun)  # type: ignore[attr-defined]
    return run


def _keras(item: Item) -> Run:
    import keras

    return _of_model(keras, keras.models.load_model(item.path, compile=False, safe_mode=True))


def _tf_keras(item: Item) -> Run:
    import tf_keras
    from tf_keras.src.layers.core import lambda_layer
    from tf_keras.src.utils import generic_utils

    def refuse(*_: Any, **__: Any) -> Any:
        raise ValueError("This file holds code.")

    generic_utils.func_load = lambda_layer.generic_utils.func_load = refuse
    if item.path.is_dir():
        raise ValueError("Not tried: the folder's graph would run.")
    return _of_model(tf_keras, tf_keras.models.load_model(item.path, compile=False))


def _of_model(keras: Any, model: Any) -> Run:
    def run(arrays: list[Array]) -> dict[str, Array]:
        first = [
            layer.get_output_at(0) if hasattr(layer, "get_output_at") else layer.output
            for layer in model.layers
        ]
        values = keras.Model(model.inputs, first)(arrays, training=False)
        listed = values if isinstance(values, (list, tuple)) else [values]
        names = [layer.name for layer in model.layers]
        return {name: np.asarray(one) for name, one in zip(names, listed, strict=True)}

    return run


if __name__ == "__main__":
    main()
