"""Every example of docs/sources.md runs, in its order and in one folder."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess

from command import COMMAND, ROOT, environment, typed

PAGE = ROOT / "docs" / "sources.md"


def test_the_page_of_sources_runs(capfd, tmp_path, monkeypatch):
    """Python makes the data, and each command then reads it and ends well."""
    shutil.copytree(ROOT / "samples", tmp_path / "samples")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"(?ms)^```(python|sh)\n(.*?)^```", PAGE.read_text("utf-8"))
    commands = 0
    names: dict[str, object] = {}
    for language, code in blocks:
        if language == "python":
            exec(code, names)  # noqa: S102 - our own page
            continue
        for line in code.splitlines():
            commands += 1
            before, _, words = line.rpartition("layerprobe extract ")
            if before:
                command = f"{before}{shlex.join(COMMAND)} extract {words}"
                subprocess.run(["sh", "-c", command], env=environment(), check=True)
                continue
            done = typed(capfd, "extract", *shlex.split(words))
            assert done.code == 0, f"{line}\n{done.stderr}"
    assert commands >= page_sections()


def page_sections():
    """Return how many kinds of data the page has a section for."""
    return PAGE.read_text("utf-8").count("\n## ")
