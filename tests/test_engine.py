"""Choosing an engine and a device: what is taken, and what is said when it cannot be had."""

from __future__ import annotations

import importlib.util

import pytest

from layerprobe.backend import engine as engines
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
