"""What `merge` refuses: parts that are damaged, missing, strange or of something else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from command import checked, content, refused, typed
from sharded import GIVEN, HOW, edited, folder_with_nan, parts, raw, same_as_one_run, small_pieces

import layerprobe


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch, samples):
    monkeypatch.chdir(tmp_path)
    folder_with_nan(samples)


@pytest.fixture
def _small_pieces(monkeypatch):
    small_pieces(monkeypatch)


@pytest.mark.usefixtures("_small_pieces")
@pytest.mark.parametrize("kind", ["part.h5", "part"])
def test_a_damaged_part_is_named_and_nothing_of_it_called_safe(capfd, kind):
    """Rows before it are kept; when it is whole again, the merge goes on to the same end."""
    made = parts(3, kind)
    where = Path("part-2-of-3.h5") if kind == "part.h5" else Path("part-2-of-3", "flat.npy")
    whole = where.read_bytes()
    (arrays, _) = raw(where if kind == "part.h5" else where.parent)
    at = whole.find(arrays["flat"][13].tobytes())
    assert at > 0
    where.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
    before = content()
    done = typed(capfd, "merge", *made, "-o", "all")
    left = {n: held for n, held in content().items() if n not in before}
    message = checked(done, 65, before | left)
    assert "part-2-of-3" in message
    assert ("is damaged: rows " if kind == "part" else "cannot be read: ") in message
    safe = layerprobe.show("all").safe
    assert 10 <= safe <= 10 + 13
    assert f"{safe} of 43 rows are safe. Go on with: layerprobe resume all" in message
    where.write_bytes(whole)
    layerprobe.resume("all")
    same_as_one_run("all")


def test_a_sum_that_lies_is_found(capfd):
    """A manifest whose last sum is another than its rows' is no dump that was written so."""
    made = parts(3, "part")
    told = Path("part-2-of-3", "manifest.json")
    crc = raw("part-2-of-3")[1]["datasets"][1]["crc32"]
    told.write_text(told.read_text().replace(crc, f"{int(crc, 16) ^ 1:08x}"))
    done = typed(capfd, "merge", *made, "-o", "all.h5")
    assert (done.code, "part-2-of-3 is damaged" in done.stderr) == (65, True)


OTHERS = {
    "model.sha256": lambda told: told["model"].update(sha256="0" * 64),
    "options.topk": lambda told: told["options"].update(topk=3),
    "options.seed": lambda told: told["options"].pop("seed"),
    "layers": lambda told: told.update(layers=["conv1"]),
    "versions.keras": lambda told: told["versions"].update(keras="3.0.0"),
    "engine": lambda told: told.update(engine="jax"),
    "device": lambda told: told.update(device="gpu:0"),
    "inputs[0].bytes": lambda told: told["inputs"][0].update(bytes=1),
    "inputs[0].shape[0]": lambda told: told["inputs"][0]["shape"].__setitem__(0, 601),
    "inputs[0].dtype": lambda told: told["inputs"][0].update(dtype="float64"),
    "whole[1]": lambda told: told.update(whole=[5, 49]),
    "datasets[1].scale": lambda told: told["datasets"][1].update(scale=[0.5]),
}


@pytest.mark.parametrize("field", OTHERS)
def test_parts_of_other_extractions(capfd, field):
    """The field that differs is named, with both values; no framework and no row is needed."""
    made = parts(3, "part")
    edited("part-3-of-3", OTHERS[field])
    message = refused(capfd, "merge", *made, "-o", "all.h5", code=65)
    assert f"part-3-of-3 has another {field} than part-2-of-3: " in message
    assert "Expected: parts of one extraction: the same model" in message


def test_parts_that_are_missing_or_there_twice(capfd):
    """Which ones, by number; a part under another name, or by another path, is the same part."""
    one, two, three, four = sorted(map(str, parts(4)))
    refuse = lambda *given: refused(capfd, "merge", *given, "-o", "all.h5", code=65)  # noqa: E731
    message = refuse(four, one, two)
    assert "Part 3 of 4 is missing." in message
    assert "Compute it with the same command and --shard 3/4." in message
    assert "Part 1 of 4 is missing. 2 are missing in all." in refuse(two, four)
    assert f"Shard 1 of 4 is there twice: {one} and {one}" in refuse(one, two, three, four, one)
    shutil.copy(two, "copy.h5")
    assert f"Shard 2 of 4 is there twice: {two} and copy.h5" in refuse(one, two, "copy.h5", four)
    gone = refused(capfd, "merge", one, two, three, "part-5-of-4.h5", "-o", "all.h5", code=66)
    assert "There is no dump at part-5-of-4.h5" in gone
    other = [str(path) for path in parts(2, "two.h5")]
    assert "another number of shards than" in refuse(one, two, three, four, other[0])
    layerprobe.extract(*GIVEN, "plain.h5", **HOW)
    assert "another number of shards than" in refuse(one, two, three, four, "plain.h5")


def test_outputs_that_must_not_be_written(capfd):
    """A part, what is no dump, a folder that is missing; a part is never lost."""
    made = parts(2)
    message = refused(capfd, "merge", *made, "-o", made[0], "--overwrite", code=2)
    assert "is also one of the parts" in message
    Path("link.h5").symlink_to(made[0])
    refused(capfd, "merge", *made, "-o", "link.h5", "--overwrite", code=2)
    refused(capfd, "merge", *made, "-o", "x.npy", "--overwrite", code=2)
    refused(capfd, "merge", *made, "-o", "nowhere/all.h5", code=74)
    refused(capfd, "merge", *made, code=2)
    refused(capfd, "merge", "-o", "all.h5", code=2)


@pytest.mark.parametrize(
    "change",
    [
        lambda told: told.pop("inputs"),
        lambda told: told.update(inputs=5),
        lambda told: told.update(model="m"),
        lambda told: told.update(rows=[5, 6]),
        lambda told: told.update(rows="5:48"),
        lambda told: told.update(shard=[3, 2]),
        lambda told: told.update(shard=2),
        lambda told: told.update(options=None),
        lambda told: told["options"].update(batch_size=0),
        lambda told: told["datasets"][0].update(crc32="zz"),
    ],
)
def test_manifests_that_say_nonsense(capfd, change):
    """Whoever wrote them: exit code 65, the dump is named, nothing is left."""
    made = parts(2, "part")
    for path in made:
        edited(path, change)
    message = refused(capfd, "merge", *made, "-o", "all.h5", code=65)
    assert "part-" in message
