"""What became of a model in plain words: its origin, what was changed, what cannot be computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from layerprobe.errors import LayerprobeError
from layerprobe.modelfile.upgrade import upgrade

if TYPE_CHECKING:
    from layerprobe.modelfile import ModelFile

_ERAS = {1: "Keras 1 (2016 to 2017)", 2: "Keras 2 (2017 to 2023)", 3: "Keras 3 (since 2023)"}


@dataclass(frozen=True)
class Diagnosis:
    """What can be said of a model file without an engine.

    Attributes:
        origin: What made the file.
        notes: What is done to compute what the original computed.
        refused: Why nothing can be computed; empty if something can.
        unrun: For layers that cannot be computed: why, and what to do.
        computed: How many layer outputs can be computed.
        total: How many there are.
    """

    origin: str
    notes: tuple[str, ...]
    refused: str
    unrun: dict[str, str]
    computed: int
    total: int

    def lines(self) -> list[str]:
        """Return the diagnosis as text."""
        found = [
            self.origin,
            f"layer outputs: {self.total}, of which {self.computed} can be computed",
        ]
        found += [f"changed: {note}" for note in self.notes] or ["changed: nothing"]
        found += [f"missing: {text}" for text in self.unrun.values()]
        return [*found, f"refused: {self.refused}"] if self.refused else found

    def to_json(self) -> dict[str, object]:
        """Return what `doctor --json` prints."""
        return {
            "origin": self.origin,
            "notes": list(self.notes),
            "refused": self.refused or None,
            "missing": self.unrun,
            "computed": self.computed,
            "layer_outputs": self.total,
        }


def diagnose(file: ModelFile) -> Diagnosis:
    """Return what becomes of a model file."""
    contents, rows = file.contents, file.table.rows
    era = _ERAS.get(1 if contents.keras1 else contents.major_version or 0, "an unknown Keras")
    version = f", version {contents.keras_version}" if contents.keras_version else ""
    engine = f", on {contents.backend}" if contents.backend else ""
    origin = f"made by {era}{version}{engine}; {file.format} file"
    total = len(rows)
    if contents.weights is None:
        refused = f"{file.path} holds no weights. " + (
            "Get the whole folder again from where it came from, with its variables."
            if file.format == "saved_model"
            else "Give the file of weights as the model, and this one as --architecture."
        )
        return Diagnosis(origin, contents.notes, refused, {}, 0, total)
    try:
        upgraded = upgrade(contents)
    except LayerprobeError as error:
        return Diagnosis(origin, contents.notes, str(error), {}, 0, total)
    missing = {"/".join(path): str(error) for path, error in upgraded.unrun.items()}
    closed = [row for row in rows if tuple(name for name, _ in row.path) in upgraded.unrun]
    lost = {row.address for row in closed}
    count = total
    if lost:
        needed = ({one.address for one in file.table.needed([row])} for row in rows)
        count = sum(lost.isdisjoint(addresses) for addresses in needed)
    return Diagnosis(origin, upgraded.notes, "", missing, count, total)
