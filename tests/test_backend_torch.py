"""PyTorch passes the engines' suites."""

from __future__ import annotations

import pytest

from layerprobe.backend.suite import BackendSuite
from layerprobe.backend.update_suite import UpdateSuite

pytestmark = pytest.mark.engine("torch")


class TestPyTorch(BackendSuite):
    """The suite on PyTorch; the fixture `engine` is in conftest.py."""


class TestPyTorchUpdates(UpdateSuite):
    """The suite of updates, the phase and random numbers on PyTorch."""
