"""Classes of layers from a Python file that the user gives: their own code, run on their word."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import keras

from layerprobe.errors import ModelError


def classes_in(path: Path) -> dict[str, Any]:
    """Run a Python file and return the layers, models and functions that it defines, by name.

    Raises:
        ModelError: There is no such file, or it fails.
    """
    spec = importlib.util.spec_from_file_location("layerprobe_custom_objects", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ModelError(
            f"There is no Python file {path}.",
            expected="a file of your own that defines the model's classes",
            exit_code=66,
            path=str(path),
        )
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickles look it up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ModelError(
            f"{path} fails: {type(error).__name__}: {error}.", path=str(path)
        ) from error
    return {
        name: value
        for name, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", None) == module.__name__
    } | {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, keras.Layer) and not name.startswith("_")
    }
