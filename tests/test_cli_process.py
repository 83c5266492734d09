"""`extract` as a process: its streams, its terminal, its signals, its engines."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from command import COMMAND, environment, files, shell, without_plan, worker_of
from recompute import numpy_digits_cnn

import layerprobe


@pytest.fixture
def many_rows(samples, tmp_path):
    """Return the path of 60,000 rows for the sample CNN, seconds of work."""
    return _repeated(samples, tmp_path / "many.npy", 100)


@pytest.fixture
def some_rows(samples, tmp_path):
    """Return the path of 27,000 rows: seconds of work in batches of 4."""
    return _repeated(samples, tmp_path / "some.npy", 45)


def _repeated(samples, path, times):
    np.save(path, np.tile(np.load(samples / "data" / "digits.npy"), (times, 1, 1, 1)))
    return path


def test_one_word_is_enough(samples, tmp_path):
    """Without data and output it makes up rows, says so, and writes MODEL-activations.h5 here."""
    done = shell("extract", samples / "digits_cnn.keras", "--layer", "3", cwd=tmp_path)
    assert done.code == 0
    assert done.said == (
        "note: no --input given: 32 rows made up from the model's input specification\n"
    )
    first, last, _ = done.stdout.splitlines()
    assert first == "pool1  32 x 4 x 4 x 16  float32"
    assert last.startswith("wrote 32 rows, 32.8 kB to digits_cnn-activations.h5 (")
    assert files(tmp_path) == ["digits_cnn-activations.h5", "digits_cnn-activations.h5.json"]
    with h5py.File(tmp_path / "digits_cnn-activations.h5") as file:
        assert list(file) == ["pool1"]
        assert file["pool1"].shape == (32, 4, 4, 16)


@pytest.mark.parametrize("engine", ["jax", "torch"])
def test_the_other_engines(samples, tmp_path, engine):
    """`--backend` alone chooses the engine, whatever the environment says, on an odd batch size."""
    arguments = ["-l", "pool2", "-l", "logits", "-i", samples / "data" / "digits.npy", "-b", "41"]
    done = shell(
        *["extract", samples / "digits_cnn.h5", *arguments, "-o", "o.h5", "--device", "cpu"],
        *["--backend", engine],
        cwd=tmp_path,
        KERAS_BACKEND="tensorflow",
    )
    assert (done.code, done.said) == (0, "")
    assert f", {engine} on cpu)" in done.stdout
    wanted = numpy_digits_cnn(samples / "digits_cnn.h5", np.load(samples / "data" / "digits.npy"))
    with layerprobe.open_dump(tmp_path / "o.h5") as dump:
        assert dump.manifest["engine"] == engine
        for name in ("pool2", "logits"):
            np.testing.assert_allclose(dump[name], wanted[name], rtol=1e-4, atol=1e-5)


def test_a_terminal_shows_progress(samples, tmp_path, many_rows):
    """On a terminal stderr shows rows, rows a second and the time left; stdout stays clean."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 30, 110, 0, 0))
    arguments = ["extract", samples / "digits_cnn.h5", "-l", "digit", "-i", many_rows, "-o", "o"]
    env = environment(NO_COLOR="1", TERM="xterm-256color")
    with subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        cwd=tmp_path,
        env=env,
        stdout=subprocess.PIPE,
        stderr=slave,
    ) as process:
        os.close(slave)
        shown = _read_all(master)
        stdout = process.stdout.read().decode()
        assert process.wait(60) == 0
    os.close(master)
    assert shown.startswith("loading the engine and the model")
    assert re.search(r"[\d,]+ of 60,000 rows, [\d,]+ rows/s 0:00:\d\d left", shown)
    assert not re.search(r"\x1b\[[0-9;]*[34][0-9]", shown), "colours in spite of NO_COLOR"
    # What the bar drew is gone at the end: the line erased, the cursor shown again.
    assert shown.rindex("\x1b[2K") > shown.rindex("left")
    assert shown.rindex("\x1b[?25h") > shown.rindex("left")
    assert stdout.splitlines()[0] == "digit  60000 x 10  float32"
    assert len(stdout.splitlines()) == 3
    assert "plan: to write: 60,000 rows, 2.4 MB to o\r\n" in shown


