"""The audit of hostile files: each is told, none is run, nothing outside is touched.

The files are made here, see the package `hostile`; real models are the control.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from command import ROOT, content, environment, typed
from hostile import cases
from model_files import INPUT, dense, sequential, write_keras

import layerprobe
from layerprobe.errors import LayerprobeError
from layerprobe.modelfile.audit import names
from layerprobe.modelfile.audit.ops import COMPUTE, PYTHON, SAVING, does_io
from layerprobe.modelfile.shapes import LAYER_CLASSES
from layerprobe.modelfile.upgrade.classes import CODE
from layerprobe.modelfile.verdicts import audit_all

CORPUS = ROOT.parent / "shared" / "corpus"
HOSTILE = cases()


@pytest.mark.parametrize("case", HOSTILE, ids=lambda case: case.name)
def test_a_hostile_file_is_told(case, tmp_path, monkeypatch):
    """The verdict and its reason are right, and nothing is run, written or opened elsewhere."""
    path, place = case.made_in(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = {name for name in content() if Path(name).is_file()}
    opened = []
    sys.addaudithook(lambda event, given: opened.append(given[0]) if event == "open" else None)
    found = layerprobe.audit(path)
    assert found.verdict == case.verdict
    assert case.rule in {finding.rule_id for finding in found.findings}
    assert found.exit_code in {65, 77}
    assert not place.marker.exists()
    assert str(place.secret) not in map(str, opened)
    assert {name for name in content() if Path(name).is_file()} == before


def test_there_are_many_of_every_class():
    """Each rule has a file that breaks it, except folders of 100,000 files."""
    from layerprobe.modelfile.audit.rules import RULES

    assert len(HOSTILE) >= 60
    assert len({case.name for case in HOSTILE}) == len(HOSTILE)
    assert {case.rule for case in HOSTILE} == set(RULES) - {"folder-bomb"}


_ONE_PROCESS = """
import json, sys, time
import layerprobe
slowest = 0.0
for path in json.load(sys.stdin):
    start = time.process_time()
    layerprobe.audit(path)
    slowest = max(slowest, time.process_time() - start)
frameworks = {"keras", "tensorflow", "jax", "torch"} & set(sys.modules)
# Not that of getrusage, which begins with that of the process that started this one.
peak = int(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0]) // 1024
print(json.dumps([slowest, peak, sorted(frameworks)]))
"""


def test_all_of_them_together_stay_small(tmp_path):
    """One process that judges all takes under 2 s of processor for each, and under 200 MB."""
    paths = [str(case.made_in(tmp_path / str(n))[0]) for n, case in enumerate(HOSTILE)]
    done = subprocess.run(
        [sys.executable, "-c", _ONE_PROCESS],
        input=json.dumps(paths),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    slowest, peak, frameworks = json.loads(done.stdout)
    assert slowest < 2
    assert peak < 200
    assert frameworks == []


def test_none_of_them_is_extracted(tmp_path, monkeypatch):
    """Neither listing nor extraction runs a payload; what is refused ends with 65 or 77."""
    monkeypatch.chdir(tmp_path)
    computed, codes = [], {}
    for number, case in enumerate(HOSTILE):
        path, place = case.made_in(tmp_path / str(number))
        try:
            layerprobe.extract(path, "all", None, tmp_path / "out.h5", rows=(0, 1), overwrite=True)
            computed.append(case.name)
        except LayerprobeError as error:
            codes[case.name] = error.exit_code
        assert not place.marker.exists(), case.name
    assert set(codes.values()) == {65, 77}
    assert computed == ["loss with bytecode"]  # which is never built, so that nothing depends on it


@pytest.mark.corpus
@pytest.mark.parametrize("corpus", [CORPUS] if CORPUS.is_dir() or os.environ.get("CI") else [])
def test_real_models_are_not_refused(corpus):
    """Of the corpus only models with Lambda layers or classes of their own are flagged."""
    index = [json.loads(line) for line in (corpus / "index.jsonl").read_text().splitlines()]
    for entry in index:
        found = layerprobe.audit(corpus / entry["file"])
        assert found.verdict != "refuse", entry["file"]
        if entry["has_lambda"] is not None:
            special = bool(entry["has_lambda"] or entry["custom_classes"])
            assert (found.verdict == "needs trust") == special, (entry["file"], found.findings)


def test_samples_and_what_keras_writes_are_ok(tmp_path, samples):
    """The project's own models pass, and so does a model of every kind of setting."""
    paths = [p for p in samples.rglob("*") if p.suffix in {".h5", ".keras", ".npy", ".npz"}]
    rows = keras.Input((8,), name="rows")
    middle = keras.layers.Dense(
        4,
        activation=keras.layers.LeakyReLU(0.1),
        kernel_initializer=keras.initializers.HeNormal(seed=1),
        kernel_regularizer=keras.regularizers.L1L2(0.1, 0.2),
        bias_constraint=keras.constraints.MaxNorm(2),
        dtype=keras.DTypePolicy("mixed_float16"),
    )(rows)
    model = keras.Model(rows, keras.layers.Dense(1, activation="relu6")(middle) * 2)
    schedule = keras.optimizers.schedules.CosineDecay(0.1, 100)
    model.compile(keras.optimizers.AdamW(schedule), keras.losses.Huber(), ["mae", "auc"])
    for name in ("m.keras", "m.h5"):
        model.save(tmp_path / name)
        paths.append(tmp_path / name)
    (tmp_path / "m.json").write_text(model.to_json())
    for path in [*paths, tmp_path / "m.json"]:
        assert layerprobe.audit(path).findings == (), path


