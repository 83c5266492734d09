"""Model files: from bytes to a description, without a framework and without running anything.

Kinds are told apart by content, never by extension: real files are often misnamed.
"""

from __future__ import annotations

import contextlib
import difflib
import stat
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

from layerprobe.errors import LayerprobeError, ModelError
from layerprobe.layers import LayerTable, TensorSpec
from layerprobe.modelfile import architecture as architectures
from layerprobe.modelfile import hdf5, keras_zip, saved_model
from layerprobe.modelfile.audit.findings import Audit, Finding, findings_of
from layerprobe.modelfile.audit.objects import config_findings, training_findings
from layerprobe.modelfile.audit.sizes import size_findings
from layerprobe.modelfile.configs import contradictions_named, has_graph, parse
from layerprobe.modelfile.contents import Contents
from layerprobe.modelfile.diagnosis import Diagnosis, diagnose
from layerprobe.modelfile.digest import Judged, digest, judged
from layerprobe.modelfile.graph import Graph
from layerprobe.modelfile.kinds import early_findings, refuse_remote
from layerprobe.modelfile.subclassed import graph_of_parts
from layerprobe.modelfile.table import Listing, listing
from layerprobe.modelfile.tokens import token_limit
from layerprobe.modelfile.unshaped import with_input_shape
from layerprobe.modelfile.upgrade.keras1 import translated

__all__ = ["ModelFile", "open_model"]


@dataclass(frozen=True)
class ModelFile:
    """A saved model, described from its bytes alone.

    Attributes:
        contents: The file taken apart: its config, and the sizes of its weights.
        early: What was found in it before it was read.
        judged: The files that it was read from, as they were before.

    Example:
        >>> import layerprobe
        >>> model = layerprobe.list_layers("samples/digits_cnn.keras")
        >>> model.format, model.inputs[0].shape
        ('keras', (None, 8, 8, 1))
    """

    contents: Contents
    early: tuple[Finding, ...] = ()
    judged: Judged = field(default=Judged(), repr=False, compare=False)

    @property
    def path(self) -> Path:
        """The file."""
        return self.contents.path

    @property
    def format(self) -> str:
        """The container: "hdf5", "keras", "saved_model", or "architecture", without weights."""
        return self.contents.format

    @property
    def keras_version(self) -> str | None:
        """The version of Keras that wrote the file, as far as it says."""
        return self.contents.keras_version

    @property
    def backend(self) -> str | None:
        """The engine the model was made on, as far as the file says."""
        return self.contents.backend

    @property
    def table(self) -> LayerTable:
        """All layer outputs, in the order of the listing."""
        return self._listing.table

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Name, shape and dtype of each input, in the model's order."""
        return self._listing.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Address, shape and dtype of each output, in the model's order."""
        return self._listing.outputs

    @property
    def params(self) -> int | None:
        """Number of weights of the whole model; None if the file holds no weights."""
        if self.contents.weights is None:
            return None
        return sum(self._params.get((name,)) or 0 for name in self.graph.layers)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the file, in hexadecimal; of a folder that of its files' names and hashes."""
        return digest(self.path)

    @cached_property
    def graph(self) -> Graph:
        """The layers and their calls, as the config lists them."""
        if not has_graph(self.contents.config):
            parts = graph_of_parts(self.contents)
            if parts is not None:
                return parts
        return parse(self.contents.config)

    @cached_property
    def _params(self) -> dict[tuple[str, ...], int | None]:
        weights = self.contents.weights
        return {} if weights is None else dict(weights.params(self.graph))

    @cached_property
    def _listing(self) -> Listing:
        return listing(self.graph, self._params)

    @cached_property
    def audit(self) -> Audit:
        """The static verdict: ok, needs trust or refuse, with reasons."""
        first = Audit(self.path, self.format, self.early, lambda: self.sha256)
        more = config_findings(self.contents.config)
        try:
            if self.format == "hdf5":
                more += training_findings(hdf5.training_config(self.path))
            if not any(finding.rule.closed for finding in more):
                more += size_findings(self.graph, self.table, self.params)
        except LayerprobeError as error:
            more += findings_of(error)
        return first.with_more(more)

    @cached_property
    def diagnosis(self) -> Diagnosis:
        """What made the file, what is changed to compute it, and what cannot be computed."""
        return diagnose(self)

    def token_limit(self, address: str) -> int | None:
        """Return how many different token numbers a tensor may hold, None if it holds none."""
        return token_limit(self.table, self.graph, address)

    def to_json(self, *, insides: bool = False, notes: bool = False) -> dict[str, object]:
        """Return what `list-layers --json` prints; insides and notes only if asked for."""

        def spec(tensor: TensorSpec, key: str) -> dict[str, object]:
            shape = None if tensor.shape is None else list(tensor.shape)
            return {key: tensor.name, "shape": shape, "dtype": tensor.dtype}

        listed: dict[str, object] = {
            "model": {
                "path": str(self.path),
                "sha256": self.sha256,
                "format": self.format,
                "keras_version": self.keras_version,
                "backend": self.backend,
                "inputs": [spec(tensor, "name") for tensor in self.inputs],
                "outputs": [spec(tensor, "address") for tensor in self.outputs],
                "params": self.params,
            },
            "layers": [row.to_json() for row in self.table],
            "audit": {
                "verdict": self.audit.verdict,
                "findings": [finding.to_json() for finding in self.audit.findings],
            },
        }
        if insides:
            rows = self.table.with_insides()
            listed["insides"] = [row.to_json() for row in rows if row.inside]
        if notes:
            listed["notes"] = self.diagnosis.to_json()
        return listed