def _read_all(master):
    shown = b""
    while True:
        try:
            chunk = os.read(master, 65536)
        except OSError:  # Linux's way to say that the other end has closed
            chunk = b""
        if not chunk:
            return shown.decode()
        shown += chunk


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_stops_after_the_batch_and_resume_goes_on(
    samples, tmp_path, some_rows, name, code
):
    """The rows so far are safe, an older dump stays, and one short command does the rest."""
    layerprobe.extract(
        samples / "digits_cnn.h5", "conv1", some_rows, tmp_path / "o.h5", rows=(0, 9)
    )
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    given = ["extract", samples / "digits_cnn.h5", "-l", "features", "-i", "some.npy", "-o", "o.h5"]
    with _started(*given, "--overwrite", "-b", 4, cwd=tmp_path) as process:
        _wait_for(lambda: process.poll() is not None or (tmp_path / "o.h5.journal").exists())
        process.send_signal(getattr(signal, name))
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (code, "")
    found = re.fullmatch(
        r"layerprobe: interrupted; ([\d,]+) of 27,000 rows are safe\. "
        r"Go on with: layerprobe resume o\.h5\n",
        without_plan(stderr),
    )
    assert found, stderr
    assert int(found[1].replace(",", "")) % 4 == 0
    assert {path: (tmp_path / path).read_bytes() for path in before} == before
    done = shell("resume", tmp_path / "o.h5", cwd=samples)
    assert (done.code, done.said) == (0, "")
    with layerprobe.open_dump(tmp_path / "o.h5") as dump:
        assert dump["features"].shape[0] == 27_000
        np.testing.assert_array_equal(dump["features"][:600], dump["features"][-600:])
    assert len(files(tmp_path)) == len(before)
    assert "is complete already" in shell("resume", "o.h5", cwd=tmp_path).stdout


def test_a_second_interrupt_ends_at_once(samples, tmp_path, many_rows):
    """Whoever presses Ctrl-C twice does not want to wait; what was safe stays safe."""
    given = ["extract", samples / "digits_cnn.h5", "-l", "all", "-i", many_rows, "-o", "o"]
    with _started(*given, "-b", 30_000, cwd=tmp_path) as process:
        _wait_for((tmp_path / "o.journal").exists)
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("seconds", [0.5, 1.5])
def test_an_interrupt_while_an_engine_loads(samples, tmp_path, seconds):
    """Ctrl-C is never lost while frameworks are imported: the process ends at once, in order."""
    with _started("extract", samples / "digits_cnn.h5", "-l", "all", cwd=tmp_path) as process:
        _wait_for(lambda: b"libtensorflow" in _mapped(process))
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert (stdout, stderr) == ("", "layerprobe: interrupted; no output was written.\n")
    assert time.monotonic() - began < 10
    assert files(tmp_path) == []


def _hear_interrupts():
    """Undo what a shell, or nohup, does to jobs: they, and their children, ignore signals."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def _started(*arguments, cwd):
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        cwd=cwd,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_hear_interrupts,  # noqa: PLW1509 - these tests have one thread
    )


def _mapped(process):
    worker = worker_of(process)
    return Path(f"/proc/{worker}/maps").read_bytes() if worker else b""


def _wait_for(happened):
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_closed_streams_do_not_end_up_in_the_dump(samples, tmp_path):
    """With all three standard streams closed, as daemons have them, the dump is whole."""
    command = [*COMMAND, "extract", str(samples / "digits_cnn.h5"), "-l", "logits", "-o", "o"]
    line = '"$@" <&- >&- 2>&-'
    done = subprocess.run(
        ["sh", "-c", line, "sh", *command], cwd=tmp_path, env=environment(), check=False
    )
    assert done.returncode == 0
    assert files(tmp_path) == ["o", "o/logits.npy", "o/manifest.json"]
    assert np.load(tmp_path / "o" / "logits.npy").shape == (32, 10)


def test_a_missing_device_is_said_in_two_lines(samples, tmp_path):
    """What a framework prints while it looks for GPUs does not bury the message."""
    arguments = ["-l", "3", "--device", "gpu:99"]
    done = shell("extract", samples / "digits_cnn.h5", *arguments, cwd=tmp_path)
    assert (done.code, done.stdout) == (70, "")
    first, second = done.stderr.splitlines()
    assert first.startswith("layerprobe: There is no gpu:99: tensorflow sees ")
    assert second.startswith("Use --device cpu")
    assert files(tmp_path) == []
