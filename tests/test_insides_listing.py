"""Insides in the listing and in an extraction: found where they are asked for, and only there."""

from __future__ import annotations

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from test_selection import row

import layerprobe
from layerprobe.cli import main
from layerprobe.errors import LayerNotFound
from layerprobe.layers import LayerTable


def test_insides_are_found_only_where_they_are_asked_for():
    """`all`, classes, indices and plain patterns leave insides out; letters after ":" do not."""
    rows = (row("lstm", 0, class_name="LSTM"), row("dense", 1))
    names = ("states", "gates")
    table = LayerTable(rows, tuple(replace(rows[0], address=f"lstm:{n}", inside=n) for n in names))
    found = {
        "all": ["lstm", "dense"],
        "*": ["lstm", "dense"],
        "class:LSTM": ["lstm"],
        "re:^(?:lstm|gru)": ["lstm"],
        "0": ["lstm"],
        "lstm:gates": ["lstm:gates"],
        "*:*s": ["lstm:states", "lstm:gates"],
        "re:(?:lstm|gru):s": ["lstm:states"],
    }
    assert {p: [r.address for r in table.select([p])] for p in found} == found
    shown = [r.address for r in table.with_insides()]
    assert shown == ["lstm", "lstm:states", "lstm:gates", "dense"]
    with pytest.raises(LayerNotFound, match="one of lstm:states, lstm:gates"):
        table.find("lstm:cells")


def test_the_listing_shows_insides_on_demand(samples):
    """--insides adds lines, in --json a list of their own; a plain listing has none."""
    model = str(samples / "places_lstm.keras")

    def printed(*options: str) -> str:
        return CliRunner().invoke(main, ["list-layers", model, *options]).stdout

    assert "lstm:gates" not in printed()
    assert "(None, None, 128)" in printed("--insides")
    assert "insides" not in json.loads(printed("--json"))
    listed = json.loads(printed("--json", "--insides"))
    assert not any("gates" in layer["address"] for layer in listed["layers"])
    assert [layer["address"] for layer in listed["insides"]] == [
        "lstm:states",
        "lstm:cells",
        "lstm:gates",
        "attention:scores",
    ]


def test_insides_are_extracted_like_any_output(samples, tmp_path):
    """A dump holds them under their addresses; the states are the layer's own sequence."""
    words = np.array([[1, 2, 3, 4, 0, 0], [5, 6, 7, 8, 9, 10]], "int32")
    report = layerprobe.extract(
        samples / "places_lstm.keras",
        ["lstm", "lstm:states", "attention:scores", "attention:1"],
        words,
        tmp_path / "out.h5",
    )
    assert [d.address for d in report.datasets][1] == "lstm:states"
    with h5py.File(tmp_path / "out.h5") as file:
        stored = ("lstm", "lstm%3Astates", "attention%3Ascores", "attention%3A1")
        lstm, states, scores, given = (np.array(file[name]) for name in stored)
    kept = (words != 0)[..., None]
    np.testing.assert_allclose(states * kept, lstm * kept, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(scores, given, rtol=1e-6)
