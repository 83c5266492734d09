"""What is not known to compute as it did, or brings code along, is refused with the reason."""

from __future__ import annotations

import copy

import pytest
from model_files import called, dense, functional, merge, old, old_model, sequential, tensor
from test_configs import JUNK, spoiled
from test_upgrade import chain, contents, layer, wrapped

from layerprobe.errors import LayerprobeError, ModelError
from layerprobe.modelfile.reading import Reading
from layerprobe.modelfile.upgrade import upgrade
from layerprobe.modelfile.upgrade.classes import FORMER_CLASSES, SAME_IN_KERAS_3
from layerprobe.modelfile.upgrade.keras1 import translated
from layerprobe.modelfile.upgrade.walk import layers_in

ROWS = ["rows", 0, 0, {}]


def refused(given):
    """Return the error that an upgrade must end in."""
    with pytest.raises(ModelError) as caught:
        upgrade(given)
    assert caught.value.exit_code == 65
    return caught.value


STACK = {"class_name": "StackedRNNCells", "config": {"cells": [layer("LSTMCell")]}}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (contents(chain(dense()), None), "Keras 1 (it names no version)"),
        (contents(chain(dense()), "dev"), "was written by Keras dev"),
        (
            contents(chain(layer("AveragePooling2D", padding="same")), "2.0.4", backend="theano"),
            "what AveragePooling2D with padding 'same' meant to Keras 2.0.4 on its engine",
        ),
        (contents(chain(dense()), backend="plaidml"), "on plaidml, which computed"),
        (
            contents(chain(layer("MaxPooling3D", padding="same")), "2.0.9", backend="theano"),
            "what MaxPooling3D with padding 'same' meant to Keras 2.0.9 on its engine",
        ),
        (
            contents(chain(layer("Conv2D", dilation_rate=[2, 2])), "2.1.6", backend="cntk"),
            "what a Conv2D with dilation or strides meant to Keras 2.1.6 on its engine",
        ),
        (
            contents(chain(layer("Conv3D", strides=[1, 2, 1])), "2.1.6", backend="cntk"),
            "what a Conv3D with dilation or strides meant",
        ),
        (
            contents(chain(layer("RNN", cell=STACK)), "2.2.4", backend="cntk"),
            "what a stack of cells meant to Keras 2.2.4",
        ),
        (contents(chain(dense()), backend=None), "on no engine, which computed"),
    ],
)
def test_origins_that_computed_otherwise_are_refused(given, said):
    """Keras 1, other engines, archives of Keras 2, and what changed unseen: the reason is named."""
    error = refused(given)
    assert said in str(error)
    assert "list-layers lists it" in str(error)


@pytest.mark.parametrize("version", ["2.3.1", "3.15.1"])
@pytest.mark.parametrize("place", range(8))
@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (layer("Lambda", "f"), "layer 'f' is a Lambda: code that its author wrote"),
        (layer("TFSMLayer", "f"), "is a TFSMLayer"),
        (layer("TorchModuleWrapper", "f"), "is a TorchModuleWrapper"),
        (layer("Mine", "f"), "is of a class that is not Keras' own: 'Mine'"),
        (layer("Custom>Mine", "f"), "is of a class that is not Keras' own: 'Custom>Mine'"),
        (layer("Dense", "f") | {"module": "mine"}, "not Keras' own: 'Dense'"),
        (layer("Dense", "f") | {"module": "keras_hub.layers"}, "not Keras' own: 'Dense'"),
    ],
)
def test_code_of_others_is_never_run(bad, said, place, version):
    """A class that is not Keras' own needs trust, wherever it stands and whoever wrote the file."""
    found = upgrade(contents(chain(wrapped(bad)[place]), version))
    (error,) = found.unrun.values()
    assert said in str(error)
    assert error.fields["layer"] == "f"
    left = {part["class_name"] for part in layers_in(found.config)}
    assert "Unrun" in left
    assert bad["class_name"] not in left - {"Dense"}


@pytest.mark.parametrize("class_name", ["ClassMethod"])
def test_classes_that_keras_once_had_need_no_trust(class_name):
    """A class that Keras has dropped is refused for what it computed, not for being code."""
    error = refused(contents(chain(layer(class_name))))
    assert f"has class {class_name}, which is not known to compute the same" in str(error)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (layer("GroupQueryAttention"), "class GroupQueryAttention"),
        (layer("Conv2D", padding="full"), "padding 'full'"),
        (layer("LocallyConnected1D", padding="valid", implementation=2), "implementation 2"),
        (layer("LocallyConnected1D", padding="same"), "padding 'same'"),
        (dense(activation={"class_name": "Mine", "config": {}}), "neither given by name nor"),
        (layer("LSTM", recurrent_activation=["x"]), "neither given by name nor by a layer"),
        (layer("LSTM", num_constants=1), "constants that are given to its cells"),
        (layer("TFOpLambda", function="io.read_file"), "the operation tf.io.read_file"),
        (layer("TensorFlowOpLayer", node_def={"op": "ReadFile"}), "the operation ReadFile"),
    ],
)
def test_what_is_not_known_to_compute_the_same_is_refused(bad, reason):
    """In a file of Keras 2 the layer and the reason are named; in one of Keras 3 it may pass."""
    error = refused(contents(chain(bad)))
    assert reason in str(error)
    assert "by Keras 2.3.1" in str(error)
    assert upgrade(contents(chain(bad), "3.0.0")).notes == ()


