"""Masks of time steps in old files: what meets them is ours where Keras 3 does something else."""

from __future__ import annotations

import pytest
from model_files import dense, merge, old, old_model
from test_upgrade import contents, layer

from layerprobe.errors import ModelError
from layerprobe.modelfile.upgrade import upgrade
from layerprobe.modelfile.upgrade.walk import layers_in, name_of

ROWS = ["rows", 0, 0, {}]
NET = old_model(old(dense("in"), [ROWS]), outputs=[["in", 0, 0]], name="net")
FORGETS = old_model(old(layer("LSTM", "in"), [ROWS]), outputs=[["in", 0, 0]], name="net")
TWO = frozenset("Add Concatenate Multiply Average Maximum Dot".split())
FOLLOWED = layer("LSTM", return_sequences=True)


def masked(*between, end, version="2.3.1"):
    """Return a model that embeds, passes through layers, and ends in a layer of several inputs."""
    layers = [layer("Embedding", "embed", mask_zero=True), *between]
    names = [ROWS[0], *(x["config"]["name"] for x in layers)]
    calls = [old(x, [[before, 0, 0, {}]]) for x, before in zip(layers, names, strict=False)]
    given = [[names[-1], 0, 0, {}], ROWS][: 2 if end["class_name"] in TWO else 1]
    joined = old(end, given)
    return contents(old_model(*calls, joined, outputs=[["end", 0, 0]]), version)


def ours(given):
    """Return the names of the layers that an upgrade makes of ours, and its notes."""
    found = upgrade(given)
    names = [name_of(x) for x in layers_in(found.config) if x.get("module") == "layerprobe"]
    return names, found.notes


@pytest.mark.parametrize("merging", ["Add", "Concatenate", "Multiply", "Average", "Maximum"])
@pytest.mark.parametrize(
    "between",
    [[], [dense()], [FOLLOWED], [NET], [layer("Masking")], [layer("SpatialDropout1D", rate=0.5)]],
)
def test_where_masks_meet_all_inputs_must_keep_a_step(between, merging):
    """Keras 2 kept a step that all inputs keep, Keras 3 one that any keeps."""
    names, notes = ours(masked(*between, end=merge("end") | {"class_name": merging}))
    assert names == ["end"]
    assert notes == ("a masked step is kept where all inputs keep it, as this Keras did: end",)


@pytest.mark.parametrize(
    "between", [[layer("LSTM")], [layer("Flatten")], [layer("Conv1D")], [FORGETS]]
)
def test_masks_that_end_before_a_merge_change_nothing(between):
    """A layer that drops its input's mask in both Kerases, and one that looks at none."""
    assert ours(masked(*between, end=merge("end"))) == ([], ())
    assert ours(masked(dense(), *between, end=merge("end") | {"class_name": "Dot"})) == ([], ())


@pytest.mark.parametrize(
    ("class_name", "version", "changed"),
    [
        ("ReLU", "2.3.1", False),
        ("ReLU", "2.2.4-tf", True),
        ("ReLU", "2.4.0", True),
        ("ReLU", "2.5.0", False),
        ("Softmax", "2.2.4", True),
        ("Softmax", "2.3.0-tf", True),
        ("Rescaling", "2.15.0", True),
        ("Normalization", "2.4.0", True),
        ("Dense", "2.4.0", False),
    ],
)
def test_what_a_version_did_with_masks_is_done(class_name, version, changed):
    """Some layers hand a mask on, or look at it, only since some version."""
    names, notes = ours(masked(end=layer(class_name, "end"), version=version))
    assert names == ["end"] * changed
    assert any("mask of time steps" in note for note in notes) is changed


@pytest.mark.parametrize(
    ("class_name", "version"),
    [("Softmax", "2.4.0"), ("Softmax", "2"), ("ReLU", "2"), ("GroupNormalization", "2.14.0")],
)
def test_what_is_not_known_of_masks_is_refused(class_name, version):
    """TensorFlow 2.3 and 2.4 bear one number; some folders bear none."""
    with pytest.raises(ModelError, match="layer 'end' takes masked time steps"):
        upgrade(masked(end=layer(class_name, "end"), version=version))


def test_attention_of_old_files_is_ours():
    """Until 2.9 it took no masks from its inputs."""
    end = layer("MultiHeadAttention", "end", num_heads=1, key_dim=2)
    given = [["embed", 0, 0, {"value": ["rows", 0, 0]}]]
    embed = old(layer("Embedding", "embed", mask_zero=True), [ROWS])
    config = old_model(embed, old(end, given), outputs=[["end", 0, 0]])
    assert ours(contents(config, "2.9.0"))[0] == ["end"]
    assert ours(contents(config, "2.10.0")) == ([], ())
