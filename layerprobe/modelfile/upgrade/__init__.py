"""Configs of older Kerases rewritten for Keras 3, as a chain of small functions.

The rule here: a model either computes what its original computed, or is refused with the reason.
Configs of Keras 1 come in the words of Keras 2 (`keras1`, at opening), those of Keras 2 become
Keras 3's by the steps of `keras2`, and `origin` asks for layers of our own where Keras 3 would
compute something else. What each step undoes is in its docstring; the notes tell the user which
ones applied.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from layerprobe.errors import TrustError
from layerprobe.modelfile.configs import contradictions_named, has_graph
from layerprobe.modelfile.contents import Config, Contents
from layerprobe.modelfile.reading import Reading
from layerprobe.modelfile.upgrade.calls import full_calls
from layerprobe.modelfile.upgrade.foreign import foreign_layers, without_code
from layerprobe.modelfile.upgrade.keras2 import STEPS
from layerprobe.modelfile.upgrade.masking import merge_masks
from layerprobe.modelfile.upgrade.operations import use_operations
from layerprobe.modelfile.upgrade.origin import origin_of, use_origin
from layerprobe.modelfile.upgrade.refusals import refuse_origin, refuse_unproven
from layerprobe.modelfile.upgrade.silent import place_channels

AS_SAVED = Reading()


@dataclass(frozen=True)
class Upgraded:
    """A config that Keras 3 builds rightly, and what had to be changed for that.

    Attributes:
        config: The config.
        notes: What was changed, for the user.
        flips: Whether the kernels in the file are those of true convolutions, as Theano's are, and
            so have to be turned round.
        keras1: Whether its weights are split, ordered and named as Keras 1 had them.
        as_saved: Whether it is the file's own, of Keras 3.
        unrun: For layers that cannot be computed, by the names on the way there: why not.
    """

    config: Config
    notes: tuple[str, ...]
    flips: bool = False
    keras1: bool = False
    as_saved: bool = False
    unrun: Mapping[tuple[str, ...], TrustError] = field(default_factory=dict)


def upgrade(contents: Contents, reading: Reading = AS_SAVED) -> Upgraded:
    """Return a model's config as Keras 3 has to read it.

    Args:
        contents: The file.
        reading: How to read it, where that is not as it says.

    Raises:
        ModelError: The file is of a kind that is not known to be read rightly.
    """
    if not has_graph(contents.config):
        class_name = contents.config["class_name"]
        raise TrustError(
            f"{contents.path} is a model of class {class_name!r}: code says how its layers are "
            "called.",
            expected="a Sequential or Functional model",
            fix="list-layers lists what is in it. Save its sub-models one by one, or export its "
            "graph.",
            class_name=class_name,
        )
    with contradictions_named():
        config = contents.config
        unrun: dict[tuple[str, ...], TrustError] = {}
        told: list[str] = []
        if foreign_layers(config):
            config = copy.deepcopy(config)
            unrun, told = without_code(config, contents, reading)
        if contents.major_version is not None and contents.major_version >= 3:
            return Upgraded(config, tuple(told), as_saved=True, unrun=unrun)
        found = _upgraded(config, contents, reading)
        return replace(found, notes=(*found.notes, *told), unrun=unrun)


def _upgraded(config: Config, contents: Contents, reading: Reading) -> Upgraded:
    made_on, told = origin_of(contents, reading)
    refuse_origin(contents, made_on)
    config = copy.deepcopy(config)
    told += place_channels(config, contents, reading)
    refuse_unproven(config, contents)
    notes = [note for step in STEPS if (note := step(config))]
    notes += use_origin(config, made_on or "", contents)
    notes += use_operations(config, contents)
    merge_masks(config, contents)
    full_calls(config)
    return Upgraded(
        config,
        (*contents.notes, *told, *notes),
        flips=made_on == "theano",
        keras1=contents.keras1,
    )
