"""JAX passes the engines' suite."""

from __future__ import annotations

import pytest

from layerprobe.backend.suite import BackendSuite

pytestmark = pytest.mark.engine("jax")


class TestJAX(BackendSuite):
    """The suite on JAX; the fixture `engine` is in conftest.py."""
