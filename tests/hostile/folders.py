"""Folders of models with links in them."""

from __future__ import annotations

import json
import os
import shutil

from model_files import WEIGHTS, weights_file

from hostile import REFUSE, TRUST, Case
from hostile.archives import pickled
from hostile.code import INPUT, lambda_layer, sequential
from hostile.graphs import graph, node, saved_model


def unpacked(place, config=None):
    """Write a .keras archive as a folder."""
    folder = place.folder / "unpacked"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config or sequential()))
    (folder / "metadata.json").write_text('{"keras_version": "3.15.1"}')
    (folder / "model.weights.h5").write_bytes(weights_file(WEIGHTS))
    return folder


def linked_vocabulary(place):
    """Let an asset be a link to a secret."""
    folder = unpacked(place)
    (folder / "assets").mkdir()
    (folder / "assets" / "vocabulary.txt").symlink_to(place.secret)
    return folder


def linked_config(place):
    """Let the config be a link."""
    folder = unpacked(place)
    (folder / "config.json").rename(place.folder / "c.json")
    (folder / "config.json").symlink_to(place.folder / "c.json")
    return folder


def saved(place, change):
    """Write a SavedModel that a change was made to."""
    folder = saved_model(place, graph([node("x", "Placeholder")]))
    change(folder, place)
    return folder


def linked_variables(folder, place):
    """Let the variables be a link to another folder."""
    shutil.rmtree(folder / "variables")
    (folder / "variables").symlink_to(place.secret.parent)


def linked_graph(folder, place):
    """Let the graph be a link."""
    (folder / "saved_model.pb").rename(place.folder / "other.pb")
    (folder / "saved_model.pb").symlink_to(place.folder / "other.pb")


def a_pipe(folder, _):
    """Put a pipe among the assets: who opens it waits for ever."""
    os.mkfifo(folder / "variables" / "variables.data-00000-of-00001")


def a_pickle(folder, place):
    """Put a pickle among the assets."""
    (folder / "assets").mkdir(exist_ok=True)
    (folder / "assets" / "table").write_bytes(pickled(place))


CASES = [
    Case("vocabulary is a link", REFUSE, "folder-link", linked_vocabulary),
    Case("config is a link", REFUSE, "folder-link", linked_config),
    Case("lambda in a folder", TRUST, "lambda-bytecode",
         lambda p: unpacked(p, sequential(INPUT, lambda_layer(p)))),
    Case("variables are a link", REFUSE, "folder-link", lambda p: saved(p, linked_variables)),
    Case("graph is a link", REFUSE, "folder-link", lambda p: saved(p, linked_graph)),
    Case("pipe in a folder", REFUSE, "folder-link", lambda p: saved(p, a_pipe)),
    Case("pickle in a folder", REFUSE, "pickle-inside", lambda p: saved(p, a_pickle)),
]  # fmt: skip
