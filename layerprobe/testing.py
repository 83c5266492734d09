"""Conformance suites, shipped: what a new engine, kind of source or kind of sink has to pass.

A suite is a class of tests on fixtures; a subclass, which pytest collects, provides the fixtures.
Each suite lives in the room it tests.

Example:
    A new kind of source is tested by

        class TestParquet(layerprobe.testing.SourceSuite):
            @pytest.fixture
            def make_source(self, tmp_path): ...
"""

from __future__ import annotations

from layerprobe.backend.suite import BackendSuite
from layerprobe.backend.update_suite import UpdateSuite
from layerprobe.sinks.suite import SinkSuite
from layerprobe.sources.suite import SourceSuite

__all__ = ["BackendSuite", "SinkSuite", "SourceSuite", "UpdateSuite"]
