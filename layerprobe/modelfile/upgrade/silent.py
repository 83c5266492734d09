"""Layers of Keras 1 that do not say where their channels are."""

from __future__ import annotations

from layerprobe.errors import ModelError
from layerprobe.modelfile.contents import Config, Contents
from layerprobe.modelfile.reading import Reading
from layerprobe.modelfile.upgrade.keras1 import UNDECIDED
from layerprobe.modelfile.upgrade.walk import layers_in, name_of


def place_channels(config: Config, contents: Contents, reading: Reading) -> list[str]:
    """Give layers without a place for their channels the one that is declared; return notes.

    Raises:
        ModelError: None is declared.
    """
    open_layers = [
        layer
        for layer in layers_in(config)
        if isinstance(layer["config"], dict) and layer["config"].get("data_format") == UNDECIDED
    ]
    if not open_layers:
        return []
    names = ", ".join(name_of(layer) for layer in open_layers)
    if reading.source_data_format is None:
        raise ModelError(
            f"{contents.path}: Keras 1 did not save where the channels are in {names}, and no "
            "other layer of the file tells.",
            fix="Say it: --source-data-format channels_first, where the inputs are (channels, "
            "rows, columns), or channels_last.",
            layer=name_of(open_layers[0]),
        )
    for layer in open_layers:
        layer["config"]["data_format"] = reading.source_data_format
    return [f"{names} taken as {reading.source_data_format}, as declared"]
