"""What a run says before and after: the plan, the batch size it finds, where the time went."""

from __future__ import annotations

import itertools
import json
import time

import numpy as np
import pytest
from command import typed

import layerprobe
from layerprobe import batch_size
from layerprobe.backend.compiled import Function
from layerprobe.batch_size import rows_a_pass
from layerprobe.feed import open_feeds
from layerprobe.layers import TensorSpec
from layerprobe.options import Options
from layerprobe.passes import Pass
from layerprobe.pipeline import plan
from layerprobe.running import run
from layerprobe.timing import Times


@pytest.fixture
def digits(samples):
    """Return the rows for the sample CNN."""
    return np.load(samples / "data" / "digits.npy")


class Engine:
    """A function whose passes take made-up times, on a device with room for so many rows."""

    def __init__(self, seconds, room=10**9):
        self.seconds, self.room, self.now, self.sizes = seconds, room, 0.0, []
        symbol = type("Symbol", (), {"shape": (None, 3)})
        self.plan = type("Plan", (), {"inputs": [symbol], "outputs": [symbol]})

    def views(self, batch):
        rows = len(batch[0])
        if rows > self.room:
            raise layerprobe.BackendError("There is no room.", out_of_memory=True)
        self.now += self.seconds(rows)
        self.sizes.append(rows)
        return [2 * batch[0]]


def found(monkeypatch, seconds, rows=10_000, room=10**9, memory=None):
    """Return the batch size for an engine of given speed."""
    engine = Engine(seconds, room)
    monkeypatch.setattr(batch_size.time, "perf_counter", lambda: engine.now)
    feeds = open_feeds(np.zeros((rows, 3), "float32"), [TensorSpec("x", (None, 3), "float32")], {})
    compute = Pass(engine, ["x"], Options())
    size = rows_a_pass([compute], feeds, rows, memory)
    assert compute.piece is None
    return size


def test_the_smallest_batch_that_is_nearly_fastest(monkeypatch):
    """A pass that costs 10 ms besides its rows: at 256 rows 96 % of the time are the rows'."""
    slope, fixed = 1e-3, 1e-2
    size = found(monkeypatch, lambda rows: fixed + slope * rows)
    speeds = {2**n: 2**n / (fixed + slope * 2**n) for n in range(3, 11)}
    assert size == min(n for n, speed in speeds.items() if speed >= 0.95 * max(speeds.values()))
    assert size == 256


def test_where_larger_batches_are_slower(monkeypatch):
    """As where a cache is full: the search ends, and does not go up to the largest."""
    assert found(monkeypatch, lambda rows: 0.01 + rows**2 * 1e-5) == 32
    assert found(monkeypatch, lambda rows: rows * 1.0) == 8  # slow anyway


def test_a_batch_that_the_device_has_room_for(monkeypatch):
    """The largest one that it had room for, or what it had room for in the end."""
    assert found(monkeypatch, lambda _: 0.01, room=100) == 64
    assert found(monkeypatch, lambda _: 0.01, room=3) == 2


def test_a_batch_within_the_limit_of_memory(monkeypatch):
    """A size that would pass the limit is not tried."""
    held = itertools.count(100, 100)
    monkeypatch.setattr(batch_size, "peak_memory", lambda: next(held))
    assert found(monkeypatch, lambda _: 0.01, memory=550) == 32


def test_no_search_where_nothing_is_to_be_found(monkeypatch):
    """Few rows are one batch."""
    assert found(monkeypatch, lambda _: 0.01, rows=5) == 5


