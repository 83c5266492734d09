"""layerprobe: saved neural-network models into activations on disk.

Importing this package loads no framework; what needs one loads it when it is first used.

Example:
    >>> import layerprobe
    >>> model = layerprobe.list_layers("samples/digits_cnn.keras")
    >>> [row.address for row in model.table][:2]
    ['images', 'conv1']
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from layerprobe.errors import (
    BackendError,
    DataError,
    LayerNotFound,
    LayerprobeError,
    ModelError,
    OutputError,
    TrustError,
)
from layerprobe.layers import LayerOutput, LayerTable, TensorSpec

if TYPE_CHECKING:
    from layerprobe import backend
    from layerprobe.api import convert, list_backends, list_layers, load, train
    from layerprobe.backend.survey import EngineReport
    from layerprobe.dump import Dump, open_dump
    from layerprobe.dump.state import show
    from layerprobe.dump.verify import verify
    from layerprobe.extraction import extract, extract_passes, resume
    from layerprobe.merging import merge
    from layerprobe.modelfile import ModelFile
    from layerprobe.modelfile.audit.findings import Audit
    from layerprobe.modelfile.verdicts import audit
    from layerprobe.recomputing import recompute
    from layerprobe.report import Report
    from layerprobe.training import TrainingReport

__version__ = "0.1.0"
__all__ = [
    "Audit",
    "BackendError",
    "DataError",
    "Dump",
    "EngineReport",
    "LayerNotFound",
    "LayerOutput",
    "LayerTable",
    "LayerprobeError",
    "ModelError",
    "ModelFile",
    "OutputError",
    "Report",
    "TensorSpec",
    "TrainingReport",
    "TrustError",
    "audit",
    "backend",
    "convert",
    "extract",
    "extract_passes",
    "list_backends",
    "list_layers",
    "load",
    "merge",
    "open_dump",
    "recompute",
    "resume",
    "show",
    "train",
    "verify",
]

_LAZY = {
    "Audit": "layerprobe.modelfile.audit.findings",
    "Dump": "layerprobe.dump",
    "EngineReport": "layerprobe.backend.survey",
    "ModelFile": "layerprobe.modelfile",
    "Report": "layerprobe.report",
    "TrainingReport": "layerprobe.training",
    "audit": "layerprobe.modelfile.verdicts",
    "convert": "layerprobe.api",
    "extract": "layerprobe.extraction",
    "extract_passes": "layerprobe.extraction",
    "list_backends": "layerprobe.api",
    "list_layers": "layerprobe.api",
    "load": "layerprobe.api",
    "merge": "layerprobe.merging",
    "open_dump": "layerprobe.dump",
    "recompute": "layerprobe.recomputing",
    "resume": "layerprobe.extraction",
    "show": "layerprobe.dump.state",
    "train": "layerprobe.api",
    "verify": "layerprobe.dump.verify",
}


def __getattr__(name: str) -> Any:
    if name == "backend":
        return importlib.import_module("layerprobe.backend")
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
