"""The work in a process of its own: its limits, its end however that comes, what it leaves behind.

Most of it is seen without an engine, on the worker itself; what belongs to the command runs there.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from command import COMMAND, environment, files, shell, worker_of

APART = """
import os, re, signal, sys, time
from layerprobe.confinement.worker import Limits, go_on_apart, loaded
limits = Limits(memory=400_000_000, load_seconds=0.7)
go_on_apart(limits, home=True, say=lambda told: print(told, file=sys.stderr))
"""
HANG = "re.match('(a+)+$', 'a' * 60 + 'b')"  # in C, where no other thread of Python runs


def started(work, tmp_path):
    """Start some work apart; its private folder is to be in `tmp_path`."""
    return subprocess.Popen(
        [sys.executable, "-c", APART + work],
        env=environment(TMPDIR=str(tmp_path)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


ENDS = {
    "a hang": (HANG, 70, "The model was not loaded within 0.7 seconds.", "--load-timeout"),
    "memory": (
        "loaded()\nheld = []\nwhile len(held) < 9: held.append(b'1' * 100_000_000)\ntime.sleep(60)",
        70,
        "MB of memory and was stopped.",
        "Expected: at most 400.0 MB.",
    ),
    "a crash": ("import ctypes\nctypes.string_at(0)", 70, "The engine crashed (SIGSEGV)", "memory"),
    "the system's killer": ("os.kill(os.getpid(), signal.SIGKILL)", 70, "was killed from outside",
                            "--batch-size"),
    "an exit code": ("sys.exit(65)", 65, "", ""),
    "an end": ("loaded()\nloaded()\ntime.sleep(1)", 0, "", ""),
    "a signal": ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM, "", ""),
    "files of its own": ("open(os.environ['TMPDIR'] + '/x', 'w').close()", 0, "", ""),
    "a home of its own": ("open(os.path.expanduser('~/x'), 'w').close()", 0, "", ""),
}  # fmt: skip


@pytest.mark.parametrize("end", ENDS)
def test_how_work_ends(tmp_path, end):
    """Limits, crashes and exits get the right code and words; nothing of the run stays."""
    work, code, what, fix = ENDS[end]
    with started(work, tmp_path) as process:
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (code, "")
    assert what in stderr
    assert fix in stderr
    assert bool(what) == bool(stderr)
    assert len(stderr.splitlines()) <= 5
    assert files(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_signals_reach_the_work(tmp_path, number):
    """A signal for the process that was started is one for the work."""
    handler = "signal.signal({}, lambda *_: sys.exit(9))\nloaded()\nprint(flush=True)\n"
    with started(handler.format(int(number)) + "time.sleep(60)", tmp_path) as process:
        process.stdout.readline()
        process.send_signal(number)
        assert process.wait(60) == 9
    assert files(tmp_path) == []


def test_the_work_does_not_outlive_its_watcher(tmp_path):
    """Kill -9 on what the user started ends the work as well."""
    with started("loaded()\nprint(os.getpid(), flush=True)\ntime.sleep(60)", tmp_path) as process:
        worker = int(process.stdout.readline())
        assert worker == worker_of(process)
        process.kill()
        process.wait(60)
        deadline = time.monotonic() + 10
        with suppress(ProcessLookupError):
            while time.monotonic() < deadline:
                os.kill(worker, 0)
                time.sleep(0.02)
        assert time.monotonic() < deadline


def test_a_key_on_the_terminal_is_heard_once(tmp_path):
    """What the terminal sends to all of them is not passed on a second time."""
    code = APART + (
        "heard = []\nsignal.signal(signal.SIGINT, lambda *_: heard.append(1))\nloaded()\n"
        "print('ready', flush=True)\ntime.sleep(1)\ntime.sleep(0.5)\nprint('heard', len(heard))"
    )
    primary, terminal = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment(TMPDIR=str(tmp_path)),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        preexec_fn=_take_terminal,  # noqa: PLW1509 - these tests have one thread
    ) as process:
        os.close(terminal)
        shown = ""
        with suppress(OSError):  # Linux's way to say that the other end has closed
            while piece := os.read(primary, 999).decode():
                if "ready" in piece:
                    os.write(primary, b"\x03")
                shown += piece
        assert process.wait(60) == 0
    os.close(primary)
    assert "heard 1" in shown


def _take_terminal():
    os.close(os.open(os.ttyname(0), os.O_RDWR))


@pytest.fixture
def hanging(tmp_path):
    """Return a user's file of classes that never ends."""
    path = tmp_path / "classes.py"
    path.write_text(f"import re\n{HANG}\n")
    return path


def test_a_model_that_does_not_end_loading(tmp_path, samples, hanging):
    """--load-timeout ends the command with a message, and without an output."""
    given = ["-l", "3", "-o", "o.h5", "--custom-objects", hanging, "--load-timeout", "1"]
    done = shell("extract", samples / "digits_cnn.keras", *given, cwd=tmp_path)
    assert (done.code, done.stdout) == (70, "")
    assert done.stderr.splitlines()[0] == ("layerprobe: The model was not loaded within 1 seconds.")
    assert files(tmp_path) == ["classes.py"]


WRONG = [
    (["--max-memory", "much"], "'much' is no size, such as 8G or 500M"),
    (["--max-memory", "0"], "'0' is no size"),
    (["--load-timeout", "-1"], "-1 is no number of seconds above 0"),
    (["--load-timeout", "nan"], "nan is no number of seconds above 0"),
]


@pytest.mark.parametrize(("options", "what"), WRONG)
def test_limits_that_are_none(tmp_path, samples, options, what):
    """A size or a time that cannot be one is a usage error."""
    given = ["-l", "3", "-o", "o.h5", *options]
    done = shell("extract", samples / "digits_cnn.keras", *given, cwd=tmp_path)
    assert (done.code, done.stdout) == (2, "")
    assert what in done.stderr


@pytest.mark.parametrize("command", ["train", "convert"])
def test_other_commands_are_limited_too(tmp_path, samples, command):
    """Training and converting run in such a process as well: their memory is watched."""
    model, data = samples / "digits_cnn.h5", samples / "data" / "digits.npy"
    train = ["--to", "logits", "--loss-expr", "mean(output**2)", "-i", data, "-o", "new.keras"]
    given = train if command == "train" else ["new.keras"]
    done = shell(command, model, *given, "--max-memory", "30M", cwd=tmp_path)
    assert (done.code, done.stdout) == (70, "")
    assert "of memory and was stopped." in done.stderr
    assert "Expected: at most 30.0 MB." in done.stderr
    assert files(tmp_path) == []


def test_a_broken_home_does_not_matter(tmp_path, samples):
    """Keras' file of settings in the home folder is not read, nor is a home folder needed."""
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras" / "keras.json").write_text('{"floatx": "float16", "backend": [}')
    given = [samples / "digits_cnn.keras", "-l", "3", "-o", "o.h5"]
    done = shell("extract", *given, cwd=tmp_path, HOME=str(tmp_path))
    assert done.code == 0, done
    assert "float32" in done.stdout
    gone = environment()
    gone.pop("HOME", None)
    command = [*COMMAND, "extract", *map(str, given), "--overwrite"]
    assert subprocess.run(command, cwd=tmp_path, env=gone, check=False).returncode == 0
    assert not list(Path(tmp_path).glob("layerprobe-*"))