def open_model(path: str | Path, architecture: str | Path | None = None) -> ModelFile:
    """Describe a saved model.

    Args:
        path: A model file: HDF5 (.h5, .hdf5), a .keras archive, the JSON or YAML of an
            architecture, whatever its name; or a SavedModel folder.
        architecture: Where the layers are described, if `path` holds weights alone: JSON, YAML, or
            another model file.

    Raises:
        ModelError: The file is missing, damaged, or not a model.
        TrustError: It reaches out of itself, by links or by sizes out of proportion.
    """
    model = describe(Path(path), architecture)
    model.audit.stop_if_closed()
    # Damage in the config is found here, so that whoever holds a ModelFile can rely on it.
    _ = model.table
    return model


def describe(path: Path, architecture: str | Path | None = None) -> ModelFile:
    """Take a model file apart, as `open_model`, without reading its graph yet.

    Raises:
        ModelError: The file is missing, damaged, or not a model.
        TrustError: It reaches out of itself, by links or by sizes out of proportion.
    """
    early: list[Finding] = []
    places = (path, *([] if architecture is None else [Path(architecture)]))
    before = judged(*places)
    for given in places:
        refuse_remote(given)
        early += early_findings(given)
        Audit(given, "", tuple(early), partial(digest, given)).stop_if_closed()
    contents = _contents(path, architecture)
    with contradictions_named():
        contents = with_input_shape(translated(contents))
    return ModelFile(contents, tuple(early), before)


def _contents(path: Path, architecture: str | Path | None) -> Contents:
    described = None if architecture is None else _contents(Path(architecture), None)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode) and saved_model.is_saved_model(path):
            return saved_model.read(path)
        _check_kind(path, mode)
        with path.open("rb") as file:
            head = file.read(8)
    except FileNotFoundError as error:
        raise _missing(path) from error
    except OSError as error:
        raise ModelError(
            f"{path} cannot be read: {error.strerror}.", exit_code=66, path=str(path)
        ) from error
    if head.startswith(hdf5.SIGNATURE):
        return hdf5.read(path, described)
    if described is not None:
        raise ModelError(
            f"{path} is no HDF5 file of weights.",
            expected="weights alone, for an architecture",
            fix="Leave out --architecture.",
            path=str(path),
        )
    if head.startswith(keras_zip.SIGNATURE):
        return keras_zip.read(path)
    if architectures.is_architecture(head):
        return architectures.read(path)
    raise _not_a_model(path, head)


def _check_kind(path: Path, mode: int) -> None:
    """Refuse what is no file; a pipe would be waited on for ever."""
    if stat.S_ISREG(mode):
        return
    fix = "It has no saved_model.pb; save the model with model.save('model.keras')."
    raise ModelError(
        f"{path} is {'a folder' if stat.S_ISDIR(mode) else 'a pipe or a device'}.",
        expected="a model file (.h5, .hdf5 or .keras), or a SavedModel folder",
        rule="not-a-model",
        fix=fix if stat.S_ISDIR(mode) else "",
        path=str(path),
    )


def _missing(path: Path) -> ModelError:
    folder = path.parent
    names = []
    with contextlib.suppress(OSError):
        names = sorted(p.name for p in folder.iterdir())
    near = difflib.get_close_matches(path.name, names, 3, cutoff=0.6)
    return ModelError(
        f"There is no file {path}.",
        fix=f"Did you mean {' or '.join(str(folder / name) for name in near)}?" if near else "",
        exit_code=66,
        path=str(path),
        candidates=near,
    )


def _not_a_model(path: Path, head: bytes) -> ModelError:
    fix = "Is it the right file?"
    if not head:
        what = "is empty"
    elif head.startswith(b"version "):
        what = "is a Git LFS pointer, not the file itself"
        fix = "Get the file with: git lfs pull"
    elif head.startswith(b"\x93NUMPY"):
        what = "is a NumPy array, not a model"
        fix = "Rows of data go to --input."
    else:
        what = "is neither an HDF5 file nor a .keras archive"
    return ModelError(
        f"{path} {what}.",
        expected="a model file (.h5, .hdf5 or .keras)",
        fix=fix,
        rule="not-a-model",
        path=str(path),
    )
