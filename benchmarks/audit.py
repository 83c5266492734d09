"""`layerprobe audit` beside modelscan: hostile files caught, real ones falsely told, seconds.

The hostile files are those of the tests (`tests/hostile`), made here; the real ones are the corpus
beside the project, of which those with Lambda layers or classes of their own count as hostile to
neither. Each contender judges all files in one process, after a file that loads its imports.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import ROOT, print_machine, print_table

CORPUS = ROOT.parent / "shared" / "corpus"
TARGET = ROOT / ".bench" / "modelscan"
_SECONDS = 60  # for one file

_OURS = """
import json, sys, time
import layerprobe
for path in map(json.loads, sys.stdin):
    start = time.perf_counter()
    found = layerprobe.audit(path).verdict != "ok"
    print(json.dumps([found, time.perf_counter() - start]), flush=True)
"""
_THEIRS = """
import io, json, sys, time
from contextlib import redirect_stdout
from modelscan.modelscan import ModelScan
for path in map(json.loads, sys.stdin):
    start = time.perf_counter()
    with redirect_stdout(io.StringIO()):
        scan = ModelScan()
        scan.scan(path)
    found = bool(scan.issues.all_issues)
    print(json.dumps([found, time.perf_counter() - start]), flush=True)
"""


def main() -> None:
    """Print the table, and what modelscan misses by class."""
    if not TARGET.is_dir():
        raise SystemExit(
            "modelscan is not here. Install it beside this project, so that it changes nothing:\n"
            f"  python -m pip install --no-deps --target {TARGET.relative_to(ROOT)} "
            "modelscan==0.8.8 tomlkit"
        )
    sys.path.insert(0, str(ROOT / "tests"))
    from hostile import cases

    with tempfile.TemporaryDirectory() as folder:
        hostile = {
            case.name: (case, str(case.made_in(Path(folder, str(number)))[0]))
            for number, case in enumerate(cases())
        }
        benign = _benign()
        files = [path for _, path in hostile.values()] + benign
        results = {
            "layerprobe audit": judged(_OURS, files, []),
            "modelscan 0.8.8": judged(_THEIRS, files, [str(TARGET)]),
        }
    rows = []
    for who, found in results.items():
        bad, good = found[: len(hostile)], found[len(hostile) :]
        caught = sum(flagged is True for flagged, _ in bad)
        failed = sum(flagged is None for flagged, _ in found)
        alarms = sum(flagged is True for flagged, _ in good)
        seconds = sum(taken for _, taken in found)
        share = f"{caught} ({100 * caught / len(bad):.0f} %)"
        rows.append([who, share, str(len(bad) - caught), str(alarms), str(failed), f"{seconds:.1f}",
                     f"{max(taken for _, taken in found):.2f}"])  # fmt: skip
    print_machine()
    heads = ("who", "caught", "missed", "false alarms", "died or hung", "seconds in all", "slowest")
    print_table(f"{len(hostile)} hostile files, {len(benign)} harmless ones", heads, rows)
    print_table("caught, by class", ("rule", "files", *results), _classes(hostile, results))


def judged(code: str, files: Sequence[str], path: list[str]) -> list[tuple[bool | None, float]]:
    """Return for each file whether it is flagged, None if the process died, and the seconds."""
    found: list[tuple[bool | None, float]] = []
    child = None
    for file in files:
        if child is None:
            child = _started(code, path)
            _ask(child, str(ROOT / "samples" / "digits_cnn.h5"))
        began = time.perf_counter()
        answer = _ask(child, file)
        if answer is None:
            child = None
            found.append((None, time.perf_counter() - began))
        else:
            found.append((bool(answer[0]), float(answer[1])))
    if child is not None:
        child.communicate()
    return found


def _started(code: str, path: list[str]) -> subprocess.Popen[str]:
    # Eight gigabytes, so that a bomb takes the process and not the machine.
    limited = "import resource; resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))\n"
    lead = f"import sys; sys.path[:0] = {path!r}\n"
    return subprocess.Popen(
        [sys.executable, "-c", limited + lead + code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
    )


def _ask(child: subprocess.Popen[str], file: str) -> Any:
    """Return what a process says to a file, None if it died or took too long."""
    import select

    assert child.stdin is not None  # noqa: S101 - it is a pipe
    assert child.stdout is not None  # noqa: S101
    try:
        child.stdin.write(json.dumps(file) + "\n")
        child.stdin.flush()
        ready, _, _ = select.select([child.stdout], [], [], _SECONDS)
        line = child.stdout.readline() if ready else ""
    except OSError:
        line = ""
    if line:
        return json.loads(line)
    child.kill()
    child.wait()
    return None


def _benign() -> list[str]:
    """Return the real models without Lambda layers or classes of their own, and the samples."""
    paths = [str(path) for path in sorted((ROOT / "samples").glob("*.*")) if path.suffix != ".py"]
    kept = [path for path in paths if path.endswith((".h5", ".keras"))]
    if CORPUS.is_dir():
        lines = (CORPUS / "index.jsonl").read_text("utf-8").splitlines()
        entries = [json.loads(line) for line in lines]
        # Of a SavedModel the index does not say what classes it has.
        kept += [
            str(CORPUS / entry["file"])
            for entry in entries
            if not entry["has_lambda"]
            and not entry["custom_classes"]
            and entry["format"] != "savedmodel"
        ]
    return kept


def _classes(
    hostile: dict[str, Any], results: dict[str, list[tuple[bool | None, float]]]
) -> list[list[str]]:
    rules = [case.rule for case, _ in hostile.values()]
    rows = []
    for rule in sorted(set(rules)):
        places = [place for place, other in enumerate(rules) if other == rule]
        caught = [sum(found[place][0] is True for place in places) for found in results.values()]
        rows.append([rule, str(len(places)), *map(str, caught)])
    return rows


if __name__ == "__main__":
    main()
