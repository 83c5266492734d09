"""What groups of layers take of the memory, seen from outside: the most that a process has held."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command import environment, shell
from dumps import content

KEPT = """
import sys
import numpy as np
from layerprobe.memory import give_back_freed, held_memory

if sys.argv[1] == "given back":
    give_back_freed()
first = np.ones(20 << 20, "int8")
del first  # from now on pieces of this size are kept
before = held_memory()
several = [np.ones(10 << 20, "int8") for _ in range(10)]
behind = np.ones(5 << 20, "int8")
del several
print(held_memory() - before)
"""
HEAPS = """
import ctypes
import sys
import threading
import click
from layerprobe.commands.confined import OWN_PROCESS, enter

@click.command()
def probe():
    if sys.argv[1] == "as a command":
        options = dict.fromkeys(["require_sandbox", "max_memory", "load_timeout"])
        enter({**options, "no_sandbox": True}, [], None)
    library = ctypes.CDLL(None)
    library.malloc.argtypes, library.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
    together = threading.Barrier(4)

    def takes_memory():
        together.wait()
        library.malloc(100_000)
        together.wait()

    threads = [threading.Thread(target=takes_memory) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    output = ctypes.c_void_p.in_dll(library, "stdout")
    library.malloc_info(0, output)
    library.fflush(output)

probe([], obj=OWN_PROCESS)
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


BUILT = """
import keras
x = keras.Input((8,), name="x")
rows = keras.layers.RepeatVector(2**16)(x)
# Each another one: an engine computes what is the same once, and shows it twelve times.
outputs = [keras.layers.Rescaling(number + 2.0, name=f"wide{number}")(rows) for number in range(12)]
keras.Model(x, outputs).save("wide.keras")
"""
MEASURED = """
import sys
import layerprobe
layers, memory = sys.argv[1].split(), int(sys.argv[2])
report = layerprobe.extract("wide.keras", layers, "rows.npy", sys.argv[3], batch_size=16,
                            compress="gzip", max_memory=memory, quiet=True)
held = open("/proc/self/status").read().partition("VmHWM:")[2].split()[0]
print(len(report.groups), int(held) * 1024)
"""


def run(script, *arguments):
    """Run Python in a process of its own, and return the numbers that it prints."""
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env=environment(TF_CPP_MIN_LOG_LEVEL="3"),
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return [int(number) for number in done.stdout.split()]


def test_the_peak_is_that_of_this_process_alone():
    """Not of the one that started it, as getrusage() tells."""
    large = np.ones(500 << 20, "int8")
    (peak,) = run("from layerprobe.memory import peak_memory\nprint(peak_memory())")
    assert 1 << 20 < peak < large.nbytes // 2


def test_the_threads_of_a_command_share_one_heap():
    """The C library itself says how many there are; the user's own setting stays."""

    def heaps(how, **more):
        command = [sys.executable, "-c", HEAPS, how]
        done = subprocess.run(
            command, env=environment(**more), capture_output=True, text=True, check=True
        )
        return done.stdout.count("<heap nr=")

    assert heaps("as a function") > 1
    assert heaps("as a command") == 1
    assert heaps("as a command", MALLOC_ARENA_MAX="3") == 3


def test_what_is_freed_goes_back():
    """The C library would keep it, as the first run shows."""
    assert run(KEPT, "kept")[0] > 80 << 20
    assert run(KEPT, "given back")[0] < 10 << 20


def test_the_memory_that_groups_take():
    """It is far less than all results of one batch, which a single function holds at least."""
    run(BUILT)
    np.save("rows.npy", np.arange(40 * 8, dtype="float32").reshape(40, 8))
    batch = 16 * 12 * 8 * 4 * 2**16
    every = " ".join(f"wide{number}" for number in range(12))
    _, least = run(MEASURED, "x", 10**12, "x.zarr")
    one, whole = run(MEASURED, every, 10**12, "one.zarr")
    some, divided_up = run(MEASURED, every, 800_000_000, "some.zarr")
    assert (one, some) == (1, 6)
    assert whole - least > 3 * batch // 2
    assert divided_up - least < 3 * batch // 4
    given = ["extract", "wide.keras", "-l", "wide*", "-i", "rows.npy", "-b", 16, "--no-sandbox"]
    done = shell(*given, "--max-memory", "800M", "--dry-run", cwd=Path())
    assert done.code == 0
    assert "6 groups of layers, one after another for each batch of 16 rows" in done.stdout
    assert "group 6: wide10 to wide11, 2\n" in done.stdout
    assert content(Path("one.zarr")) == content(Path("some.zarr"))
