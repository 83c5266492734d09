"""Engines of other packages, written as pip would install them: a module and a *.dist-info."""

from __future__ import annotations

# On JAX in all but name; what it is told is kept in a file.
WORKING = """
import os
from layerprobe.backend import jax as _jax
from layerprobe.errors import BackendError

globals().update({name: value for name, value in vars(_jax).items() if name[0] != "_"})
KERAS_BACKEND = "jax"
PACKAGE = "jaxlib"
CAPABILITIES = frozenset({"strings", "gradients"})

def _heard(text):
    if "HEARD" in os.environ:
        with open(os.environ["HEARD"], "a") as file:
            file.write(text + "\\n")

def set_threads(count):
    _heard(f"threads {count}")

def prepare(device):
    _heard(f"device {device}")
    if device not in ("auto", "cpu", "gpu", "gpu:0", "gpu:1"):
        raise BackendError(f"There is no {device}.")
    return "cpu" if device == "auto" else device

def compile(*given, **named):
    import keras
    _heard(f"keras on {keras.config.backend()}")
    return _jax.compile(*given, **named)
"""


def install(folder, engine, code, *, distribution="", version="1.0", module=""):
    """Put a distribution with one engine into a folder; return the name of its module."""
    distribution = distribution or f"{engine}-engine"
    module = module or f"{distribution.replace('-', '_')}_module"
    folder.mkdir(exist_ok=True)
    (folder / f"{module}.py").write_text(code)
    info = folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n"
    )
    (info / "entry_points.txt").write_text(f"[layerprobe.backends]\n{engine} = {module}\n")
    return module