@pytest.mark.parametrize(
    ("interpolation", "version", "backend", "size"),
    [
        ("bicubic", "2.3.1", "tensorflow", [2, 2]),
        ("bilinear", "2.2.4-tf", "tensorflow", [2, 2]),
        ("bilinear", "2.3.1", "cntk", [2, 2]),
        ("bilinear", "2.3.1", "theano", [3, 3]),
    ],
)
def test_interpolation_that_nobody_looked_at_is_refused(interpolation, version, backend, size):
    """Where the pixels lay depended on the version and on the engine."""
    given = chain(layer("UpSampling2D", interpolation=interpolation, size=size))
    assert "interpolation meant to Keras" in str(refused(contents(given, version, backend)))


def test_a_merge_of_the_authors_own_needs_trust():
    """Keras 1 could merge with a function, whose code is in the file."""
    bad = layer("Merge", "m", mode="<lambda>", mode_type="lambda")
    (error,) = upgrade(translated(contents(chain(bad), "1.2.2"))).unrun.values()
    assert "layer 'm' is a Merge with code that its author wrote" in str(error)


@pytest.mark.parametrize("given", [("plaidml", None), (None, "th")])
def test_only_known_readings_can_be_declared(given):
    """An engine or a data format that is not known is a mistake in the call."""
    with pytest.raises(ModelError, match="is not known") as caught:
        Reading(*given)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("version", ["2.4.0", "2.14.0"])
def test_layers_that_were_compared_later_alone_are_refused_before(version):
    """Keras 2.15's text layers were compared; what older ones made of texts was not."""
    given = chain(layer("Hashing", num_bins=3))
    assert "class Hashing of before Keras 2.15" in str(refused(contents(given, version)))
    assert upgrade(contents(given, "2.15.0")).config["config"]["layers"]


def test_nearest_upsampling_passes():
    """The interpolation that both Kerases compute alike is taken, named or not."""
    given = chain(layer("UpSampling2D", interpolation="nearest"), layer("UpSampling2D", "y"))
    assert upgrade(contents(given)).notes == ()


def test_tensors_among_keywords_are_tensors():
    """Keras 2 wrote initial states of recurrent layers into keyword arguments."""
    node = [["rows", 0, 0, {"initial_state": [["rows", 0, 0]], "training": False}]]
    given = contents(old_model(old(layer("LSTM"), node), outputs=[["x", 0, 0]]))
    (call,) = upgrade(given).config["config"]["layers"][-1]["inbound_nodes"]
    histories = [
        kept["config"]["keras_history"]
        for kept in (*call["args"], *call["kwargs"]["initial_state"])
    ]
    assert histories == [["rows", 0, 0]] * 2
    assert call["kwargs"]["training"] is False
    plain = [["rows", 0, 0, {"training": False}]]
    fine = old_model(old(layer("LSTM"), plain), outputs=[["x", 0, 0]])
    assert upgrade(contents(fine)).config["config"]["layers"][-1]["inbound_nodes"] == [plain]


NET = old_model(old(dense("in"), [ROWS]), outputs=[["in", 0, 0]], name="net")


def distributed(inner, **masking):
    """Return a model that embeds tokens and spreads a layer over them."""
    embed = layer("Embedding", "embed", **masking)
    spread = layer("TimeDistributed", "spread", layer=inner)
    rows, tokens = [ROWS], [["embed", 0, 0, {}]]
    return contents(
        old_model(old(embed, rows[0:1]), old(spread, tokens), outputs=[["spread", 0, 0]])
    )


@pytest.mark.parametrize(
    ("inner", "masking"),
    [
        (layer("GRU", "in"), {"mask_zero": True}),
        (NET, {"mask_zero": True}),
        (layer("Masking", "in"), {}),
        (layer("Embedding", "in", mask_zero=True), {}),
    ],
)
def test_masks_inside_time_distributed_are_refused(inner, masking):
    """Keras 2 handed no mask to the layer inside, and took over the one it made."""
    error = refused(distributed(inner, **masking))
    assert "layer 'spread' takes masked time steps" in str(error)


def test_time_distributed_without_masks_inside_is_taken():
    """A layer that looks at no mask computes the same in it; the mask goes on past it."""
    assert upgrade(distributed(dense("in"), mask_zero=True)).notes == ()
    assert upgrade(distributed(layer("GRU", "in"))).notes == ()


def test_merges_in_files_of_keras_3_are_as_they_were():
    """What Keras 3 saved, Keras 3 computes: masks may meet there."""
    embed = {"class_name": "Embedding", "config": {"name": "e", "mask_zero": True}}
    config = functional(
        called(embed, tensor("rows")),
        called(merge("end"), [tensor("e"), tensor("rows")]),
        outputs=[["end", 0, 0]],
    )
    assert upgrade(contents(config, "3.1.0")).notes == ()


def test_the_lists_of_classes_do_not_overlap():
    """A class is computed alike, or Keras has dropped it, not both."""
    assert not SAME_IN_KERAS_3 & FORMER_CLASSES


@pytest.mark.parametrize("version", ["2.3.1", "3.0.0"])
def test_junk_anywhere_ends_in_our_errors(version):
    """Whatever stands in the place of any value, an upgrade comes out or one of our errors."""
    given = chain(
        layer("GRU", activation="hard_sigmoid", batch_input_shape=[None, 3, 2],
              kernel_initializer={"class_name": "Zeros", "config": {"dtype": "float32"}}),
        layer("BatchNormalization", axis=[-1]),
        chain(dense("in")),
    )  # fmt: skip
    done = 0
    for junk in spoiled(given):
        try:
            upgrade(contents(copy.deepcopy(junk), version))
        except LayerprobeError:
            continue
        done += 1
    assert done > len(JUNK)


def test_a_sound_chain_is_taken():
    """The model that the tests above spoil is upgraded without a word."""
    assert upgrade(contents(sequential())).notes == ()
