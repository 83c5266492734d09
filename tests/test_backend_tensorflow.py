"""TensorFlow passes the engines' suites."""

from __future__ import annotations

import pytest

from layerprobe.backend.suite import BackendSuite
from layerprobe.backend.update_suite import UpdateSuite

pytestmark = pytest.mark.engine("tensorflow")


class TestTensorFlow(BackendSuite):
    """The suite on TensorFlow; the fixture `engine` is in conftest.py."""


class TestTensorFlowUpdates(UpdateSuite):
    """The suite of updates, the phase and random numbers on TensorFlow."""
