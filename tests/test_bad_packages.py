"""Packages that are missing or too old, each through the command: row 57 of the table."""

from __future__ import annotations

import re

import pytest
from command import checked, content, sample_folder, shell

OUT = ["-o", "out.h5"]


@pytest.fixture(autouse=True)
def _folder(samples, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sample_folder(samples)


def test_without_tensorflow(tmp_path):
    """57: models are listed all the same, and extract says what to install."""
    shim = tmp_path / "shim"
    shim.mkdir()
    (shim / "sitecustomize.py").write_text(
        "import importlib.util, sys\n"
        "find_spec = importlib.util.find_spec\n"
        "sys.modules['tensorflow'] = None\n"
        "importlib.util.find_spec = lambda name, package=None: (\n"
        "    None if name == 'tensorflow' else find_spec(name, package))\n"
    )
    environment = {"PYTHONPATH": str(shim), "LAYERPROBE_BACKEND": "tensorflow"}
    assert shell("list-layers", "cnn.h5", cwd=tmp_path, **environment).code == 0
    before = content()
    done = shell("extract", "cnn.h5", "-l", "3", *OUT, cwd=tmp_path, **environment)
    message = checked(done, 70, before)
    assert "The engine 'tensorflow' is not installed." in message
    assert "pip install" in message


_COMMANDS = ("list-layers cnn.h5", "audit cnn.h5", "show x.h5", "extract cnn.keras -l 3 -o out.h5")


@pytest.mark.parametrize("package", ["h5py", "numpy", "rich", "click"])
def test_without_a_package_that_is_always_needed(tmp_path, package):
    """57: every command says which package is missing and what to install, and leaves nothing."""
    shim = tmp_path / "shim"
    shim.mkdir()
    (shim / "sitecustomize.py").write_text(f"import sys\nsys.modules['{package}'] = None\n")
    before = content()
    for line in _COMMANDS if package == "h5py" else _COMMANDS[:1]:
        done = shell(*line.split(), cwd=tmp_path, PYTHONPATH=str(shim))
        message = checked(done, 70, before)
        assert f"layerprobe: The package {package} is not installed." in message
        assert "Expected: all packages that layerprobe needs." in message
        assert re.search(rf"Install it with: pip install '{package}>?<?[=\d.,<>]*'\n", message)
    if package == "h5py":
        assert shell("--help", cwd=tmp_path, PYTHONPATH=str(shim)).code == 0
    (shim / "sitecustomize.py").write_text("import sys\nsys.modules['layerprobe.screen'] = None\n")
    done = shell("list-layers", "cnn.h5", cwd=tmp_path, PYTHONPATH=str(shim))
    assert "Traceback" in done.stderr  # what is not installed by anybody is a fault of ours


@pytest.mark.parametrize("version", ["2.15.0", "3.9.2", "3.15.0"])
def test_a_keras_that_is_too_old(tmp_path, version):
    """57: models are listed, and none is loaded by a Keras whose holes are known."""
    told = tmp_path / "shim" / f"keras-{version}.dist-info" / "METADATA"
    told.parent.mkdir(parents=True)
    told.write_text(f"Metadata-Version: 2.1\nName: keras\nVersion: {version}\n")
    environment = {"PYTHONPATH": str(tmp_path / "shim")}
    assert shell("list-layers", "cnn.h5", cwd=tmp_path, **environment).code == 0
    before = content()
    done = shell("extract", "cnn.h5", "-l", "3", *OUT, cwd=tmp_path, **environment)
    message = checked(done, 70, before)
    assert f"Keras {version} is installed." in message
    assert "Expected: 3.15.1 or later" in message
    assert "pip install --upgrade 'keras>=3.15.1'" in message
    if version == "3.15.0":  # it is not for being named elsewhere that it is refused
        told.write_text(told.read_text().replace(version, "3.15.1"))
        assert shell("extract", "cnn.h5", "-l", "3", *OUT, cwd=tmp_path, **environment).code == 0
