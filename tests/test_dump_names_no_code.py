"""What a dump names is data: code in a file of classes runs only if the user names it too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command import sample_folder, shell, typed

import layerprobe
from layerprobe.errors import TrustError

CODE = "import pathlib\npathlib.Path('marker').touch()\n"


@pytest.fixture(autouse=True)
def _folder(samples, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sample_folder(samples)
    Path("code.py").write_text(CODE)


def test_a_manifest_that_names_code(capfd):
    """`verify --recompute` runs it if the user names it, and not otherwise."""
    layerprobe.extract("cnn.keras", "features", "digits.npy", "out", quiet=True)
    path = Path("out/manifest.json")
    assert '"custom_objects": null' in path.read_text()
    named = path.read_text().replace('"custom_objects": null', '"custom_objects": "code.py"')
    path.write_text(named)
    for said in ([], ["--custom-objects", "other.py"]):
        done = typed(capfd, "verify", "out", "--recompute", 2, *said)
        assert done.code == 77
        assert "add: --custom-objects code.py" in done.stderr
        assert not Path("marker").exists()
    assert typed(capfd, "verify", "out").code == 0
    assert typed(capfd, "verify", "out", "--recompute", 2, "--custom-objects", "code.py").code == 0
    assert Path("marker").exists()


def test_a_journal_that_names_code(tmp_path):
    """So does `resume`."""

    def interrupt(done, _):
        if done >= 32:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        layerprobe.extract(
            "cnn.keras", "features", "digits.npy", "out.h5",
            custom_objects="code.py", progress=interrupt, quiet=True,
        )  # fmt: skip
    Path("marker").unlink()
    with pytest.raises(TrustError, match="a dump names is not run") as refused:
        layerprobe.resume("out.h5", quiet=True)
    assert f"--custom-objects {tmp_path / 'code.py'}" in str(refused.value)
    assert not Path("marker").exists()
    done = layerprobe.resume("out.h5", custom_objects=tmp_path / "code.py", quiet=True)
    assert (done.rows, Path("marker").exists()) == (600, True)


def test_rows_from_standard_input_cannot_be_computed_anew(capfd):
    """The message says so, and what can be checked."""
    layerprobe.extract("cnn.keras", "features", "digits.npy", "out", quiet=True)
    path = Path("out/manifest.json")
    path.write_text(path.read_text().replace('"digits.npy"', '"-"'))
    done = typed(capfd, "verify", "out", "--recompute", 2)
    assert done.code == 65
    assert "came from standard input" in done.stderr


def test_the_files_of_a_pattern_are_read_where_the_process_is_confined(tmp_path):
    """The kernel lets a confined process read the folder that the pattern begins in."""
    Path("parts").mkdir()
    for name in "ba":
        np.save(f"parts/{name}.npy", np.load("digits.npy")[:3] * (name == "b"))
    Path("out").mkdir()
    done = shell(
        "extract", "cnn.keras", "-l", "images", "-i", "parts/*.npy", "-o", "out/o.h5", cwd=tmp_path
    )
    assert done.code == 0, done.stderr
    with layerprobe.open_dump("out/o.h5") as dump:
        rows = np.asarray(dump["images"])
    assert not rows[:3].any()
    np.testing.assert_array_equal(rows[3:], np.load("digits.npy")[:3])
