"""Parts of a run that take about as long, so that two processes share the tests of an engine.

Which part a file belongs to follows from the names of all files and the table below, and from
nothing that could differ between two processes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

# Seconds that the slowest files take on one processor, about; wrong ones cost balance alone.
SECONDS = {
    "test_cli_process": 59,
    "test_samples": 59,
    "test_docs": 48,
    "test_listing": 46,
    "test_golden": 36,
    "test_merging": 31,
    "test_applications": 24,
    "test_faults": 24,
    "test_confinement": 22,
    "test_swapped": 22,
    "test_cli_extract": 21,
    "test_stream": 21,
    "test_power": 17,
    "test_shards": 17,
    "test_training": 17,
    "test_convert": 16,
    "test_linked_networks": 16,
    "test_bad_input": 15,
    "test_bad_hostile": 14,
    "test_bad_runs": 14,
    "test_corpus": 14,
    "test_engine_brought": 14,
    "test_insides": 13,
    "test_bad_packages": 12,
    "test_confinement_worker": 12,
    "test_resuming": 12,
    "test_engine": 11,
    "test_survey": 11,
}
_OTHERS = 3  # of a file that is not listed
FILES = [path.stem for path in Path(__file__).parent.glob("test_*.py")]


def part(text: str) -> tuple[int, int]:
    """Return the K and N of "K/N"."""
    found = re.fullmatch(r"([1-9][0-9]?)/([1-9][0-9]?)", text)
    if not found or int(found[1]) > int(found[2]):
        raise ValueError(f"{text!r} is no part, such as 1/2")
    return int(found[1]), int(found[2])


def shared_out(files: Iterable[str], count: int) -> dict[str, int]:
    """Return the part of each file: the slowest first, each to the part with least to do."""
    loads = dict.fromkeys(range(1, count + 1), 0)
    found = {}
    for file in sorted(files, key=lambda name: (-SECONDS.get(name, _OTHERS), name)):
        found[file] = min(loads, key=lambda number: (loads[number], number))
        loads[found[file]] += SECONDS.get(file, _OTHERS)
    return found
