"""PyTorch passes the engines' suite."""

from __future__ import annotations

import pytest

from layerprobe.backend.suite import BackendSuite

pytestmark = pytest.mark.engine("torch")


class TestPyTorch(BackendSuite):
    """The suite on PyTorch; the fixture `engine` is in conftest.py."""
