"""How many threads an engine takes: the user's number, its own default, and wrong numbers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from command import sample_folder, typed

from layerprobe.backend import engine as engines
from layerprobe.backend import threads
from layerprobe.errors import BackendError


@pytest.mark.parametrize("wrong", [0, -1, 1025, 10**12, 2.5, "2", True])
def test_a_wrong_number_is_a_usage_error(wrong):
    """Threads are a whole number from 1 to 1024; nothing is loaded to find that out."""
    with pytest.raises(BackendError, match="Expected: 1 to 1024") as refused:
        engines.select(threads=wrong)
    assert refused.value.exit_code == 2
    with pytest.raises(BackendError, match="Expected: 1 to 1024"):
        engines.check_choice(None, None, wrong)


@pytest.mark.parametrize("word", ["0", "-3", "two", "1.5", ""])
def test_a_wrong_number_ends_the_command_with_2(capfd, samples, tmp_path, monkeypatch, word):
    """`--threads` is checked before the model is opened."""
    monkeypatch.chdir(tmp_path)
    sample_folder(samples)
    done = typed(capfd, "extract", "nothing.h5", "-l", "conv1", "--threads", word)
    assert (done.code, done.stdout) == (2, "")
    assert "threads" in done.stderr


def test_cores_are_counted_once(tmp_path, monkeypatch):
    """CPUs that share a core are one core; only those the process may run on count."""
    for cpu, siblings in enumerate(["0,4", "1,5", "2,6", "3,7"] * 2):
        folder = tmp_path / f"cpu{cpu}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{siblings}\n")
    monkeypatch.setattr(threads, "_SYSTEM", tmp_path)
    for allowed, count in ((range(8), 4), ({0, 4}, 1), ({0, 1, 5}, 2), ({3}, 1)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, a=allowed: set(a), raising=False)
        assert threads.cores() == count
    # Where the system does not tell, every CPU is taken for a core.
    monkeypatch.setattr(threads, "_SYSTEM", tmp_path / "nothing")
    assert threads.cores() == 1
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert threads.cores() == 6


@pytest.mark.engine("tensorflow")
def test_tensorflow_takes_threads_before_it_computes(tmp_path):
    """Both pools get the number; the real process says so itself."""
    import subprocess
    import sys

    from command import environment

    script = """
from layerprobe.backend import select
select("tensorflow", threads=3)
import tensorflow as tf
tf.constant(1) + 1
threading = tf.config.threading
print(threading.get_intra_op_parallelism_threads(), threading.get_inter_op_parallelism_threads())
select("tensorflow", device="cpu", threads=3)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout.split() == ["3", "3"], done.stderr


@pytest.mark.engine("tensorflow")
def test_tensorflow_says_when_it_is_too_late(engine):
    """Once it has computed, another number is refused, not ignored; the old state stays."""
    import tensorflow as tf

    assert int(tf.constant(1) + 1) == 2
    before = tf.config.threading.get_intra_op_parallelism_threads()
    with pytest.raises(BackendError, match="can no longer be changed"):
        engines.select(threads=7)
    assert tf.config.threading.get_intra_op_parallelism_threads() == before
    assert engines.select().engine is engine


@pytest.mark.engine("torch")
def test_torch_takes_threads_at_any_time(engine, monkeypatch):
    """The number goes to torch; without one OMP_NUM_THREADS counts, or else the physical cores."""
    import torch

    before = torch.get_num_threads()
    try:
        engines.select(threads=3)
        assert torch.get_num_threads() == 3
        monkeypatch.setattr(engine, "cores", lambda: 2)
        monkeypatch.setenv("OMP_NUM_THREADS", "3")
        engine.set_threads(None)
        assert torch.get_num_threads() == 3
        monkeypatch.delenv("OMP_NUM_THREADS")
        engine.set_threads(None)
        assert torch.get_num_threads() == 2
        torch.set_num_threads(1)
        engine.set_threads(None)
        assert torch.get_num_threads() == 1, "fewer than the cores were chosen already"
    finally:
        torch.set_num_threads(before)
        monkeypatch.setattr(engines, "_threads", None)


def _allowed():
    """Return the sets of CPUs that the system lets this process' threads run on."""
    found = set()
    for status in Path("/proc/self/task").glob("*/status"):
        lines = dict(line.partition(":")[::2] for line in status.read_text().splitlines())
        found.add(lines["Cpus_allowed_list"].strip())
    return found


@pytest.mark.engine("jax")
def test_jax_is_kept_to_as_many_cpus(engine):
    """All threads of the process, also those that run already, share the CPUs; none is lost."""
    import jax

    assert int(jax.jit(lambda x: x + 1)(1)) == 2
    everywhere = os.sched_getaffinity(0)
    before = _allowed()
    try:
        engine.set_threads(1)
        assert len(os.sched_getaffinity(0)) == 1
        (one,) = _allowed()
        assert one.isdecimal()
    finally:
        engine.set_threads(1024)
    assert os.sched_getaffinity(0) == everywhere
    assert _allowed() == before
    engine.set_threads(None)
    assert _allowed() == before


@pytest.mark.engine("jax")
def test_jax_refuses_where_cpus_cannot_be_chosen(engine, monkeypatch):
    """On systems without affinities a number is refused rather than ignored."""
    monkeypatch.delattr(os, "sched_setaffinity")
    with pytest.raises(BackendError, match="cannot be kept to some CPUs"):
        engine.set_threads(1)
    engine.set_threads(None)
