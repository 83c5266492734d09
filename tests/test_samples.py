"""The samples: every layer of every model on every engine by another road, every script run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recompute import numpy_digits_cnn, recompute

import layerprobe

ROOT = Path(__file__).resolve().parents[1]
FILES = ["digits_cnn.h5", "digits_cnn.keras", "places_lstm.keras", "digits_pairs.keras"]
SCRIPTS = sorted((ROOT / "samples").glob("[!m]*.py")) + sorted((ROOT / "samples").glob("*.sh"))


def inputs(file: str, rows: int) -> dict[str, Any]:
    """Return the first rows of a sample model's data by input name."""
    data = ROOT / "samples" / "data"
    if file.startswith("digits_cnn"):
        return {"images": np.load(data / "digits.npy")[:rows]}
    if file.startswith("places"):
        return {"letters": np.load(data / "places.npy")[:rows]}
    with np.load(data / "pairs.npz") as pairs:
        return {name: pairs[name][:rows] for name in ("left", "right")}


@pytest.mark.engine
@pytest.mark.parametrize("file", FILES)
def test_every_layer_equals_its_recomputation(tmp_path: Path, samples: Path, file: str) -> None:
    """All layers dumped in odd batches, a partial one last, equal eager calls of the layers."""
    given = inputs(file, 43)
    report = layerprobe.extract(samples / file, "all", given, tmp_path / "dump.h5", batch_size=10)
    live = layerprobe.load(samples / file).keras
    expected = recompute(file.partition(".")[0], live, given)
    with layerprobe.open_dump(report.path) as dump:
        assert dump.addresses == tuple(expected)
        for address, value in expected.items():
            found = np.asarray(dump[address])
            assert (found.shape, found.dtype) == (value.shape, value.dtype)
            scale = max(1.0, float(np.abs(value).max()))
            np.testing.assert_allclose(found, value, rtol=0, atol=1e-6 * scale, err_msg=address)


@pytest.mark.engine
def test_the_cnn_equals_plain_numpy(tmp_path: Path, samples: Path) -> None:
    """The CNN's layers equal a forward pass written in NumPy on weights read with h5py."""
    given = inputs("digits_cnn", 20)
    report = layerprobe.extract(samples / "digits_cnn.h5", "all", given, tmp_path / "dump")
    with layerprobe.open_dump(report.path) as dump:
        for address, value in numpy_digits_cnn(samples / "digits_cnn.h5", given["images"]).items():
            np.testing.assert_allclose(dump[address], value, rtol=1e-4, atol=1e-5, err_msg=address)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_the_script_runs(tmp_path: Path, script: Path) -> None:
    """Each sample script ends well from any folder, and writes only where it is told to."""
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, line in (("layerprobe", "-m layerprobe"), ("python", "")):
        shim = commands / name
        shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" {line} "$@"\n')
        shim.chmod(0o755)
    before = {path: path.stat().st_mtime_ns for path in (ROOT / "samples").rglob("*.*")}
    runner = ["bash"] if script.suffix == ".sh" else [sys.executable]
    path = os.pathsep.join([str(commands), os.environ["PATH"]])
    subprocess.run(
        [*runner, str(script), str(tmp_path / "out")],
        cwd=tmp_path,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        check=True,
        timeout=300,
    )
    after = {path: path.stat().st_mtime_ns for path in (ROOT / "samples").rglob("*.*")}
    assert after == before
