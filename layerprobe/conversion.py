"""Old models as files of Keras 3: written, loaded again by plain Keras, and compared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from layerprobe.backend import engine as engines
from layerprobe.errors import ModelError
from layerprobe.live import build, reading_of
from layerprobe.modelfile import open_model
from layerprobe.options import Options
from layerprobe.sinks import check_model_target, write_model
from layerprobe.synthetic import synthetic_rows

if TYPE_CHECKING:
    from layerprobe.backend.model import Model

_ROWS = 4
_TOLERANCE = 1e-5


@dataclass(frozen=True)
class Conversion:
    """What was written, and how near it is to the original.

    Attributes:
        path: The new file.
        notes: What was changed to compute what the original computed.
        compared: How many layer outputs were compared.
        error: The largest difference, of the output's largest value or of 1.
    """

    path: Path
    notes: tuple[str, ...]
    compared: int
    error: float


def convert(model: str | Path, output: str | Path, options: Options) -> Conversion:
    """Write an old model as a file of Keras 3; see `layerprobe.convert`."""
    file = open_model(model, options.architecture)
    target = Path(output)
    check_model_target(target, overwrite=options.overwrite)
    selected = engines.select(options.backend, device=options.device, quiet=options.quiet)
    built = build(file, selected, reading_of(options), options.custom_objects)
    if built.unrun:
        raise next(iter(built.unrun.values()))
    from layerprobe.backend.compat import save_archive

    made = built.plain()
    limits = {spec.name: file.token_limit(spec.name) for spec in file.inputs}
    rows = synthetic_rows(file.inputs, {k: v for k, v in limits.items() if v is not None}, _ROWS)
    found = Conversion(target, built.notes, 0, 0.0)

    def write(handle: Any) -> None:
        nonlocal found
        save_archive(made, handle)
        handle.flush()
        compared, error = _compared(built, Path(handle.name), [rows[s.name] for s in file.inputs])
        if not error <= _TOLERANCE:
            raise ModelError(
                f"The converted model differs from {file.path} by {error:.1e} of its values.",
                expected=f"at most {_TOLERANCE:.0e}",
                fix="Please report it; layerprobe extract computes the old file.",
            )
        found = Conversion(target, built.notes, compared, error)

    write_model(target, write, overwrite=options.overwrite)
    return found


def _compared(built: Model, path: Path, rows: list[np.ndarray[Any, Any]]) -> tuple[int, float]:
    """Return how many layer outputs the new file shares with the model, and their error."""
    from layerprobe.backend import function
    from layerprobe.backend.compat import load_archive, named_outputs

    with path.open("rb") as file:
        other = load_archive(file)
    theirs = named_outputs(other)
    shared = [
        row.address
        for row in built.table
        if len(row.path) == 1 and row.path[0][1] == 0 and (row.name, row.output) in theirs
    ]
    places = [theirs[built.table.find(a).name, built.table.find(a).output] for a in shared]
    ours = function(built.inputs, shared)(rows)
    again = function(other.inputs, places)(rows)
    worst = 0.0
    for one, two in zip(ours, again, strict=True):
        scale = max(1.0, float(np.abs(one).max(initial=0)))
        worst = max(worst, float(np.abs(one - two).max(initial=0)) / scale)
    return len(shared), worst