def test_auto_ends_in_the_manifest_and_goes_on_with_it(samples, tmp_path, digits, monkeypatch):
    """The size that was found is what the dump says, and what a run that goes on takes."""
    given = [samples / "digits_cnn.h5", "conv1", digits]
    monkeypatch.setattr(batch_size, "_knee", lambda *_: 40)

    def interrupt(done, _):
        if done >= 80:
            raise KeyboardInterrupt

    for number in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            layerprobe.extract(
                *given, tmp_path / "o.h5", batch_size="auto", progress=interrupt, resume=number > 1
            )
        monkeypatch.setattr(batch_size, "_knee", lambda *_: 56)
    layerprobe.extract(*given, tmp_path / "o.h5", batch_size="auto", resume=True)
    layerprobe.extract(*given, tmp_path / "whole.h5", batch_size=40)
    assert (tmp_path / "o.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()
    again = layerprobe.extract(*given, tmp_path / "o.h5", batch_size="auto", resume=True)
    assert again.was_complete
    with layerprobe.open_dump(tmp_path / "o.h5") as dump:
        assert dump.manifest["options"]["batch_size"] == 40


@pytest.mark.engine
def test_auto_on_a_real_engine(samples, tmp_path, digits):
    """Some size is found, and the numbers are those of any other."""
    layerprobe.extract(
        samples / "digits_cnn.h5", "logits", digits, tmp_path / "a.h5", batch_size="auto"
    )
    layerprobe.extract(samples / "digits_cnn.h5", "logits", digits, tmp_path / "b.h5")
    with layerprobe.open_dump(tmp_path / "a.h5") as a, layerprobe.open_dump(tmp_path / "b.h5") as b:
        assert 8 <= a.manifest["options"]["batch_size"] <= 600
        np.testing.assert_allclose(a["logits"][:], b["logits"][:], rtol=1e-5, atol=1e-5)


@pytest.mark.engine
def test_a_full_device_gets_pieces(samples, tmp_path, digits, monkeypatch):
    """Rows, order and values stay; that it happened is told."""
    given = [samples / "digits_cnn.h5", ["conv1", "logits"], digits]
    layerprobe.extract(*given, tmp_path / "whole.h5", batch_size=64)
    computed, sizes = Function._computed, []

    def crowded(self, compiled, arrays, *, training):
        def no_room(values, seeds):
            if len(values[0]) > 20:
                raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.")
            sizes.append(len(values[0]))
            return compiled(values, seeds)

        return computed(self, no_room, arrays, training=training)

    monkeypatch.setattr(Function, "_computed", crowded)
    report = layerprobe.extract(*given, tmp_path / "pieces.h5", batch_size=64)
    assert set(sizes) == {16}
    assert report.notes == ("out of memory: batches were computed in pieces of 16 rows",)
    with (
        layerprobe.open_dump(tmp_path / "whole.h5") as whole,
        layerprobe.open_dump(tmp_path / "pieces.h5") as pieces,
    ):
        for address in ("conv1", "logits"):
            np.testing.assert_allclose(pieces[address], whole[address], rtol=1e-5, atol=1e-5)
    with pytest.raises(layerprobe.BackendError, match="ran out of memory while computing conv1"):
        layerprobe.extract(*given, tmp_path / "no.h5", batch_size=64, phase="train")


def test_the_forecast(samples, tmp_path, digits):
    """From the second batch on: memory that was held, the seconds of the batches after it."""
    model = samples / "digits_cnn.h5"
    with plan(model, ["conv1"], digits, tmp_path / "o.h5", Options(batch_size=50)) as planned:
        assert planned.first.rows == 100
        forecast = planned.forecast
        assert forecast.memory > 50e6  # an engine is loaded
        assert 0 < forecast.seconds < 600
        assert forecast.free > 0
        report = run(planned)
    assert report.to_json()["forecast"] == forecast.to_json()
    with plan(model, ["conv1"], digits[:50], tmp_path / "p", Options(batch_size=50)) as planned:
        assert planned.forecast.seconds is None


def test_the_seconds_of_the_stages(samples, tmp_path, digits):
    """What works side by side may be more than the whole; waiting is never more than it."""
    report = layerprobe.extract(samples / "digits_cnn.h5", "all", digits, tmp_path / "o.h5")
    times = report.times.to_json()
    assert list(times) == ["read", "compute", "write", "wait_read", "wait_write"]
    assert all(0 <= seconds <= report.seconds for seconds in times.values())
    assert times["wait_write"] > 0
    json.dumps(report.to_json())


def test_each_second_is_counted_once(monkeypatch):
    """A clock that is moved by hand: what is spent on getting items, and within a block."""
    now = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: next(now))
    times = Times()
    assert list(times.each("compute", [1, 2])) == [1, 2]
    assert times.compute == 3  # the end is asked for too
    assert times.of("write", lambda x: x + 1)(1) == 2
    with pytest.raises(ValueError, match="no"), times.spent("write"):
        raise ValueError("no")
    assert (times.write, times.read) == (2, 0)


def test_the_plan_of_many_layers_is_short(capfd, samples, tmp_path, monkeypatch):
    """Of many layers the largest are listed, in the model's order."""
    monkeypatch.chdir(tmp_path)
    done = typed(capfd, "extract", samples / "digits_cnn.h5", "-l", "all")
    assert done.code == 0
    told = done.stderr.splitlines()
    lines = [line for line in told if line.startswith("plan: ")]
    assert len(lines) == 8 + 1 + 2
    assert lines[8] == "plan: and 6 smaller ones"
    assert [line.split()[1] for line in lines[:3]] == ["conv1", "norm1", "relu1"]
    assert told.index(lines[-1]) < told.index(next(t for t in told if t.startswith("note: ")))


def test_a_bad_row_in_the_second_batch(capfd, samples, tmp_path, monkeypatch):
    """The plan looks at two batches; the first is kept all the same, and a dry run tells."""
    monkeypatch.chdir(tmp_path)
    rows = np.load(samples / "data" / "places.npy")[:40].astype("float32")
    rows[11, 0] = 99
    np.save("x.npy", rows)
    given = ["extract", samples / "places_lstm.keras", "-l", "lstm", "-i", "x.npy", "-b", "8"]
    done = typed(capfd, *given, "-o", "o.h5", "--dry-run")
    assert (done.code, done.stdout) == (65, "")
    assert "x.npy holds 99.0 in row 11." in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["x.npy"]
    done = typed(capfd, *given, "-o", "o.h5")
    assert done.code == 65
    assert "8 of 40 rows are safe." in done.stderr
