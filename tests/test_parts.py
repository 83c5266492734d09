"""Every test runs in one part of a run, and in no other."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from command import ROOT, environment
from parts import FILES, SECONDS, part, shared_out

_FEW = ("addresses", "architecture", "bad_table", "hdf5_headers", "stages")  # no framework


def test_parts_are_whole_and_apart():
    """Each file is in one part, whatever order the files are found in."""
    assert sorted(FILES) == sorted(path.stem for path in Path(__file__).parent.glob("test_*.py"))
    for count in range(1, 5):
        found = shared_out(FILES, count)
        assert sorted(found) == sorted(FILES)
        assert set(found.values()) == set(range(1, count + 1))
        assert shared_out(FILES[::-1], count) == found


def test_parts_take_about_as_long():
    """No part waits for another, as far as the table of seconds is right."""
    assert set(SECONDS) <= set(FILES)
    loads = Counter()
    for file, number in shared_out(SECONDS, 2).items():
        loads[number] += SECONDS[file]
    assert max(loads.values()) - min(loads.values()) <= min(SECONDS.values())


def test_every_test_runs_in_one_part():
    """What two processes collect is, together, what one does."""
    files = [f"tests/test_{name}.py" for name in _FEW]
    whole, first, second = (_collected(*given, *files) for given in ([], *_PARTS))
    assert first
    assert second
    assert not set(first) & set(second)
    assert sorted(first + second) == sorted(whole)


_PARTS = (["--part", "1/2"], ["--part", "2/2"])


def _collected(*given):
    """Return the tests that a process of its own would run."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *given],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return [line for line in done.stdout.splitlines() if "::" in line]


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/0", "a/b", "1/2/3", ""])
def test_what_is_no_part(text):
    """A part is one of a number of parts."""
    assert part("2/2") == (2, 2)
    with pytest.raises(ValueError, match="is no part"):
        part(text)
