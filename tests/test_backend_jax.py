"""JAX passes the engines' suites."""

from __future__ import annotations

import pytest

from layerprobe.backend.suite import BackendSuite
from layerprobe.backend.update_suite import UpdateSuite

pytestmark = pytest.mark.engine("jax")


class TestJAX(BackendSuite):
    """The suite on JAX; the fixture `engine` is in conftest.py."""


class TestJAXUpdates(UpdateSuite):
    """The suite of updates, the phase and random numbers on JAX."""
