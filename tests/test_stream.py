"""Rows that leave on standard output: one .npy, and nothing else."""

from __future__ import annotations

import errno
import io
import os
import pty
import subprocess
import threading

import numpy as np
import pytest
from command import COMMAND, environment, typed, without_plan
from dumps import ROWS, listed

import layerprobe
from layerprobe.errors import OutputError
from layerprobe.sinks import Dataset, StreamSink


@pytest.fixture
def given(samples):
    """Return a model, a layer and data."""
    return samples / "digits_cnn.h5", "flat", samples / "data" / "digits.npy"


@pytest.fixture
def expected(given, tmp_path):
    """Return the bytes of the same rows in a file."""
    layerprobe.extract(*given, tmp_path / "whole", batch_size=50)
    return (tmp_path / "whole" / "flat.npy").read_bytes()


def piped(*arguments, **options):
    """Start the command in a process of its own, its output in pipes."""
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        **options,
    )


class Slow(io.RawIOBase):
    """A stream that takes a few bytes at a time."""

    def __init__(self):
        self.taken = b""

    def writable(self):
        return True

    def write(self, data):
        self.taken += bytes(data[:1009])
        return min(len(data), 1009)


def test_a_stream_gets_what_a_file_would(given, expected):
    """The same bytes, however few a time they are taken; the stream stays open."""
    for stream in (io.BytesIO(), Slow()):
        report = layerprobe.extract(*given, stream, batch_size=50)
        taken = stream.taken if isinstance(stream, Slow) else stream.getvalue()
        assert (taken, stream.closed, report.rows) == (expected, False, 600)
        assert np.load(io.BytesIO(taken)).shape == (600, *report.datasets[0].shape[1:])


def test_nothing_else_is_on_standard_output(given, expected, tmp_path):
    """What other code prints, and the report, go to stderr."""
    (tmp_path / "own.py").write_text("import os\nprint('printed')\nos.write(1, b'written')\n")
    own = ["--custom-objects", tmp_path / "own.py", "--batch-size", 50]
    model, layer, data = given
    done = piped("extract", model, "-l", layer, "-i", data, "-o", "-", *own)
    out, err = done.communicate(timeout=120)
    assert (done.returncode, out) == (0, expected)
    for text in (b"printed", b"written", b"wrote 600 rows", b"to standard output ("):
        assert text in err


def test_a_reader_that_has_enough_is_no_error(given):
    """As in `| head -c 99`: exit code 141, and no words."""
    model, _, data = given
    done = piped("extract", model, "-l", "conv1", "-i", data, "-o", "-")
    assert done.stdout.read(99)[:6] == b"\x93NUMPY"
    done.stdout.close()
    assert (without_plan(done.stderr.read().decode()), done.wait(120)) == ("", 141)
    done.stderr.close()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["-l", "conv1"], "takes one array, and 2 were asked for: flat, conv1"),
        (["--topk", "2"], "2 were asked for: flat:values, flat:indices"),
        (["--resume"], "--resume has no meaning"),
        (["--overwrite"], "--overwrite has no meaning"),
        (["--compress", "gzip"], "--compress has no meaning"),
    ],
)
def test_what_a_stream_cannot_take_is_a_usage_error(capfd, given, more, words):
    """More than one dataset, and options of outputs that have a name."""
    model, layer, data = given
    done = typed(capfd, "extract", model, "-l", layer, "-i", data, "-o", "-", *more)
    assert (done.code, done.stdout) == (2, "")
    assert words in done.stderr


def test_a_terminal_is_refused(given):
    """Nobody reads an .npy from a screen."""
    leader, follower = pty.openpty()
    with os.fdopen(follower, "wb", buffering=0) as screen, pytest.raises(OutputError) as refused:
        layerprobe.extract(*given, screen)
    os.close(leader)
    assert refused.value.exit_code == 2
    assert "is a terminal" in str(refused.value)


def test_a_dry_run_writes_nothing(given):
    """Not even the header."""
    stream = io.BytesIO()
    layerprobe.extract(*given, stream, dry_run=True)
    assert stream.getvalue() == b""


def test_an_interrupted_run_says_that_the_array_is_cut_short(given):
    """Its header promises more rows, so no reader takes it for whole."""

    def interrupt(done, _):
        if done >= 100:
            raise KeyboardInterrupt

    stream = io.BytesIO()
    with pytest.raises(KeyboardInterrupt) as stopped:
        layerprobe.extract(*given, stream, batch_size=50, progress=interrupt)
    assert stopped.value.__notes__[0].startswith("100 of 600 rows have left: the array")
    with pytest.raises(ValueError, match="expected 230400 bytes got 38400"):
        np.load(io.BytesIO(stream.getvalue()))


def sink_of(stream):
    """Return a sink of the rows of these tests."""
    return StreamSink(stream, [Dataset("a", ROWS.shape, ROWS.dtype)])


def test_a_pipe_that_does_not_wait_gets_all_rows():
    """Another process may have made it so: a full pipe is waited for."""
    rows = np.random.default_rng(0).random((100, 10_000))
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    found = []
    with os.fdopen(reading, "rb") as source:
        reader = threading.Thread(target=lambda: found.append(source.read()))
        reader.start()
        dataset = Dataset("a", rows.shape, rows.dtype)
        with (
            os.fdopen(writing, "wb", buffering=0) as stream,
            StreamSink(stream, [dataset]) as sink,
        ):
            sink.write(0, [rows])
            sink.commit(listed("a"))
        reader.join()
    np.testing.assert_array_equal(np.load(io.BytesIO(found[0])), rows)


def test_rows_that_do_not_fit_are_an_error_of_the_caller():
    """Out of order, too few, of another dtype: as of every sink."""
    for call in (
        lambda sink: sink.write(1, [ROWS[1:]]),
        lambda sink: sink.write(0, [ROWS.astype("f8")]),
        lambda sink: sink.commit({}),
    ):
        with sink_of(io.BytesIO()) as sink, pytest.raises(OutputError) as refused:
            call(sink)
        assert refused.value.exit_code == 70
        sink.abort()
    assert (sink.durable, sink.state) == (0, None)


def test_a_stream_that_fails_is_an_error_and_one_without_a_reader_is_its_own():
    """A full disk behind it: exit code 74 with the reason."""

    class Broken(io.RawIOBase):
        def write(self, _):
            raise OSError(number, os.strerror(number))

    number = errno.ENOSPC
    with pytest.raises(OutputError, match="Standard output cannot be written: No space") as failed:
        sink_of(Broken())
    assert failed.value.exit_code == 74
    number = errno.EPIPE
    with pytest.raises(BrokenPipeError):
        sink_of(Broken())
