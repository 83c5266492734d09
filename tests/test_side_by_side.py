"""Two blocks computed at once, as on a GPU: the rows, their order and what becomes of errors."""

from __future__ import annotations

import threading

import h5py
import numpy as np
import pytest
from dumps import content

import layerprobe
from layerprobe import running
from layerprobe.errors import BackendError
from layerprobe.passes import Pass

PATIENCE = 30.0  # seconds until a thread that should be running counts as missing
LAYERS = ["conv1", "features"]


@pytest.fixture
def images():
    """Return rows of a size that fills a block with a few of them."""
    return np.random.default_rng(0).random((2003, 8, 8, 1), np.float32)


def extracted(samples, images, path, **options):
    """Write what the sample CNN makes of the rows."""
    return layerprobe.extract(
        samples / "digits_cnn.keras", LAYERS, images, path, batch_size=16, **options
    )


@pytest.mark.engine
def test_the_dump_is_the_same(samples, images, tmp_path, monkeypatch):
    """Byte for byte, but for the moment it was made; with many blocks."""
    extracted(samples, images, tmp_path / "one")
    monkeypatch.setattr(running, "_side_by_side", lambda _: True)
    extracted(samples, images, tmp_path / "two")
    one, two = content(tmp_path / "one"), content(tmp_path / "two")
    assert one.keys() == two.keys()
    assert all(one[name] == two[name] for name in one if name != "manifest.json")


@pytest.mark.engine
def test_two_are_computed_at_once(samples, images, tmp_path, monkeypatch):
    """The first waits inside the engine until the second is there too."""
    monkeypatch.setattr(running, "_side_by_side", lambda _: True)
    both = threading.Barrier(2, timeout=PATIENCE)
    compute, met = Pass.__call__, []

    def meeting(self, batch, row):
        if threading.current_thread() is not threading.main_thread() and not met:
            both.wait()
            met.append(row)
        return compute(self, batch, row)

    monkeypatch.setattr(Pass, "__call__", meeting)
    extracted(samples, images, tmp_path / "o.h5")
    assert met


def test_an_error_loses_no_row_before_it(samples, images, tmp_path, monkeypatch):
    """And the run goes on with the rest."""
    extracted(samples, images, tmp_path / "whole.h5")
    monkeypatch.setattr(running, "_side_by_side", lambda _: True)
    compute = Pass.__call__

    def failing(self, batch, row):
        if row >= 1008:
            raise BackendError("The device is gone.")
        return compute(self, batch, row)

    with monkeypatch.context() as patched:
        patched.setattr(Pass, "__call__", failing)
        with pytest.raises(BackendError, match="gone") as raised:
            extracted(samples, images, tmp_path / "o.h5")
    safe = layerprobe.show(tmp_path / "o.h5").safe
    assert 0 < safe <= 1008
    assert any(f"{safe:,}" in note for note in raised.value.__notes__)
    extracted(samples, images, tmp_path / "o.h5", resume=True)
    with h5py.File(tmp_path / "o.h5") as done, h5py.File(tmp_path / "whole.h5") as whole:
        for name in LAYERS:
            np.testing.assert_array_equal(done[name][:], whole[name][:], strict=True)


@pytest.mark.parametrize(
    ("device", "options", "wanted"),
    [("cpu", {}, False), ("gpu:0", {}, True), ("gpu:1", {"phase": "train"}, False)],
)
def test_where_it_is_done(samples, images, tmp_path, device, options, wanted):
    """On a GPU, and where nothing is random."""
    from layerprobe.options import Options
    from layerprobe.pipeline import plan

    given = Options(batch_size=16, **options)
    with plan(samples / "digits_cnn.keras", LAYERS, images, tmp_path / "o.h5", given) as planned:
        planned.device = device
        assert running._side_by_side(planned) == wanted
