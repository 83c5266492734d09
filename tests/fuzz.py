"""Fuzzing led by coverage: `make fuzz`, or `python tests/fuzz.py -max_total_time=60`.

Every input is judged and listed as a file of some kind, told by its first byte. What raises
anything but an error of layerprobe's, or takes longer than ten seconds, is a find; its input is
kept.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]
with atheris.instrument_imports(include=["layerprobe"]):
    import layerprobe
    from layerprobe.modelfile import verdicts  # noqa: F401 - so that it is instrumented

_NAMES = ("m.keras", "m.h5", "m.pb", "m.npy", "m.json", "m.npz", "m/saved_model.pb")
FOLDER = Path(tempfile.mkdtemp())


def judge(data: bytes) -> None:
    """Audit and list one input."""
    if not data:
        return
    path = FOLDER / _NAMES[data[0] % len(_NAMES)]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data[1:])
    given = path.parent if path.name == "saved_model.pb" else path
    found = layerprobe.audit(given)
    try:
        layerprobe.list_layers(given)
    except layerprobe.LayerprobeError:
        return
    # What can be listed is at least no attack on who reads it.
    assert not any(finding.rule.closed for finding in found.findings)


def seeds() -> Path:
    """Write sound files of every kind to start from."""
    from test_fuzz import KINDS

    folder = FOLDER / "seeds"
    folder.mkdir()
    places = {".keras": 0, ".h5": 1, ".pb": 2, ".npy": 3, "saved_model.pb": 6}
    for kind, data in KINDS.items():
        (folder / kind.strip(".")).write_bytes(bytes([places[kind]]) + data)
    return folder


if __name__ == "__main__":
    atheris.Setup([*sys.argv, "-timeout=10", "-rss_limit_mb=512", str(seeds())], judge)
    atheris.Fuzz()
