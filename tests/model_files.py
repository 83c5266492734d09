"""Model files written by hand with h5py, zipfile and json alone: no Keras, no layerprobe.

Sound ones to read, and the pieces that unsound ones are made of. The weights of a Dense layer of 3
inputs and 2 units are 8 numbers.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Config = dict[str, Any]

INPUT: Config = {
    "class_name": "InputLayer",
    "config": {"name": "rows", "batch_shape": [None, 3], "dtype": "float32"},
}
KERNEL, BIAS = np.arange(6, dtype="float32").reshape(3, 2), np.ones(2, "float32")


def dense(name: str = "dense", **config: Any) -> Config:
    """Return a Dense layer of two units, as Keras serializes it."""
    return {"class_name": "Dense", "config": {"name": name, "units": 2, "trainable": True} | config}


def sequential(*layers: Config, name: str = "small") -> Config:
    """Return a Sequential of Keras 3; by default an input of three numbers and a Dense."""
    return {
        "class_name": "Sequential",
        "config": {"name": name, "layers": list(layers) or [INPUT, dense()]},
    }


def tensor(layer: str, call: int = 0, output: int = 0, shape: tuple[int | None, ...] = (None, 3)):
    """Return a tensor as Keras 3 serializes the arguments of a call."""
    config = {"shape": list(shape), "dtype": "float32", "keras_history": [layer, call, output]}
    return {"class_name": "__keras_tensor__", "config": config}


def called(layer: Config, *calls: Config | list[Config]) -> Config:
    """Return a layer of a Functional model with its calls, each on one tensor or a list of them."""
    nodes = [{"args": [argument], "kwargs": {}} for argument in calls]
    return layer | {"name": layer["config"]["name"], "inbound_nodes": nodes}


def functional(*layers: Config, outputs: list[Any], name: str = "small") -> Config:
    """Return a Functional model of Keras 3 on the input `rows`."""
    return {
        "class_name": "Functional",
        "config": {
            "name": name,
            "layers": [called(INPUT), *layers],
            "input_layers": [["rows", 0, 0]],
            "output_layers": outputs,
        },
    }


def runnable(config: Any) -> Any:
    """Return a config with the modules of all classes, which Keras asks for when it builds one."""
    if isinstance(config, list):
        return [runnable(part) for part in config]
    if not isinstance(config, dict):
        return config
    found = {key: runnable(value) for key, value in config.items()}
    name = found.get("class_name", "__keras_tensor__")
    if name != "__keras_tensor__":
        inner = name == "Functional"
        module = "keras" if name == "Sequential" else "keras.layers"
        found |= {"module": "keras.src.models.functional" if inner else module}
        found |= {"registered_name": name if inner else None}
    return found


def merge(name):
    """Return a layer that adds its inputs."""
    return {"class_name": "Add", "config": {"name": name, "trainable": True}}


OLD_INPUT = {
    "class_name": "InputLayer",
    "name": "rows",
    "config": {"name": "rows", "batch_input_shape": [None, 3], "dtype": "float32"},
    "inbound_nodes": [],
}


def old(layer, *nodes):
    """Return a layer with its calls as Keras 1 and 2 wrote them."""
    return layer | {"name": layer["config"]["name"], "inbound_nodes": list(nodes)}


def old_model(*layers, outputs, name="old", class_name="Model"):
    """Return a functional model of Keras 2 on the input `rows`."""
    inner = {"name": name, "layers": [OLD_INPUT, *layers]}
    ends = {"input_layers": [["rows", 0, 0]], "output_layers": outputs}
    return {"class_name": class_name, "config": inner | ends}


def write_h5(
    path: Path,
    config: Any,
    weights: Mapping[str, np.ndarray] | None = None,
    **attributes: Any,
) -> Path:
    """Write a model as `model.save("….h5")` lays it out; weights by LAYER/NAME."""
    given = {"dense/dense/kernel": KERNEL, "dense/dense/bias": BIAS} if weights is None else weights
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = config if isinstance(config, str) else json.dumps(config)
        for name, value in ({"keras_version": "3.15.1", "backend": "jax"} | attributes).items():
            if value is not None:
                file.attrs[name] = value
        group = file.create_group("model_weights")
        layers = sorted({name.partition("/")[0] for name in given})
        group.attrs["layer_names"] = np.array([layer.encode() for layer in layers], "S")
        for name, array in given.items():
            group[name] = array
        for layer in layers:
            own = [n.removeprefix(f"{layer}/") for n in given if n.startswith(f"{layer}/")]
            group[layer].attrs["weight_names"] = np.array([name.encode() for name in own], "S")
    return path


def weights_file(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return the bytes of a weights file of Keras 3."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return buffer.getvalue()


WEIGHTS = {"layers/dense/vars/0": KERNEL, "layers/dense/vars/1": BIAS}


def write_keras(
    path: Path,
    config: Any,
    weights: Mapping[str, np.ndarray] | None = None,
    *,
    metadata: Any = None,
    compression: int = zipfile.ZIP_STORED,
    **members: bytes,
) -> Path:
    """Write a model as `model.save("….keras")` lays it out; weights by path in the weights file.

    Members given by name (with "." as "_") replace those that belong there; empty ones are left
    out.
    """
    made = {"keras_version": "3.15.1", "date_saved": "2026-01-01@00:00:00"}
    files = {
        "metadata.json": json.dumps(made if metadata is None else metadata).encode(),
        "config.json": config if isinstance(config, bytes) else json.dumps(config).encode(),
        "model.weights.h5": weights_file(WEIGHTS if weights is None else weights),
    }
    files |= {name.replace("_", "."): content for name, content in members.items()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            if content:
                archive.writestr(name, content)
    return path
