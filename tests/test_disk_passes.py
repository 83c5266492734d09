"""`--max-disk`: layers that do not fit into one dump become several, each complete in itself."""

from __future__ import annotations

import errno
import io
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from command import content, files, refused, sample_folder, typed

import layerprobe
from layerprobe import pipeline
from layerprobe.errors import DataError, OutputError
from layerprobe.options import Options
from layerprobe.shards import shard_rows, shard_size

# Bytes of a row: conv1 and norm1 4,096 each; flat 384; logits 40.
LAYERS = ["conv1", "norm1", "flat", "logits"]
GIVEN = ["cnn.h5", LAYERS, "digits.npy"]
HOW = {"rows": (0, 100), "max_disk": 100 * (4096 + 384 + 40)}
NAMES = ["o-pass-1-of-2.h5", "o-pass-2-of-2.h5"]
COMMAND = ["extract", "cnn.h5", *(x for name in LAYERS for x in ("-l", name)), "-i", "digits.npy"]
COMMAND += ["--rows", "0:100", "-o", "o.h5"]


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch, samples):
    monkeypatch.chdir(tmp_path)
    sample_folder(samples)


def written(**options):
    """Extract in passes; return the reports."""
    return list(layerprobe.extract_passes(*GIVEN, "o.h5", **HOW | options))


def test_each_dump_is_that_of_its_layers_alone():
    """Byte for byte; together they hold what one dump would."""
    reports = written(max_disk=100 * (4096 + 384) - 1)
    assert [[d.address for d in report.datasets] for report in reports] == [
        ["conv1"], ["norm1"], ["flat", "logits"]
    ]  # fmt: skip
    assert [report.disk_pass for report in reports] == [(1, 3), (2, 3), (3, 3)]
    for number, layers in enumerate((["conv1"], ["norm1"], ["flat", "logits"]), 1):
        layerprobe.extract(
            "cnn.h5", layers, "digits.npy", "alone.h5", rows=(0, 100), overwrite=True
        )
        for ending in ("", ".json"):
            name = f"o-pass-{number}-of-3.h5{ending}"
            assert Path(name).read_bytes() == Path(f"alone.h5{ending}").read_bytes()
        assert layerprobe.verify(f"o-pass-{number}-of-3.h5").rows == 100
    layerprobe.extract(*GIVEN, "one.h5", rows=(0, 100))
    with h5py.File("one.h5") as one, h5py.File("o-pass-2-of-3.h5") as part:
        np.testing.assert_array_equal(part["norm1"], one["norm1"])


def test_one_dump_keeps_its_name():
    """Where all layers fit: also with a byte none to spare."""
    (report,) = written(max_disk=100 * (2 * 4096 + 384 + 40))
    assert (str(report.path), report.disk_pass) == ("o.h5", None)
    assert report.to_json()["pass"] is None
    again = layerprobe.extract(*GIVEN, "p.h5", **HOW | {"max_disk": 10**9}, pass_number=1)
    assert Path("p.h5").read_bytes() == Path("o.h5").read_bytes()
    assert str(again.path) == "p.h5"


def test_the_next_is_begun_when_it_is_asked_for():
    """So a caller may move the last one away before."""
    reports = layerprobe.extract_passes(*GIVEN, "o.h5", **HOW)
    assert next(reports).path.name == NAMES[0]
    assert "o-pass-2" not in " ".join(files(Path()))
    Path(NAMES[0]).rename("away.h5")
    assert next(reports).path.name == NAMES[1]
    assert next(reports, None) is None
    assert not Path(NAMES[0]).exists()


def test_a_single_pass():
    """By its number, with either function; extract() alone writes one dump, and says so."""
    report = layerprobe.extract(*GIVEN, "o.h5", **HOW, pass_number=2)
    assert (report.path.name, report.disk_pass) == (NAMES[1], (2, 2))
    assert not Path(NAMES[0]).exists()
    (first,) = written(pass_number=1)
    assert first.to_json()["pass"] == [1, 2]
    with pytest.raises(
        OutputError, match=r"The layers make 2 dumps of at most 452\.0 kB"
    ) as several:
        layerprobe.extract(*GIVEN, "o.h5", **HOW)
    assert "Call extract_passes(), or give pass_number, from 1 to 2." in str(several.value)
    with pytest.raises(OutputError, match="Pass 3 was asked for; the layers make 2 dumps") as none:
        written(pass_number=3)
    assert (several.value.exit_code, none.value.exit_code) == (2, 2)
    for wrong in ({"pass_number": 1}, {"pass_number": 0, "max_disk": 9}):
        with pytest.raises(DataError, match="was asked for"):
            Options(**wrong)


