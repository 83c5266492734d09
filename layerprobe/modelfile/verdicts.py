"""The audit of any file or folder, models and what only looks like one.

Models are judged by opening their description, which runs nothing; the rest by its bytes.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from layerprobe.errors import LayerprobeError
from layerprobe.modelfile import describe, open_model
from layerprobe.modelfile.audit.archives import archive_findings, contents_finding
from layerprobe.modelfile.audit.arrays import HEAD, holds_pickle, npz_findings
from layerprobe.modelfile.audit.findings import Audit, Finding, findings_of, short
from layerprobe.modelfile.audit.folders import folder_findings
from layerprobe.modelfile.audit.graphs import graph_findings, graph_of
from layerprobe.modelfile.audit.objects import config_findings
from layerprobe.modelfile.digest import digest
from layerprobe.modelfile.jsontext import MAX_CONFIG_BYTES, parse_json
from layerprobe.modelfile.kinds import early_findings, kind_of, refuse_remote
from layerprobe.modelfile.saved_model import GRAPH

_SUFFIXES = frozenset(
    """
    .h5 .hdf5 .keras .pb .pkl .pickle .pt .pth .joblib .npz .npy .yaml .yml .json
    """.split()
)
_MANIFEST = "config.json"
_MOST_GRAPH = 4 * MAX_CONFIG_BYTES


def audit_all(paths: Sequence[Path]) -> Iterator[Audit]:
    """Judge files, and all that may be models in folders.

    Raises:
        ModelError: A path is not there, or not on this machine.
    """
    for path in paths:
        refuse_remote(path)
        if path.is_dir() and not _is_model_folder(path):
            for found in models_in(path):
                yield _link(found) if found.is_symlink() else audit(found)
        else:
            yield audit(path)


def _link(path: Path) -> Audit:
    what = f"it is a link to {short(path.readlink())!r}"
    return Audit(path, "link", (Finding("folder-link", "", what),))


def models_in(folder: Path) -> Iterator[Path]:
    """Yield the files and folders below a folder that may be models, in order.

    Links are yielded but not followed; folders of version control are left out.
    """
    if _is_model_folder(folder):
        yield folder
        return
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            if entry.name != ".git":
                yield from models_in(entry)
        elif entry.suffix in _SUFFIXES if entry.is_symlink() else _may_be_model(entry):
            yield entry


def audit(path: str | Path) -> Audit:
    """Judge a file or folder before anything opens it as a model.

    Nothing in it is run, and nothing that it names is opened. The verdict is no proof that a file
    is harmless: what is known to be dangerous is found, what is not known to be harmless is told.

    Args:
        path: Any file, or the folder of a model: HDF5, a .keras archive, a SavedModel, an
            architecture in JSON or YAML, a frozen graph, arrays, a pickle, or none of them.

    Returns:
        Its `verdict` ("ok", "needs trust" or "refuse") and its `findings`, each with a rule, a
        place and what to do.

    Raises:
        ModelError: The path is not there, or not on this machine.

    Example:
        >>> audit("samples/digits_cnn.keras").verdict
        'ok'
    """
    given = Path(path)
    refuse_remote(given)
    if not given.exists() and not given.is_symlink():
        open_model(given)  # which says so, with the nearest names
    return _judged(given)


def _judged(path: Path) -> Audit:
    first = Audit(path, "unknown", digest=lambda: digest(path))
    try:
        if path.is_symlink() and not path.exists():
            return first.with_more([Finding("folder-link", "", "it is a link to nothing")])
        kind = kind_of(path)
        first = Audit(path, kind or "unknown", digest=first.digest)
        if kind in _MODELS:
            return describe(path).audit
        return first.with_more(list(_OTHERS.get(kind, _unknown)(path)))
    except LayerprobeError as error:
        return first.with_more(_told(error, path, kind))
    except _DAMAGE as error:
        what = f"it cannot be read: {short(error)}"
        return first.with_more([Finding("damaged", "", what)])


def _told(error: LayerprobeError, path: Path, kind: str) -> list[Finding]:
    """Return the findings that an error is about.

    An error with an empty rule says that a file is no whole model but nothing is wrong with it:
    weights alone, or graphs without layers. What was found in its bytes is all there is to find.
    """
    found = findings_of(error)
    return found if found or kind not in _MODELS else list(early_findings(path))


def _arrays(path: Path) -> Iterator[Finding]:
    with path.open("rb") as file:
        yield from npz_findings(file, "", path.stat().st_size)


def _archive(path: Path) -> Iterator[Finding]:
    with path.open("rb") as file:
        early = contents_finding(file)
        if early is not None:
            yield early
            return
        with zipfile.ZipFile(file) as archive:
            yield from archive_findings(file, archive)


def _unknown(path: Path) -> Iterator[Finding]:
    """Judge what is no model by its first bytes: a pickle, a frozen graph, junk."""
    if path.is_dir():
        yield from _folder(path)
        return
    if not path.is_file():
        yield Finding("not-a-model", "", "it is a pipe or a device")
        return
    with path.open("rb") as file:
        head = file.read(HEAD)
    if holds_pickle(head):
        yield Finding("pickle", "", "it is a pickle")
        return
    if path.suffix == ".pb":
        yield from _graph(path)
        return
    yield Finding("not-a-model", "", "it is empty" if not head else "it is of no known kind")


def _graph(path: Path) -> list[Finding]:
    if path.stat().st_size > _MOST_GRAPH:
        return [Finding("graph-bomb", "", f"it takes {path.stat().st_size:,} bytes")]
    graph = graph_of(path.read_bytes())
    if not graph.nodes:
        return [Finding("not-a-model", "", "it is no graph")]
    return graph_findings(graph)


def _folder(path: Path) -> Iterator[Finding]:
    """Judge the folder form of a .keras archive: the same files, unpacked."""
    found = folder_findings(path)
    yield from found
    if any(finding.rule.closed for finding in found):
        return
    config = path / _MANIFEST
    if config.is_file():
        with config.open("rb") as file:
            text = file.read(MAX_CONFIG_BYTES + 1)
        yield from config_findings(parse_json(text, config))
    for weights in path.glob("*.h5"):
        yield from early_findings(weights)


def _is_model_folder(path: Path) -> bool:
    config = path / _MANIFEST
    keras = config.is_file() and ((path / "metadata.json").exists() or any(path.glob("*.h5")))
    return (path / GRAPH).exists() or (path / GRAPH).is_symlink() or keras


def _may_be_model(path: Path) -> bool:
    """Tell whether a file of a folder is judged: by its content, or by what it calls itself.

    JSON and YAML are what all kinds of programs write; they are judged where they name classes.
    """
    if not path.is_file():  # a pipe would be waited on for ever
        return path.suffix in _SUFFIXES
    if path.suffix in {".json", ".yaml", ".yml", ".pb"}:
        with path.open("rb") as file:
            text = file.read(MAX_CONFIG_BYTES + 1)
        return path.suffix == ".pb" or b"class_name" in text
    try:
        return path.suffix in _SUFFIXES or bool(kind_of(path))
    except OSError:
        return True


_MODELS = frozenset({"hdf5", "keras", "saved_model", "architecture"})
_DAMAGE = (
    *(OSError, ValueError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError),
    *(KeyError, TypeError, IndexError, AttributeError, zlib.error, struct.error, MemoryError),
)
_OTHERS: dict[str, Callable[[Path], Iterable[Finding]]] = {"npy": _arrays, "npz": _archive}
