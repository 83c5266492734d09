"""`layerprobe merge`: parts become the dump of a single run, or it is said why they cannot."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path

import faults
import numpy as np
import pytest
from command import refused, typed
from sharded import GIVEN, HOW, edited, folder_with_nan, parts, raw, same_as_one_run, small_pieces

import layerprobe
from layerprobe.errors import DataError, OutputError
from layerprobe.sinks import unfinished

RUN = ("extract", "cnn.h5", "-l", "conv1", "-l", "flat", "-i", "x.npy", "-b", 10, "--rows", "5:48")


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch, samples):
    monkeypatch.chdir(tmp_path)
    folder_with_nan(samples)


@pytest.fixture
def _small_pieces(monkeypatch):
    small_pieces(monkeypatch)


@pytest.mark.parametrize(
    "kinds", [("p.h5", "all.h5"), ("p", "all"), ("p.h5", "all"), ("p", "a.h5")]
)
@pytest.mark.parametrize("count", [1, 3, 4])
def test_merged_parts_are_a_single_run(kinds, count):
    """In any order, from any kind to any kind: values, sums, counts of NaN, manifest."""
    made = parts(count, kinds[0])
    report = layerprobe.merge(made, kinds[1])
    assert (report.rows, report.was_complete, report.engine) == (43, False, "tensorflow")
    assert report.nan_in_inputs == {"images": 2}
    assert report.nonfinite["conv1"].nan > 2 * 16
    borders = {1: [5, 48], 3: [5, 15, 35, 48], 4: [5, 15, 25, 35, 48]}[count]
    listed = same_as_one_run(kinds[1])
    assert [part["rows"] for part in listed] == [list(p) for p in pairwise(borders)]
    for part in made:
        _, told = raw(part)
        (entry,) = [one for one in listed if one["rows"] == told["rows"]]
        assert entry["xxh3_128_of_rows"] == [told["inputs"][0]["xxh3_128_of_rows"]]
    assert layerprobe.verify(kinds[1]).faults == ()
    assert layerprobe.recompute(kinds[1], 9).worst[1] < 1e-5
    assert layerprobe.show(kinds[1]).about["row_range"] == [5, 48]
    if kinds == ("p", "all"):
        layerprobe.extract(*GIVEN, "one", **HOW)
        for name in ("conv1.npy", "flat.npy"):
            assert Path("all", name).read_bytes() == Path("one", name).read_bytes()


def test_the_command(capfd):
    """What a job array does: one command, another number; then one merge of all."""
    for number in (1, 2, 3):
        assert typed(capfd, *RUN, "-o", "o.h5", "--shard", f"{number}/3").code == 0
    given = ("merge", "o-3-of-3.h5", "o-1-of-3.h5", "o-2-of-3.h5", "-o", "o.h5")
    done = typed(capfd, *given)
    assert (done.code, "wrote 43 rows" in done.stdout) == (0, True), done
    assert "warning: NaN values in the rows for images: 2" in done.stderr
    same_as_one_run("o.h5")
    assert "o.h5 exists already" in refused(capfd, *given, code=2)
    assert json.loads(typed(capfd, *given, "--overwrite", "--json").stdout)["rows"] == 43
    assert "is complete already" in typed(capfd, *given, "--resume").stdout
    assert typed(capfd, "verify", "o.h5", "--recompute", 5).code == 0
    one = typed(capfd, *RUN, "-o", "o.h5", "--resume")
    assert "o.h5 is complete already" in one.stdout


@pytest.mark.usefixtures("_small_pieces")
@pytest.mark.parametrize("output", ["all.h5", "all"])
def test_pieces_smaller_than_parts(output):
    """Sums, pieces and what is made safe at once have borders of their own; all of them hold."""
    made = parts(3)
    assert len(raw(made[0])[1]["datasets"][0]["crc32_marks"].split()) >= 2
    layerprobe.merge(made, output)
    same_as_one_run(output)


@pytest.mark.usefixtures("_small_pieces")
@pytest.mark.parametrize("output", ["all.h5", "all"])
@pytest.mark.parametrize("way", ["resume", "option", "command"])
def test_an_interrupted_merge_goes_on(capfd, output, way):
    """From any row, also within a part and within a range that has one sum."""
    made = parts(3)
    for stop in (2, 13, 29, 42):

        def interrupt(done, _, stop=stop):
            if done >= stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt) as stopped:
            layerprobe.merge(made, output, progress=interrupt)
        (note,) = stopped.value.__notes__
        assert f" of 43 rows are safe. Go on with: layerprobe resume {output}" in note
        found = layerprobe.show(output)
        assert (found.state, found.rows, found.safe >= stop) == ("unfinished", 43, True)
        if stop == 2:
            with pytest.raises(OutputError, match="was begun already"):
                layerprobe.merge(made, output)
            with pytest.raises(OutputError, match="nothing of other"):
                layerprobe.merge(made, "other.h5", resume=True)
        if way == "resume":
            assert layerprobe.resume(f"{output}.partial").rows == 43
        elif way == "option":
            assert layerprobe.merge(made[::-1], output, resume=True).rows == 43
        else:
            assert typed(capfd, "resume", output).code == 0
        same_as_one_run(output)
        for path in Path().glob("all*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.usefixtures("_small_pieces")
@pytest.mark.parametrize("output", ["all.h5", "all"])
def test_a_killed_merge_goes_on(tmp_path, output):
    """Killed at any change to the disk: the end is the same, and the parts are as they were."""
    made = [path.absolute() for path in parts(3)]
    before = {path: path.read_bytes() for path in made}
    place = tmp_path / "there"
    place.mkdir()
    with faults.Disk(place, faults.plainly) as disk:
        layerprobe.merge(made, place / output)
    wanted, steps = faults.content(place), len(disk.steps)
    assert steps > 40
    resumed = 0
    for step in range(0, steps, 3):
        faults.fresh(place)

        def work(step=step):
            with faults.Disk(place, faults.killer(step, "within")):
                layerprobe.merge(made, place / output)

        assert faults.in_child(work) == -9
        if not (place / output).exists():
            begun = unfinished(place / output) is not None
            layerprobe.merge(made, place / output, resume=begun)
            resumed += begun
        else:
            layerprobe.merge(made, place / output, overwrite=True)
        assert faults.content(place) == wanted
    assert resumed > 5
    assert {path: path.read_bytes() for path in made} == before


def test_an_interrupted_part_is_gone_on_with(capfd):
    """Until it is complete it is no part: the message has the command that goes on with it."""
    made = parts(3)
    wanted = {path: path.read_bytes() for path in made}
    for path in Path().glob("part-2-of-3*"):
        path.unlink()

    def interrupt(done, _):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        layerprobe.extract(*GIVEN, "part.h5", **HOW, shard="2/3", progress=interrupt)
    for name in ("part-2-of-3.h5", "part-2-of-3.h5.partial"):
        given = ("merge", name, "part-1-of-3.h5", "part-3-of-3.h5", "-o", "all.h5")
        message = refused(capfd, *given, code=65)
        assert "part-2-of-3.h5 is not finished: " in message
        assert "Go on with: layerprobe resume part-2-of-3.h5" in message
    layerprobe.resume("part-2-of-3.h5")
    assert {path: path.read_bytes() for path in made} == wanted
    layerprobe.merge(made, "all.h5")
    same_as_one_run("all.h5")


def test_where_a_part_was_made_does_not_matter():
    """Paths of model and data, and the number of a GPU, may differ from machine to machine."""
    made = parts(2, "part")
    for number in (1, 2):
        edited(f"part-{number}-of-2", lambda told: told.update(device="gpu:0"))
    edited("part-2-of-2", lambda told: told.update(device="gpu:1"))
    edited("part-2-of-2", lambda told: told["model"].update(path="/scratch/m.h5"))
    edited("part-2-of-2", lambda told: told["inputs"][0].update(location="/scratch/x.npy"))
    assert layerprobe.merge(made, "all.h5").device == "gpu:0"
    assert raw("all.h5")[1]["model"]["path"] == "cnn.h5"


def test_ranges_of_rows_are_joined_where_batches_end(capfd):
    """Dumps made with `--rows` are parts as well; a gap, an overlap, half a batch are refused."""

    def made(start, stop):
        name = f"{start}-{stop}.h5"
        report = layerprobe.extract(*GIVEN, name, batch_size=10, rows=(start, stop))
        return report.path

    ranges = [made(5, 25), made(25, 35), made(35, 48)]
    layerprobe.merge(ranges[::-1], "all.h5")
    same_as_one_run("all.h5")
    layerprobe.merge(ranges[:2], "some.h5")
    layerprobe.merge(["some.h5", ranges[2]], "again.h5")
    assert same_as_one_run("again.h5") == raw("all.h5")[1]["parts"]
    assert layerprobe.recompute("again.h5", 5).worst[1] < 1e-5
    refuse = lambda *given: refused(capfd, "merge", *given, "-o", "o.h5", code=65)  # noqa: E731
    message = refuse(ranges[0], ranges[2])
    assert "There is a gap between 5-25.h5, which ends before row 25, and 35-48.h5" in message
    assert "Rows are both in 5-25.h5" in refuse(ranges[0], made(15, 48))
    assert "within a batch of one run from row 5 on" in refuse(made(5, 20), made(20, 40))


def test_made_up_rows_and_names_of_rows(tmp_path):
    """Rows that are on no disk are known by their hash, part by part; names are joined."""
    layerprobe.extract("cnn.h5", "flat", None, "made.h5", batch_size=8)
    shards = [
        layerprobe.extract("cnn.h5", "flat", None, "m.h5", batch_size=8, shard=(n, 3)).path
        for n in (1, 2, 3)
    ]
    layerprobe.merge(shards, "merged.h5")
    assert layerprobe.recompute("merged.h5", 5).worst[1] < 1e-5
    same_as_one_run("merged.h5", "made.h5")
    names = [f"name {number}" for number in range(30)]
    table = np.load("places.npy")[:30]
    lines = [f"{n},{','.join(map(str, row))}\n" for n, row in zip(names, table, strict=True)]
    Path("t.csv").write_text("who," + ",".join("abcdefghijklmnop") + "\n" + "".join(lines))
    given = ["places.keras", "lstm", "t.csv"]
    how = {"batch_size": 4, "id_column": "who", "rows": (3, 30)}
    layerprobe.extract(*given, "t.h5", **how)
    shards = [layerprobe.extract(*given, "s.h5", **how, shard=(n, 4)).path for n in (4, 3, 2, 1)]
    layerprobe.merge(shards, tmp_path / "named.h5")
    same_as_one_run("named.h5", "t.h5")
    with layerprobe.open_dump("named.h5") as dump:
        assert dump.row_ids == tuple(names[3:])


def test_parts_that_change_meanwhile():
    """A part that is replaced after it was looked at, and an unfinished merge of other parts."""
    made = parts(3, "part")

    def replaced(done, _):
        if done >= 10:
            edited("part-3-of-3", lambda told: told["notes"].append("another"))

    with pytest.raises(DataError, match="part-3-of-3 was replaced meanwhile"):
        layerprobe.merge(made, "all.h5", progress=replaced)
    other = np.load("x.npy") + 1
    np.save("x.npy", other)
    shutil.rmtree("part-1-of-3")
    layerprobe.extract(*GIVEN, "part", **HOW, shard="1/3")
    with pytest.raises(OutputError, match="begun with another ") as refused_to:
        layerprobe.merge(made, "all.h5", resume=True)
    assert refused_to.value.exit_code == 65
    with pytest.raises(DataError, match="No dumps"):
        layerprobe.merge([], "none.h5")
