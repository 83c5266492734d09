"""Activations in Zarr, from the model to the rows that plain Zarr reads."""

from __future__ import annotations

import json

import numpy as np
import pytest
import zarr
from command import files, typed

import layerprobe
from layerprobe.errors import OutputError


@pytest.fixture
def given(samples):
    """Return a model, layers and data."""
    return samples / "digits_cnn.h5", ["conv1", "flat"], samples / "data" / "digits.npy"


@pytest.mark.parametrize("compress", [None, "gzip", "lz4", "zstd"])
def test_plain_zarr_reads_what_is_extracted(tmp_path, given, compress):
    """The same bits as in .npy files, whatever the codec; float16 too."""
    options = {"rows": (0, 50), "dtype": "float16", "batch_size": 9}
    layerprobe.extract(*given, tmp_path / "out", **options)
    layerprobe.extract(*given, tmp_path / "out.zarr", compress=compress, **options)
    group = zarr.open_group(tmp_path / "out.zarr", mode="r")
    for layer in given[1]:
        np.testing.assert_array_equal(
            group[layer][...], np.load(tmp_path / f"out/{layer}.npy"), strict=True
        )
    assert layerprobe.verify(tmp_path / "out.zarr").faults == ()
    assert layerprobe.recompute(tmp_path / "out.zarr", 5).worst[1] == 0


def test_an_interrupted_run_ends_with_the_same_bytes(tmp_path, given):
    """Chunks that were not full are gone on with; another codec is another dump."""

    def interrupt(done, _):
        if done >= 60:
            raise KeyboardInterrupt

    options = {"batch_size": 20, "compress": "zstd"}
    with pytest.raises(KeyboardInterrupt):
        layerprobe.extract(*given, tmp_path / "o.zarr", progress=interrupt, **options)
    for other in (None, "gzip"):
        changed = options | {"compress": other, "resume": True}
        with pytest.raises(OutputError, match=r"another options\.compress: 'zstd', now") as refused:
            layerprobe.extract(*given, tmp_path / "o.zarr", **changed)
        assert refused.value.exit_code == 65
    layerprobe.resume(tmp_path / "o.zarr")
    with pytest.raises(OutputError, match=r"another options\.compress: 'zstd', now 'gzip'"):
        layerprobe.extract(*given, tmp_path / "o.zarr", **options | changed)
    (tmp_path / "whole").mkdir()
    layerprobe.extract(*given, tmp_path / "whole" / "o.zarr", **options)
    names = [p for p in (tmp_path / "whole").rglob("*") if p.is_file()]
    assert len(names) == 6
    for path in names:
        other = tmp_path / path.relative_to(tmp_path / "whole")
        assert other.read_bytes() == path.read_bytes()
    assert not [name for name in files(tmp_path) if "partial" in name or "journal" in name]


def test_compression_of_another_output_is_a_usage_error(capfd, tmp_path, given):
    """Before anything is loaded, with what to do."""
    model, (layer, _), data = given
    command = ["extract", model, "-l", layer, "-i", data, "-o", tmp_path / "o.h5"]
    done = typed(capfd, *command, "--compress", "lz4")
    assert done.code == 2
    assert f"Name it {tmp_path / 'o.zarr'}, or leave --compress out" in done.stderr
    command[-1] = tmp_path / "o.zarr"
    assert typed(capfd, *command, "--compress", "rar").code == 2
    assert files(tmp_path) == []
    assert typed(capfd, *command, "--compress", "lz4").code == 0
    said = json.loads((tmp_path / "o.zarr" / "manifest.json").read_text())
    assert (said["options"]["compress"], said["compression"]["cname"]) == ("lz4", "lz4")


def test_room_is_not_asked_for_compressed_rows(tmp_path, given, monkeypatch):
    """Nobody knows how much they will need; of plain ones it is known before the first."""
    from layerprobe import outputs

    def full(path, nbytes):
        raise OutputError(f"{path} needs {nbytes}")

    monkeypatch.setattr(outputs, "check_space", full)
    with pytest.raises(OutputError, match="needs"):
        layerprobe.extract(*given, tmp_path / "o.zarr")
    layerprobe.extract(*given, tmp_path / "o.zarr", compress="gzip")
