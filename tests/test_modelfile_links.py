"""A model file is read by itself: whatever in it leads elsewhere is refused and not followed."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import h5py
import pytest
from command import environment
from model_files import WEIGHTS, sequential, weights_file, write_h5, write_keras

import layerprobe
from layerprobe.errors import TrustError


def linked(path, kind, target):
    """Write a model file of which something lies elsewhere, by one of the ways HDF5 has."""
    if kind == "link in an archive":
        buffer = io.BytesIO(weights_file(WEIGHTS))
        with h5py.File(buffer, "a") as file:
            file["layers/dense/vars/2"] = h5py.ExternalLink(str(target), "/x")
        return write_keras(path, sequential(), model_weights_h5=buffer.getvalue())
    write_h5(path, sequential())
    with h5py.File(path, "a") as file:
        if kind == "external link":
            file["model_weights/dense/more"] = h5py.ExternalLink(str(target), "/x")
        elif kind == "link beside the weights":
            file["elsewhere"] = h5py.ExternalLink(str(target), "/x")
        elif kind == "weights elsewhere":
            del file["model_weights"]
            file["model_weights"] = h5py.ExternalLink(str(target), "/x")
        elif kind == "soft link":
            file["model_weights/dense/more"] = h5py.SoftLink("/model_weights/dense/dense")
        elif kind == "external bytes":
            shape, where = (4,), [(str(target), 0, 16)]
            file["model_weights"].create_dataset("more", shape, "float32", external=where)
        elif kind == "virtual dataset":
            layout = h5py.VirtualLayout((4,), "float32")
            layout[:] = h5py.VirtualSource(str(target), "x", (4,))
            file.create_virtual_dataset("model_weights/more", layout)
        elif kind == "circle":
            file["model_weights/dense/back"] = file["model_weights"]
        else:
            file["layers"] = h5py.ExternalLink(str(target), "/x")
            del file.attrs["model_config"]
    return path


LINKED = [
    *("external link", "link beside the weights", "weights elsewhere", "link in an archive"),
    *("soft link", "external bytes", "virtual dataset", "circle"),
]


@pytest.mark.parametrize("kind", LINKED)
def test_what_leads_out_of_the_file_is_refused(kind, tmp_path):
    """Links, external and virtual data end with 77, and the entry is named."""
    path = linked(tmp_path / "m", kind, tmp_path / "secret.h5")
    with pytest.raises(TrustError) as caught:
        layerprobe.list_layers(path)
    message = str(caught.value)
    assert caught.value.exit_code == 77
    assert ": entry '" in message
    assert str(tmp_path / "secret.h5") in message or kind in LINKED[4:]


def test_what_a_file_links_to_is_not_opened(tmp_path):
    """The target is a pipe: whoever opened it would wait for ever, and no listing does."""
    os.mkfifo(tmp_path / "pipe")
    kinds = [*LINKED, "link where weights would be"]
    paths = [linked(tmp_path / f"m{i}", kind, tmp_path / "pipe") for i, kind in enumerate(kinds)]
    code = (
        "import sys, layerprobe\n"
        "for path in sys.argv[1:]:\n"
        "    try: layerprobe.list_layers(path)\n"
        "    except layerprobe.LayerprobeError as error: print(error.exit_code)"
    )
    command = [sys.executable, "-c", code, *map(str, paths)]
    done = subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.split() == ["77"] * len(kinds)
