"""TensorFlow passes the engines' suite."""

from __future__ import annotations

import pytest

from layerprobe.backend.suite import BackendSuite

pytestmark = pytest.mark.engine("tensorflow")


class TestTensorFlow(BackendSuite):
    """The suite on TensorFlow; the fixture `engine` is in conftest.py."""
