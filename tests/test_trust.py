"""Trust in the code of a file: given anew each time, for training too; a dump only records it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from command import refused, typed

import layerprobe
from layerprobe.errors import TrustError

GIVEN = ("extract", "m.keras", "-l", "code", "-i", "rows.npy", "-o", "out.h5")
ROWS = np.random.default_rng(4).normal(size=(700_000, 3)).astype("float32")


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = keras.Input((3,), name="rows")
    inner = keras.layers.Dense(2, name="before", kernel_initializer="ones")(rows)
    keras.Model(rows, keras.layers.Lambda(lambda x: x * 3 + 1, name="code")(inner)).save("m.keras")
    np.save("rows.npy", ROWS[:40])


def sha256(path="m.keras"):
    """Return the hash of a file."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def test_training_what_needs_trust(capfd):
    """Refused with the option to add, refused with another hash, trained with the right one."""
    given = ("train", "m.keras", "--to", "code", "-p", "before", "-i", "rows.npy", "-o", "n.keras")
    given += ("--loss-expr", "mean(output**2)", "--optimizer", "sgd", "--learning-rate", "0.01")
    message = refused(capfd, *given, code=77)
    assert f"--trust {sha256()}" in message
    message = refused(capfd, *given, "--trust", "0" * 64, code=77)
    assert f"--trust names {'0' * 64}, but m.keras is {sha256()}." in message
    done = typed(capfd, *given, "--trust", sha256())
    assert done.code == 0, done.stderr
    assert "--trust lets run" in done.stderr
    new = keras.models.load_model("n.keras", safe_mode=False)
    kernel = np.asarray(new.get_layer("before").kernel)
    assert np.abs(kernel - 1).max() > 0.01
    np.testing.assert_allclose(
        new(ROWS[:5]), 3 * (ROWS[:5] @ kernel + np.asarray(new.get_layer("before").bias)) + 1,
        rtol=1e-4, atol=1e-5,
    )  # fmt: skip
    report = layerprobe.train(
        "m.keras", "code", "rows.npy", None, "p.keras", params="before", shuffle=False,
        loss_expr="mean(output**2)", optimizer="sgd", learning_rate=0.01, batch_size=40,
        trust=sha256(),
    )  # fmt: skip
    # By hand: the mean over rows and two outputs of (3 (x w + b) + 1)^2, and a step down its slope.
    slope = 6 * (3 * (ROWS[:40].astype(float) @ np.ones((3, 2))) + 1) / 80
    moved = keras.models.load_model("p.keras", safe_mode=False).get_layer("before").kernel
    np.testing.assert_allclose(moved, 1 - 0.01 * ROWS[:40].T.astype(float) @ slope, atol=1e-5)
    assert report.weights == ("before/kernel", "before/bias")


def test_a_dump_records_trust_and_gives_none(capfd):
    """The manifest says what was trusted; going on and computing anew ask for it again."""
    np.save("rows.npy", ROWS)
    np.save("bad.npy", np.where(np.arange(len(ROWS))[:, None] == 600_000, np.nan, ROWS))
    Path("bad.npy").replace("rows.npy")
    done = typed(capfd, *GIVEN, "--fail-on-nan", "--trust", sha256())
    assert (done.code, " rows are safe. " in done.stderr) == (65, True)
    plan = json.loads(Path("out.h5.journal").read_text().partition("\t")[0])
    assert "trust" not in plan["plan"]["options"]
    assert sha256() not in json.dumps(plan["call"]["options"])
    np.save("rows.npy", ROWS)
    for command in (("resume", "out.h5"), (*GIVEN, "--fail-on-nan", "--resume")):
        assert f"--trust {sha256()}" in refused(capfd, *command, code=77)
    done = typed(capfd, "resume", "out.h5", "--trust", sha256().upper())
    assert done.code == 0, done.stderr
    told = json.loads(Path("out.h5.json").read_text())
    assert told["options"]["trust"] == sha256()
    with h5py.File("out.h5") as file:
        wanted = 3 * ROWS.sum(1, keepdims=True) + 1
        np.testing.assert_allclose(file["code"][:, :1], wanted, rtol=1e-4, atol=1e-5)
    assert refused(capfd, "verify", "out.h5", "--recompute", 3, code=77)
    assert typed(capfd, "verify", "out.h5", "--recompute", 3, "--trust", sha256()).code == 0
    assert "is complete already" in typed(
        capfd, *GIVEN, "--fail-on-nan", "--resume", "--trust", sha256()
    ).stdout  # fmt: skip


def test_dumps_from_before_the_record(capfd):
    """A manifest that lacks the key is complete, is computed anew, and asks for trust as well."""
    given = ("extract", "m.keras", "-l", "before", "-i", "rows.npy", "-o", "out")
    assert typed(capfd, *given).code == 0
    told = Path("out", "manifest.json")
    found = json.loads(told.read_text())
    assert found["options"].pop("trust", "there is none") is None
    told.write_text(json.dumps(found, indent=1) + "\n")
    assert "is complete already" in typed(capfd, *given, "--resume").stdout
    assert typed(capfd, "verify", "out", "--recompute", 3).code == 0
    with pytest.raises(TrustError, match="--trust names"):
        layerprobe.recompute("out", 3, trust="1" * 64)
