"""Which files of the corpus open, and with which numbers: `python -m benchmarks.corpus`.

Side by side with plain Keras 3 and with tf_keras (`pip install tf_keras==2.21.0`, a dependency of
this benchmark alone). Each contender has a process of its own; a file that kills it is refused.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import layerprobe
from benchmarks import measure
from benchmarks.corpus.truth import Item, items
from benchmarks.measure import python

_CONTENDERS = ("layerprobe", "keras", "tf_keras")
_HEADING = [
    "",
    "files",
    "listed",
    "in part",
    *(f"{who}: ran / right / wrong / refused" for who in _CONTENDERS),
]

Results = dict[str, dict[str, Any]]


def main() -> None:
    """Try and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=measure.ENGINES, default="tensorflow")
    engine = parser.parse_args().engine
    measure.print_machine()
    found = {who: _results(who, engine) for who in _CONTENDERS}
    every = list(items())
    groups: dict[str, list[Item]] = {"all": every}
    for item in every:
        groups.setdefault(", ".join(item.kind), []).append(item)
        groups.setdefault("with a Lambda or a custom class", [])
        if item.needs_code:
            groups["with a Lambda or a custom class"].append(item)
    rows = [_row(name, group, found) for name, group in groups.items()]
    measure.print_table(f"All layers, on {engine}", _HEADING, rows)
    _print_reasons(every, found["layerprobe"])
    for item in every:
        if found["layerprobe"][item.name]["right"] is False:
            print(f"WRONG: {item.name} {item.path.name}")


def _results(who: str, engine: str) -> Results:
    """Return what a contender says of each file, in as many processes as it takes."""
    backend = engine if who == "layerprobe" else "tensorflow"
    environment = {**os.environ, "KERAS_BACKEND": backend, "LAYERPROBE_BACKEND": backend}
    names = [item.name for item in items()]
    found: Results = {}
    while len(found) < len(names):
        command = python("-m", "benchmarks.corpus.contender", who, str(len(found)))
        done = subprocess.run(
            command, cwd=measure.ROOT, env=environment, capture_output=True, text=True, check=False
        )
        told = [json.loads(line) for line in done.stdout.splitlines() if line[:7] == '{"name"']
        found |= {one["name"]: one for one in told}
        if len(found) < len(names):
            lost = names[len(found)]
            found[lost] = {"name": lost, "stage": "refused", "right": None, "reason": "crashed"}
    return found


def _row(name: str, group: Sequence[Item], found: dict[str, Results]) -> list[str]:
    parts = sum(found["layerprobe"][item.name]["stage"] == "part" for item in group)
    cells = [name, str(len(group)), str(sum(map(_listed, group))), str(parts)]
    for who in _CONTENDERS:
        told = [found[who][item.name] for item in group]
        ran = sum(one["stage"] == "ran" for one in told)
        right, wrong = (sum(one["right"] is truth for one in told) for truth in (True, False))
        refused = sum(one["stage"] in ("refused", "opened") for one in told)
        cells.append(f"{ran} / {right} / {wrong} / {refused}")
    return cells


def _listed(item: Item) -> bool:
    try:
        return len(item.listing().table) > 0
    except layerprobe.LayerprobeError:
        return False


def _print_reasons(every: Iterable[Item], found: Results) -> None:
    reasons = Counter((", ".join(one.kind), found[one.name]["reason"]) for one in every)
    rows = [[kind, str(n), why] for (kind, why), n in sorted(reasons.items()) if why]
    measure.print_table("What layerprobe refuses, and why", ["", "files", "reason"], rows)


if __name__ == "__main__":
    main()
