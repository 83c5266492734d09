"""One engine a process: Keras fixes its engine when it is imported, so a run tests one of them.

`pytest` runs everything on TensorFlow. `pytest --engine jax` and `--engine torch` run the tests
marked `engine` once more there, `--engine openvino` those that name it, since it is for inference
alone. `make test` runs all four; an engine that is not installed fails.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
_WHOLE = ("tensorflow", "jax", "torch")  # the engines that can do everything


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--engine NAME`."""
    parser.addoption("--engine", default="tensorflow", choices=[*_WHOLE, "openvino"])


def pytest_configure(config: pytest.Config) -> None:
    """Fix the engine before anything imports Keras."""
    os.environ["LAYERPROBE_BACKEND"] = config.getoption("--engine")
    os.environ["KERAS_BACKEND"] = config.getoption("--engine")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests of this run's engine; on other engines than TensorFlow, only those."""
    engine = config.getoption("--engine")
    kept = [item for item in items if _runs_on(item, engine)]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def _runs_on(item: pytest.Item, engine: str) -> bool:
    marks = list(item.iter_markers("engine"))
    if not marks:
        return engine == "tensorflow"
    return all(engine in (mark.args or _WHOLE) for mark in marks)


@pytest.fixture(scope="session")
def samples() -> Path:
    """Return the folder of sample models."""
    return ROOT / "samples"


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> object:
    """Return the engine of this run."""
    from layerprobe.backend import select

    return select(request.config.getoption("--engine")).engine
