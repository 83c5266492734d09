"""After a power cut every row that was called safe is there, and going on ends the same."""

from __future__ import annotations

import os

import numpy as np
import pytest
from dumps import OUTPUTS
from faults import Disk, content, extract, fresh, plainly, resume_with, shrink
from power import PowerCut

from layerprobe.errors import LayerprobeError
from layerprobe.sinks import rows

IMAGES = int(os.environ.get("LAYERPROBE_IMAGES", "400"))


@pytest.fixture(autouse=True)
def _small_groups(monkeypatch):
    shrink(monkeypatch)


@pytest.fixture(params=[*OUTPUTS, "gzip.zarr"])
def name(request):
    """Give the name of an output of each kind."""
    return request.param


def recorded(folder, name):
    """Return all steps of a run, and how many rows were called safe after how many of them."""
    told = []
    with Disk(fresh(folder), plainly) as disk:
        extract(folder / name, lambda durable: told.append((len(disk.steps), durable)))
    return disk.steps, told


def bad_images(tmp_path, name, count, expected):
    """Return what went wrong in some images of power cuts at chance moments."""
    steps, told = recorded(tmp_path / "run", name)
    chance, bad = np.random.default_rng(3), []
    for _ in range(count):
        cut = int(chance.integers(1, len(steps) + 1))
        acknowledged = max([durable for at, durable in told if at <= cut], default=0)
        folder = fresh(tmp_path / "image")
        PowerCut(steps[:cut], tmp_path / "run").restore(folder, chance)
        safe = []
        try:
            if (folder / name).exists():
                extract(folder / name, overwrite=True)
            else:
                resume_with(folder / name, safe.append)
        except LayerprobeError as error:
            bad.append((cut, str(error)))
            continue
        if safe and safe[0] < acknowledged:
            bad.append((cut, f"{acknowledged} rows were safe, {safe[0]} are there"))
        elif content(folder) != expected:
            bad.append((cut, "other bytes"))
    return bad


def test_no_row_is_lost_in_power_cuts(tmp_path, name):
    """Whatever of the writes that were not synced has reached the disk."""
    recorded(tmp_path / "whole", name)
    assert bad_images(tmp_path, name, IMAGES, content(tmp_path / "whole")) == []


def test_the_wrong_order_is_found_out(tmp_path, monkeypatch, name):
    """A journal that is written before the rows are synced loses rows: the test would see it."""
    recorded(tmp_path / "whole", name)
    expected = content(tmp_path / "whole")
    real = rows.RowSink._settle

    def settle(sink):
        settled = sink._container.settle
        sink._container.settle = lambda _: None
        real(sink)
        sink._container.settle = settled
        settled(sink.durable)

    monkeypatch.setattr(rows.RowSink, "_settle", settle)
    assert bad_images(tmp_path, name, 120, expected)