def test_a_layer_that_is_too_large_alone(capfd):
    """Its bytes, and what makes it smaller; exit code 2 before anything is written."""
    message = refused(capfd, *COMMAND, "--max-disk", "400K", code=2)
    assert "conv1 takes 409,600 bytes for 100 rows" in message
    assert "at most the 400,000 bytes of --max-disk" in message
    assert all(option in message for option in ("--shard", "--rows", "--reduce", "--dtype"))


def test_values_and_their_places_stay_together():
    """Of --topk and --mc-samples a layer has two datasets, which one dump holds."""
    size = 100 * 2 * 2 * 4 * 64
    given = ["cnn.h5", ["conv1", "norm1"], "digits.npy", "o"]
    how = {"rows": (0, 100), "topk": 2, "max_disk": size}
    reports = list(layerprobe.extract_passes(*given, **how))
    assert [[d.address for d in r.datasets] for r in reports] == [
        ["conv1:values", "conv1:indices"], ["norm1:values", "norm1:indices"]
    ]  # fmt: skip
    assert files(Path("o-pass-2-of-2"))[0] == "manifest.json"


@pytest.mark.parametrize("number", [1, 2, 3])
def test_shards_are_divided_alike(number):
    """As the largest of them; the shard's mark is the last, so that merge has the pass' name."""
    # 100 rows in batches of 32 make 4: the shards have 1, 1 and 2 of them, or 36 at most.
    options = {"rows": (0, 100), "shard": f"{number}/3", "max_disk": 64 * (4096 + 384 + 40)}
    reports = list(layerprobe.extract_passes(*GIVEN, "o.h5", **options))
    assert [r.path.name for r in reports] == [f"o-pass-{at}-of-2-{number}-of-3.h5" for at in (1, 2)]


def test_shards_of_a_pass_are_merged():
    """Into the pass without shards."""
    parts = [
        layerprobe.extract(*GIVEN, "o.h5", **HOW, shard=(number, 2), pass_number=1).path
        for number in (1, 2)
    ]
    assert [part.name for part in parts] == [f"o-pass-1-of-2-{n}-of-2.h5" for n in (1, 2)]
    assert layerprobe.merge(parts, "merged.h5").rows == 100
    written(pass_number=1)
    with h5py.File("merged.h5") as merged, h5py.File(NAMES[0]) as one:
        assert list(merged) == list(one) == ["conv1"]
        np.testing.assert_array_equal(merged["conv1"], one["conv1"])


