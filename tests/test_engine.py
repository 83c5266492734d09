"""Choosing an engine and a device: what is taken, and what is said when it cannot be had."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from command import ROOT, environment

from layerprobe.backend import engine as engines
from layerprobe.backend import registry
from layerprobe.errors import BackendError


def test_the_argument_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The argument wins, then LAYERPROBE_BACKEND, then KERAS_BACKEND, then TensorFlow."""
    monkeypatch.setenv("LAYERPROBE_BACKEND", "jax")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert engines.engine_name("tensorflow") == "tensorflow"
    assert engines.engine_name() == "jax"
    monkeypatch.delenv("LAYERPROBE_BACKEND")
    assert engines.engine_name() == "torch"
    monkeypatch.delenv("KERAS_BACKEND")
    assert engines.engine_name() == "tensorflow"


def test_an_unknown_engine_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message lists the engines, and names the variable the wrong word came from."""
    with pytest.raises(BackendError, match="tensorflow, jax, torch") as refused:
        engines.engine_name("theano")
    assert refused.value.exit_code == 2
    monkeypatch.setenv("LAYERPROBE_BACKEND", "cntk")
    with pytest.raises(BackendError, match="LAYERPROBE_BACKEND"):
        engines.engine_name()


def test_a_missing_engine_comes_with_its_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that is not installed is named with the line that installs it."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(BackendError, match=r"pip install 'layerprobe\[jax\]'"):
        engines.check_installed("jax")


@pytest.mark.engine("tensorflow")
def test_a_process_keeps_its_engine() -> None:
    """Once Keras runs on one engine, asking for another says what to do."""
    assert engines.select().name == "tensorflow"
    assert engines.select("tensorflow") == engines.select()
    with pytest.raises(BackendError, match="KERAS_BACKEND=jax"):
        engines.select("jax")


@pytest.mark.parametrize("device", ["tpu", "gpu:x", "cuda", ""])
def test_an_unknown_device_is_a_usage_error(device: str) -> None:
    """Devices are auto, cpu, gpu and gpu:N."""
    with pytest.raises(BackendError, match="auto, cpu, gpu or gpu:N") as refused:
        engines.check_device(device)
    assert refused.value.exit_code == 2


def test_a_gpu_is_picked_by_number_and_must_be_there() -> None:
    """`auto` takes the first GPU if there is one; a GPU that is asked for must exist."""
    assert engines.pick_gpu("auto", 0, "jax") is None
    assert engines.pick_gpu("auto", 2, "jax") == 0
    assert engines.pick_gpu("cpu", 2, "jax") is None
    assert engines.pick_gpu("gpu:1", 2, "jax") == 1
    with pytest.raises(BackendError, match="There is no gpu:2: jax sees 2 GPUs"):
        engines.pick_gpu("gpu:2", 2, "jax")


def test_every_install_line_names_what_the_project_offers() -> None:
    """`layerprobe[NAME]` is an extra of this project that brings the engine's package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for name, known in registry.ENGINES.items():
        extra = known.install.removeprefix("layerprobe").strip("[]")
        wanted = project["optional-dependencies"][extra] if extra else project["dependencies"]
        assert any(line.startswith(known.package) for line in wanted), name


@pytest.mark.engine("tensorflow")
def test_the_engine_chosen_before_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment speaks to the first choice only."""
    chosen = engines.select("tensorflow")
    monkeypatch.setenv("LAYERPROBE_BACKEND", "jax")
    assert engines.select() == chosen
    assert engines.select(device="cpu").name == "tensorflow"


@pytest.mark.engine
def test_an_engine_says_what_it_can(engine: Any) -> None:
    """Its CAPABILITIES are words with a meaning, and agree with its other attributes."""
    assert isinstance(engine.CAPABILITIES, frozenset)
    assert engine.CAPABILITIES <= registry.CAPABILITIES
    assert ("channels_first" in engine.CAPABILITIES) == engine.RUNS_CHANNELS_FIRST
    assert ("dynamic_batch" in engine.CAPABILITIES) == (not engine.RECOMPILES)


_TORCH_DEVICE = """
import torch
torch.cuda.device_count = lambda: 2
from layerprobe.backend import select
print(select("torch", device="gpu:1").device)
from keras.src.backend.torch import core
print(core.DEFAULT_DEVICE)
"""


def test_the_device_is_chosen_before_keras_starts() -> None:
    """Keras on torch takes its device when it is imported: it takes the one that was asked for."""
    done = subprocess.run(
        [sys.executable, "-c", _TORCH_DEVICE],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout.split() == ["gpu:1", "cuda:1"], done.stderr


_KERAS_FIRST = """
import os, sys
import keras
import layerprobe
from layerprobe.backend import select
from layerprobe.errors import BackendError

def refused(name, **variables):
    os.environ.update(variables)
    before = dict(os.environ)
    try:
        select(name)
    except BackendError as error:
        assert dict(os.environ) == before
        assert not {"tensorflow", "torch"} & set(sys.modules)
        print(error)
    else:
        print("taken", name)

refused("tensorflow")
refused(None, LAYERPROBE_BACKEND="torch")
refused(None, LAYERPROBE_BACKEND="", KERAS_BACKEND="torch")
print(select("jax").name, layerprobe.load("digits_cnn.keras").keras.built)
refused("torch")
"""


def test_keras_imported_first_keeps_its_engine(samples: Path) -> None:
    """Whoever names another one is told both ways out; nothing is loaded, nothing is changed."""
    done = subprocess.run(
        [sys.executable, "-c", _KERAS_FIRST],
        cwd=samples,
        env=environment(KERAS_BACKEND="jax", LAYERPROBE_BACKEND=""),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    def words(name: str) -> list[str]:
        return [
            f"Keras already runs on 'jax' in this process; it cannot change to {name!r}.",
            "Expected: the engine to be chosen before Keras is imported.",
            f"Stay on it with backend='jax', or start Python with KERAS_BACKEND={name}.",
        ]

    torch = words("torch")
    wanted = [*words("tensorflow"), *torch, *torch, "jax True", *torch]
    assert done.stdout.splitlines() == wanted, done.stderr
