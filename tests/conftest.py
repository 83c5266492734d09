"""One engine a process: Keras fixes its engine when it is imported, so a run tests one of them.

`pytest` runs everything on TensorFlow. `pytest --engine jax` and `--engine torch` run the tests
marked `engine` once more there, `--engine openvino` those that name it, since it is for inference
alone. `make test` runs all four; an engine that is not installed fails. `--part 1/2` keeps about
half of the files, and `--part 2/2` the others.
"""

from __future__ import annotations

import os
from pathlib import Path

import hypothesis
import pytest
from parts import FILES, part, shared_out

ROOT = Path(__file__).resolve().parents[1]
_WHOLE = ("tensorflow", "jax", "torch")  # the engines that can do everything

# How long a guess takes depends on what else the machine does.
hypothesis.settings.register_profile("shared machine", deadline=None)
hypothesis.settings.load_profile("shared machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--engine NAME` and `--part K/N`."""
    parser.addoption("--engine", default="tensorflow", choices=[*_WHOLE, "openvino"])
    parser.addoption("--part", default=(1, 1), type=part, metavar="K/N")


def pytest_configure(config: pytest.Config) -> None:
    """Fix the engine before anything imports Keras."""
    os.environ["LAYERPROBE_BACKEND"] = config.getoption("--engine")
    os.environ["KERAS_BACKEND"] = config.getoption("--engine")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests of this run's engine, and of its part of the files."""
    engine, (number, count) = config.getoption("--engine"), config.getoption("--part")
    parts = shared_out(FILES, count)
    kept = {i: parts.get(i.path.stem, 1) == number and _runs_on(i, engine) for i in items}
    config.hook.pytest_deselected(items=[item for item, stays in kept.items() if not stays])
    items[:] = [item for item, stays in kept.items() if stays]


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
