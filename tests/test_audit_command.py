"""`layerprobe audit`, what listing and extraction make of it, and trust tied to bytes."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from command import ROOT, content, shell, typed
from hostile import Place
from hostile.code import lambda_layer, layer
from hostile.graphs import holding
from model_files import INPUT, called, dense, functional, sequential, write_h5, write_keras

import layerprobe
from layerprobe.errors import TrustError
from layerprobe.modelfile.audit.rules import RULES


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return the current folder, with a model of each verdict in it and one piece of junk."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    place = Place(tmp_path, tmp_path / "marker", tmp_path / "secret")
    write_keras(tmp_path / "sub" / "fine.keras", sequential())
    write_keras(tmp_path / "code.keras", sequential(INPUT, dense(), lambda_layer(place)))
    write_keras(tmp_path / "twice.keras", sequential())
    with zipfile.ZipFile(tmp_path / "twice.keras", "a") as archive, pytest.warns(match="Duplicate"):
        archive.writestr("config.json", "{}")
    (tmp_path / "junk.h5").write_bytes(b"")
    (tmp_path / "notes.json").write_text("{}")
    (tmp_path / "README.md").write_text("nothing")
    return tmp_path


def test_one_file_is_told_with_what_to_do(folder, capfd):
    """Each reason comes with what it means and what helps, the hash to trust included."""
    done = typed(capfd, "audit", "code.keras")
    sha256 = hashlib.sha256((folder / "code.keras").read_bytes()).hexdigest()
    assert done.code == 77
    assert done.stdout.startswith("code.keras: needs trust (keras)\nlambda-bytecode: layer 'evil'")
    assert f"extract --trust {sha256}" in done.stdout
    fine = typed(capfd, "audit", "sub/fine.keras")
    assert (fine.code, fine.stdout) == (0, "sub/fine.keras: ok (keras)\n")
    assert typed(capfd, "audit", "junk.h5").code == 65


def test_a_folder_is_a_table(folder, capfd):
    """All models of a folder are judged; what is no model by name or content is left out."""
    (folder / "link.keras").symlink_to(folder / "sub" / "fine.keras")
    done = typed(capfd, "audit", ".")
    assert done.code == 77
    rows = {line.split()[0]: line for line in done.stdout.splitlines()[1:-1] if line[0] != " "}
    assert set(rows) == {"code.keras", "junk.h5", "link.keras", "sub/fine.keras", "twice.keras"}
    assert " ok" in rows["sub/fine.keras"]
    assert "folder-link" in rows["link.keras"]
    assert done.stdout.splitlines()[-1] == "5 files: 1 ok, 1 needs trust, 3 refuse"
    assert typed(capfd, "audit", "sub").code == 0


def test_the_json_holds_every_reason(folder, capfd):
    """`--json` prints one object: path, format, hash, verdict, findings."""
    done = typed(capfd, "audit", ".", "--json")
    files = {one["path"]: one for one in json.loads(done.stdout)["files"]}
    assert {name: one["verdict"] for name, one in files.items()} == {
        "code.keras": "needs trust", "junk.h5": "refuse", "sub/fine.keras": "ok",
        "twice.keras": "refuse",
    }  # fmt: skip
    one = files["sub/fine.keras"]
    assert one["sha256"] == hashlib.sha256((folder / one["path"]).read_bytes()).hexdigest()
    (finding,) = files["twice.keras"]["findings"]
    assert finding["rule"] == "zip-duplicate"
    assert set(finding) == {"rule", "verdict", "risk", "where", "what", "means", "fix"}


def test_the_sarif_is_what_code_hosts_take(folder, capfd):
    """Version, rules, and for each finding a rule, a level, a text, a relative URI, a print."""
    (folder / "a b\u202e.keras").write_bytes((folder / "code.keras").read_bytes())
    done = typed(capfd, "audit", ".", "--sarif")
    assert done.code == 77
    log = json.loads(done.stdout)
    assert (log["version"], len(log["runs"])) == ("2.1.0", 1)
    driver = log["runs"][0]["tool"]["driver"]
    assert driver["name"] == "layerprobe"
    assert [rule["id"] for rule in driver["rules"]] == list(RULES)
    prints = set()
    for result in log["runs"][0]["results"]:
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in {"error", "warning"}
        assert result["message"]["text"]
        (location,) = result["locations"]
        physical = location["physicalLocation"]
        assert physical["region"]["startLine"] == 1
        uri = physical["artifactLocation"]["uri"]
        assert uri.isascii()
        assert not set(uri) & set(" \\:")
        prints.add(result["partialFingerprints"]["finding/v1"])
    assert len(prints) == len(log["runs"][0]["results"]) == 4
    again = json.loads(typed(capfd, "audit", ".", "--sarif").stdout)
    assert again == log
    assert typed(capfd, "audit", ".", "--sarif", "--json").code == 2


@pytest.mark.parametrize("path", ["hf://a/b", "gs://a/m.keras", "https://a/m.h5", "s3://a/b"])
@pytest.mark.parametrize("command", ["audit", "list-layers", "extract", "doctor"])
def test_remote_paths_are_refused(path, command, folder, capfd):
    """Local files only: exit 2, and nothing is fetched."""
    before = content()
    more = ["-l", "all"] if command == "extract" else []
    done = typed(capfd, command, path, *more)
    assert done.code == 2
    assert "is not on this machine" in done.stderr
    assert content() == before
    assert folder.is_dir()


def test_a_missing_file_is_no_junk(folder, capfd):
    """The nearest name is given, as everywhere."""
    done = typed(capfd, "audit", "cod.keras")
    assert done.code == 66
    assert "code.keras" in done.stderr
    assert folder.is_dir()


def test_listing_tells_the_verdict(folder, capfd):
    """On stderr, and in JSON; what is ok is not told; what is closed is not listed."""
    done = typed(capfd, "list-layers", "code.keras")
    assert done.code == 0
    assert "audit: needs trust" in done.stderr
    told = json.loads(typed(capfd, "list-layers", "code.keras", "--json").stdout)
    assert told["audit"]["verdict"] == "needs trust"
    assert typed(capfd, "list-layers", "sub/fine.keras").stderr == ""
    done = typed(capfd, "list-layers", "twice.keras")
    assert done.code == 77
    assert "zip-duplicate" in done.stderr
    assert len(done.stderr.splitlines()) <= 5
    assert folder.is_dir()


def test_trust_runs_the_code_of_these_bytes_alone(tmp_path, monkeypatch, capfd):
    """Without it the code is refused, with another hash too, with the right one it runs."""
    monkeypatch.chdir(tmp_path)
    rows = keras.Input((3,), name="rows")
    inner = keras.layers.Dense(2, name="before")(rows)
    model = keras.Model(rows, keras.layers.Lambda(lambda x: x * 3 + 1, name="code")(inner))
    model.save("m.keras")
    model.save("m.h5")
    data = np.random.default_rng(3).normal(size=(4, 3)).astype("float32")
    np.save("rows.npy", data)
    for name in ("m.keras", "m.h5"):
        given = ["extract", name, "-l", "code", "-i", "rows.npy", "-o", f"{name}.out.h5"]
        refused = typed(capfd, *given)
        sha256 = hashlib.sha256(Path(name).read_bytes()).hexdigest()
        assert refused.code == 77
        assert f"--trust {sha256}" in refused.stderr
        assert len(refused.stderr.splitlines()) <= 5
        wrong = typed(capfd, *given, "--trust", "0" * 64)
        assert wrong.code == 77
        assert "0" * 64 in wrong.stderr
        assert sha256 in wrong.stderr
        assert not Path(f"{name}.out.h5").exists()
        done = typed(capfd, *given, "--trust", sha256)
        assert done.code == 0, done.stderr
        assert "--trust lets run" in done.stderr + done.stdout
        with layerprobe.open_dump(f"{name}.out.h5") as dump:
            np.testing.assert_allclose(dump["code"][:], model(data), rtol=0, atol=1e-6)


def test_safe_mode_stays_on_without_trust(samples, monkeypatch):
    """Keras is told so at every load; only the right hash tells it otherwise."""
    from layerprobe.backend import compat

    modes = []
    real = compat.saving_lib.load_model

    def watched(*args, **kwargs):
        modes.append(kwargs["safe_mode"])
        return real(*args, **kwargs)

    monkeypatch.setattr(compat.saving_lib, "load_model", watched)
    path = samples / "digits_cnn.keras"
    for trust in (None, layerprobe.audit(path).sha256):
        layerprobe.load(path, trust=trust)
    assert modes == [True, False]


def test_a_vocabulary_to_be_read_needs_trust(tmp_path):
    """The file that it names is shown, and not opened."""
    lookup = layer("StringLookup", vocabulary=str(tmp_path / "secret"))
    path = write_keras(tmp_path / "m.keras", sequential(INPUT, lookup))
    with pytest.raises(TrustError, match=str(tmp_path / "secret")) as caught:
        layerprobe.load(path)
    assert layerprobe.audit(path).sha256 in str(caught.value)


def test_a_saved_model_that_writes_needs_trust(tmp_path):
    """Its operations are named; with trust its layers are read, and its graph still is not run."""
    source = ROOT / "tests" / "tf_keras"
    known = next(source.glob("*.tf"), None) or next(source.glob("*/saved_model.pb")).parent
    folder = tmp_path / "m"
    shutil.copytree(known, folder)
    place = Place(tmp_path, tmp_path / "marker", tmp_path / "secret")
    hostile = holding("WriteFile")(Place(tmp_path / "x", place.marker, place.secret))
    shutil.copy(hostile / "saved_model.pb", folder / "saved_model.pb")
    with pytest.raises(TrustError, match=r"WriteFile.*graph-io") as caught:
        layerprobe.load(folder)
    trust = layerprobe.audit(folder).sha256
    assert trust in str(caught.value)
    assert layerprobe.load(folder, trust=trust).inputs


def test_weights_out_of_proportion_are_refused_before_they_are_made(tmp_path):
    """A layer that claims terabytes is refused by the estimate."""
    path = write_h5(tmp_path / "m.h5", functional(
        called(dense(units=10**12), {"class_name": "__keras_tensor__", "config": {
            "shape": [None, 3], "dtype": "float32", "keras_history": ["rows", 0, 0]}}),
        outputs=[["dense", 0, 0]]))  # fmt: skip
    with pytest.raises(TrustError, match="weights-bomb"):
        layerprobe.load(path)


def test_what_trust_does_in_a_process_of_its_own(tmp_path):
    """The payload of a hostile Lambda acts with trust: tests without it mean something."""
    place = Place(tmp_path, tmp_path / "marker", tmp_path / "secret")
    given = lambda_layer(place)
    given["config"]["output_shape"] = [3]
    first = INPUT | {"module": "keras.layers", "registered_name": None}
    model = sequential(first, given) | {"module": "keras", "registered_name": None}
    path = write_keras(tmp_path / "m.keras", model, {"unused": np.zeros(1)})
    arguments = ["extract", path, "-l", "evil", "-o", tmp_path / "out.h5"]
    assert shell(*arguments, cwd=tmp_path).code == 77
    assert not place.marker.exists()
    done = shell(*arguments, "--trust", layerprobe.audit(path).sha256, cwd=tmp_path)
    assert done.code == 0, done.stderr
    assert place.marker.exists()