def public(module):
    """Return the classes and functions of a part of Keras, by name."""
    found = {name: getattr(module, name) for name in dir(module) if not name.startswith("_")}
    classes = {name for name, value in found.items() if isinstance(value, type)}
    return classes, {name for name, value in found.items() if callable(value)} - classes


# What these parts of Keras hold besides what a model is made of.
_BASES = {"Initializer", "Regularizer", "Constraint", "Loss", "Metric", "Optimizer", "OptimizerMap"}
_DOORS = {"get", "serialize", "deserialize"}


def test_the_allowlist_is_that_of_keras():
    """What Keras has is allowed, what is allowed it has; base classes and doors are not."""
    parts = "initializers regularizers constraints losses metrics optimizers".split()
    classes = set().union(*(public(getattr(keras, part))[0] for part in parts))
    classes |= public(keras.optimizers.schedules)[0] - {"LearningRateSchedule"}
    classes |= public(keras.dtype_policies)[0] | public(keras.quantizers)[0] - {"Quantizer"}
    kept = {name for name in classes - _BASES if name[0].isupper()}
    assert kept | {"SeedGenerator"} == names.CLASSES
    parts = "activations losses metrics".split()
    functions = set().union(*(public(getattr(keras, part))[1] for part in parts))
    assert functions - _DOORS == names.FUNCTIONS
    layers = public(keras.layers)[0] - {"Layer", "Wrapper", "InputSpec"} - CODE
    aliases = {n for n in layers if getattr(keras.layers, n).__name__ != n}
    assert layers - aliases <= LAYER_CLASSES
    assert not LAYER_CLASSES & (CODE - {"Lambda"})


def test_the_allowlist_of_operations_is_that_of_tensorflow():
    """Every operation on it exists, and none of them does what its name must not say."""
    from tensorflow.core.framework import op_def_pb2
    from tensorflow.python.client import pywrap_tf_session as session

    known = op_def_pb2.OpList()
    known.ParseFromString(session.TF_GetBuffer(session.TF_GetAllOpList()))
    every = {op.name for op in known.op}
    assert every >= COMPUTE | SAVING | PYTHON
    assert not COMPUTE & (SAVING | PYTHON)
    files = {op for op in every if "File" in op or "Print" in op or "Dataset" in op}
    assert not files & COMPUTE
    assert all(does_io(op) for op in files)


@pytest.mark.parametrize(
    "name",
    [
        *("esc\x1b[31mred\x1b[0m", "two\nlines: ok", "[bold red]markup[/]", "bidi\u202egnp.exe"),
        *("nul\0byte", "x" * 5000, "../../marker", "..", "tab\there", "\x9b31m", "a\u2028b"),
    ],
)
def test_hostile_names_are_shown_escaped(name, tmp_path, capfd, monkeypatch):
    """Names from a file steer no terminal, and lead nowhere on the disk."""
    monkeypatch.chdir(tmp_path)
    config = sequential(INPUT, dense(name), {"class_name": "Odd", "config": {"name": name + "2"}})
    write_keras(tmp_path / "m.keras", config)
    before = content()
    for command in (["audit"], ["audit", "--json"], ["audit", "--sarif"], ["list-layers"]):
        done = typed(capfd, command[0], "m.keras", *command[1:])
        assert done.code == (77 if command[0] == "audit" else 0)
        shown = done.stdout + done.stderr
        assert all(c.isprintable() or c == "\n" for c in shown)
        assert "\nlines" not in shown
    table = typed(capfd, "audit", ".").stdout
    assert all(c.isprintable() or c == "\n" for c in table)
    assert "two\nlines" not in table
    assert max(map(len, table.splitlines())) < 1000
    assert content() == before


def test_twins_in_case_are_two_layers(tmp_path):
    """Names that differ in case alone stay apart."""
    write_keras(tmp_path / "m.keras", sequential(INPUT, dense("A"), dense("a")))
    rows = [row.address for row in layerprobe.list_layers(tmp_path / "m.keras").table]
    assert rows == ["rows", "A", "a"]


def test_a_pipe_is_not_waited_on(tmp_path):
    """Neither as a file nor in a folder."""
    os.mkfifo(tmp_path / "pipe.keras")
    assert layerprobe.audit(tmp_path / "pipe.keras").exit_code == 65
    for name in ("pipe.json", "pipe.pb", "pipe.yaml", "pipe"):
        os.mkfifo(tmp_path / name)
    found = [audit.path.name for audit in audit_all([tmp_path])]
    assert found == ["pipe.json", "pipe.keras", "pipe.pb", "pipe.yaml"]


def test_arrays_that_lie_about_their_size(tmp_path):
    """An array that holds less than it declares is damaged, not a bomb, if it is small."""
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(100))
    (tmp_path / "x.npy").write_bytes(buffer.getvalue()[:-8])
    (finding,) = layerprobe.audit(tmp_path / "x.npy").findings
    assert finding.rule_id == "damaged"
