"""A model that is changed between the moment it is judged and the moment it is loaded."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from command import ROOT, checked, content, sample_folder, typed

import layerprobe
from layerprobe.backend import compat, engine, loading
from layerprobe.errors import TrustError

GIVEN = ("-i", "digits.npy", "-o", "out.h5")


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch, samples):
    monkeypatch.chdir(tmp_path)
    sample_folder(samples)
    for name in ("cnn.h5", "cnn.keras"):
        shutil.copy(name, f"other-{name}")
        model = keras.models.load_model(name)
        model.get_layer("conv1").set_weights([w * 0 for w in model.get_layer("conv1").weights])
        model.save(f"other-{name}")


def renamed(name):
    """Put another file in its place, as `mv` does."""
    Path(f"other-{name}").replace(name)


def written_over(name):
    """Write other bytes into the file, and put its date back."""
    before = Path(name).stat()
    with Path(name).open("r+b") as file:
        file.write(Path(f"other-{name}").read_bytes()[: before.st_size])
    os.utime(name, ns=(before.st_atime_ns, before.st_mtime_ns))


def gone(name):
    """Take it away."""
    Path(name).unlink()


def and_back(name):
    """Put another file in its place, to be put back when it was read."""
    Path(name).rename("kept")
    shutil.copy(f"other-{name}", name)


def at(monkeypatch, where, name, act):
    """Let something happen just before a function runs, once."""
    real, left = getattr(where, name), [act]

    def changed(*given, **more):
        if left:
            left.pop()()
        return real(*given, **more)

    monkeypatch.setattr(where, name, changed)


@pytest.mark.parametrize("act", [renamed, written_over, gone])
@pytest.mark.parametrize("name", ["cnn.h5", "cnn.keras"])
@pytest.mark.parametrize("command", ["extract", "train", "convert"])
def test_swapped_while_the_engine_loads(capfd, monkeypatch, name, act, command):
    """Whatever the format and the command: nothing is computed, and nothing is left."""
    given = {
        "extract": ("-l", "conv1", *GIVEN),
        "train": ("--to", "logits", "-i", "digits.npy", "-o", "new.keras", "--loss-expr",
                  "mean(output**2)"),
        "convert": ("new.keras",),
    }[command]  # fmt: skip
    at(monkeypatch, engine, "select", lambda: act(name))
    before = content()
    done = typed(capfd, command, name, *given)
    before = {n: held for n, held in before.items() if not n.startswith(("other", name))}
    left = {n: h for n, h in content().items() if n.startswith(("other", name))}
    message = checked(done, 77, before | left)
    assert f"{name} was changed or replaced after it was judged" in message
    assert f"layerprobe audit {name}" in message


@pytest.mark.parametrize("act", [renamed, written_over, and_back])
@pytest.mark.parametrize(
    ("name", "where"), [("cnn.h5", "load_hdf5_weights"), ("cnn.keras", "load_archive")]
)
def test_swapped_while_it_is_loaded(monkeypatch, name, where, act):
    """Weights of two files never meet: it is seen afterwards, also where the first is back."""
    module = compat if where == "load_archive" else loading
    at(monkeypatch, module, where, lambda: act(name))
    if act is and_back:
        real = loading._settle  # when the file has been read
        monkeypatch.setattr(loading, "_settle", lambda m: (Path("kept").replace(name), real(m)))
    with pytest.raises(TrustError, match="was changed or replaced"):
        layerprobe.extract(name, "conv1", "digits.npy", "out.h5")
    assert not list(Path().glob("out.h5*"))


@pytest.mark.parametrize("act", [renamed, written_over])
def test_an_architecture_is_judged_too(monkeypatch, act):
    """The layers of a file of weights come from another file, which must stay as it was too."""
    model = keras.models.load_model("cnn.keras")
    model.save_weights("w.weights.h5")
    Path("a.json").write_text(model.to_json())
    Path("other-a.json").write_text(model.to_json().replace("relu", "tanh"))
    at(monkeypatch, layerprobe.backend, "select", lambda: act("a.json"))
    with pytest.raises(TrustError, match=r"a\.json was changed or replaced"):
        layerprobe.load("w.weights.h5", architecture="a.json")
    assert layerprobe.load("w.weights.h5", architecture="a.json").inputs


def test_a_folder_is_watched_file_by_file(monkeypatch):
    """The variables of a SavedModel lie beside its graph; any of its files counts."""
    source = next((ROOT / "tests" / "tf_keras").glob("*/saved_model.pb")).parent
    folder = Path(shutil.copytree(source, "m"))
    assert layerprobe.load(folder).inputs
    (data,) = folder.glob("variables/*.data*")

    def act():
        held = bytearray(data.read_bytes())
        held[-1] ^= 1
        data.write_bytes(held)

    at(monkeypatch, layerprobe.backend, "select", act)
    with pytest.raises(TrustError, match="m was changed or replaced"):
        layerprobe.load(folder)


@pytest.mark.parametrize("act", [renamed, written_over])
@pytest.mark.parametrize("moment", ["judged", "hashed", "opened", "built"])
def test_code_runs_only_from_bytes_that_are_trusted(monkeypatch, act, moment):
    """Trust names bytes: what is put in their place at any moment does not run."""
    rows = keras.Input((3,), name="rows")
    keras.Model(rows, keras.layers.Lambda(lambda x: x * 3, name="code")(rows)).save("m.keras")
    sha256 = hashlib.sha256(Path("m.keras").read_bytes()).hexdigest()
    marking = lambda x: (__import__("pathlib").Path("marker").touch(), x * 3)[1]  # noqa: E731
    keras.Model(rows, keras.layers.Lambda(marking, name="code")(rows)).save("other-m.keras")
    Path("marker").unlink(missing_ok=True)
    data = np.ones((2, 3), "float32")
    where = {
        "judged": (layerprobe.live, "refuse_untrusted"),
        "hashed": (engine, "select"),
        "opened": (loading, "_from_config"),
        "built": (loading, "load_archive_weights"),
    }[moment]
    at(monkeypatch, *where, lambda: act("m.keras"))
    with pytest.raises(TrustError) as refused:
        layerprobe.extract("m.keras", "code", data, "out.h5", trust=sha256)
    assert refused.value.exit_code == 77
    assert not Path("marker").exists()


def test_a_file_that_nobody_changes_is_loaded():
    """Reading, also by others, changes nothing; a new file under the name is judged anew."""
    first = layerprobe.list_layers("cnn.keras")
    Path("cnn.keras").read_bytes()
    first.judged.check()
    shutil.copy("other-cnn.keras", "cnn.keras")
    with pytest.raises(TrustError):
        first.judged.check()
    layerprobe.list_layers("cnn.keras").judged.check()
    report = layerprobe.extract("cnn.keras", "conv1", "digits.npy", "out.h5", rows=(0, 3))
    with layerprobe.open_dump(report.path) as dump:
        now = hashlib.sha256(Path("cnn.keras").read_bytes()).hexdigest()
        assert dump.manifest["model"]["sha256"] == now
        assert not dump["conv1"][...].any()