def test_the_size_of_the_largest_shard():
    """Compared with all shards, one by one."""
    chance = np.random.default_rng(3)
    for _ in range(200):
        rows, size = (int(n) for n in chance.integers((1, 1), (400, 40)))
        of = int(chance.integers(1, -(-rows // size) + 1))
        parts = [shard_rows((7, 7 + rows), size, (number, of)) for number in range(1, of + 1)]
        assert shard_size((7, 7 + rows), size, (1, of)) == max(b - a for a, b in parts)


def test_an_unfinished_pass_is_gone_on_with():
    """--resume leaves what is complete, goes on with what is begun, and writes the rest."""

    def interrupt(done, _):
        if Path(NAMES[0]).exists() and done >= 64:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as stopped:
        written(progress=interrupt)
    notes = " ".join(stopped.value.__notes__)
    assert f"layerprobe resume {NAMES[1]}" in notes
    assert f"Complete: {NAMES[0]}. Not complete: pass 2 of 2; --pass 2" in notes
    with pytest.raises(OutputError, match="exists already"):
        written()
    first, second = written(resume=True)
    assert (first.was_complete, second.was_complete) == (True, False)
    held = content()
    for name in NAMES:
        for ending in ("", ".json"):
            Path(f"{name}{ending}").unlink()
    written()
    assert content() == held
    Path(NAMES[1]).unlink()
    Path(f"{NAMES[1]}.json").unlink()
    assert [r.was_complete for r in written(resume=True)] == [True, False]
    with pytest.raises(OutputError, match="nothing of") as nothing:
        list(layerprobe.extract_passes(*GIVEN, "p.h5", **HOW, resume=True))
    assert nothing.value.exit_code == 66


def test_a_journal_of_a_pass_needs_nothing_of_the_others():
    """`layerprobe resume` goes on with it alone."""

    def interrupt(done, _):
        if done >= 64:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        written(progress=interrupt, pass_number=2)
    assert layerprobe.resume(NAMES[1]).rows == 100
    assert not Path(NAMES[0]).exists()


def test_a_disk_without_room_for_the_next(capfd, monkeypatch):
    """Exit code 74, what is complete, and what to type; the command goes on from there."""
    real = pipeline.Output.check_room

    def full(target, datasets, options):
        real(target, datasets, options)
        if target.path.name == NAMES[1]:
            raise OutputError("There is no room.", errno=errno.ENOSPC)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline.Output, "check_room", full)
        done = typed(capfd, *COMMAND, "--max-disk", HOW["max_disk"])
    assert done.code == 74
    assert f"to {NAMES[0]} (" in done.stdout
    assert f"Complete: {NAMES[0]}. Not complete: pass 2 of 2;" in done.stderr
    line = next(line for line in done.stderr.splitlines() if "go on with: layerprobe" in line)
    again = line.partition("layerprobe ")[2].split()
    assert again[-2:] == ["--pass", "2"]
    Path(NAMES[0]).unlink()
    assert typed(capfd, *again).code == 0
    assert Path(NAMES[1]).exists()
    assert not Path(NAMES[0]).exists()


def test_what_the_command_says(capfd):
    """A dry run lists the dumps; each is told when it is complete, or all in one JSON object."""
    limit = ["--max-disk", HOW["max_disk"]]
    before = files(Path())
    dry = typed(capfd, *COMMAND, *limit, "--dry-run", "--phase", "train")
    assert dry.stderr.count("note: training phase") == 1
    assert dry.code == 0
    assert f"would write 100 rows, 409.6 kB to {NAMES[0]} " in dry.stdout
    assert f"would write 100 rows, 452.0 kB to {NAMES[1]} " in dry.stdout
    assert files(Path()) == before
    told = json.loads(typed(capfd, *COMMAND, *limit, "--dry-run", "--json").stdout)
    assert [one["pass"] for one in told["passes"]] == [[1, 2], [2, 2]]
    done = typed(capfd, *COMMAND, *limit)
    assert [line.split(" to ")[1].split()[0] for line in done.stdout.splitlines()
            if line.startswith("wrote")] == NAMES  # fmt: skip
    assert "plan: pass 2 of 2: layers that one dump has room for" in done.stderr
    one = json.loads(typed(capfd, *COMMAND, *limit, "--pass", 1, "--overwrite", "--json").stdout)
    assert (one["path"], one["pass"]) == (NAMES[0], [1, 2])


def test_what_cannot_be_divided(capfd, monkeypatch):
    """A stream that is read once, and standard output."""
    with Path("digits.npy").open() as stream:
        monkeypatch.setattr("sys.stdin", stream)
        given = ["extract", "cnn.h5", "-l", "flat", "-i", "-", "--max-disk", "1G"]
        message = refused(capfd, *given, code=2)
    assert "standard input cannot be read for one dump after another" in message
    with pytest.raises(OutputError, match="--max-disk has no meaning for standard output"):
        layerprobe.extract("cnn.h5", "flat", "digits.npy", io.BytesIO(), max_disk=10**9)
    assert "is no size" in refused(capfd, *COMMAND, "--max-disk", "much", code=2)


def test_a_name_that_is_taken_is_told_before_the_first_pass():
    """Not after hours of work."""
    Path(NAMES[1]).write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"2-of-2\.h5 exists already"):
        written()
    assert not Path(NAMES[0]).exists()
