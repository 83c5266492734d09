"""What the documents say is true: their code runs, their commands exist, their links lead on."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from command import ROOT, environment

from layerprobe import errors
from layerprobe.cli import main

PAGES = [ROOT / "README.md", ROOT / "samples" / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

RUN_BLOCKS = """
import json, sys
for page in json.load(sys.stdin):
    names = {"__name__": "__main__"}
    for place, code in page:
        print("running", place, file=sys.stderr, flush=True)
        exec(compile(code, place, "exec"), names)
"""

RUN_COMMANDS = """
import json, shlex, sys
from layerprobe.cli import main
for line in json.load(sys.stdin):
    try:
        main(shlex.split(line)[1:], prog_name="layerprobe")
    except SystemExit as end:
        assert not end.code, line
"""

RUN_DOCTESTS = """
import doctest, importlib, pkgutil, layerprobe
names = [m.name for m in pkgutil.walk_packages(layerprobe.__path__, "layerprobe.")]
tried = failed = 0
for name in ["layerprobe", *(n for n in names if not n.endswith("__main__"))]:
    result = doctest.testmod(importlib.import_module(name))
    tried, failed = tried + result.attempted, failed + result.failed
print(len(names), tried, failed)
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """Return a folder with a copy of the samples and a command called layerprobe."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "samples", folder / "samples")
    (folder / "bin").mkdir()
    command = folder / "bin" / "layerprobe"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m layerprobe "$@"\n')
    command.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def commands_run(checkout):
    """Run every `layerprobe …` line in README, in order in one folder, and return them.

    One process is enough, as the samples' scripts have one for each command.
    """
    lines = "".join(code for _, code in blocks(ROOT / "README.md", "sh")).splitlines()
    commands = [line for line in lines if line.startswith("layerprobe ")]
    run([sys.executable, "-c", RUN_COMMANDS], checkout, input=json.dumps(commands))
    return commands


def commands():
    """Return all commands by name, those with a file of their own too."""
    context = click.Context(main)
    return {name: main.get_command(context, name) for name in main.list_commands(context)}


def run(arguments, folder, **given):
    """Run something in a folder, with `layerprobe` on the path, and show what it said."""
    path = os.pathsep.join([str(folder / "bin"), os.environ["PATH"]])
    env = environment(PATH=path, TF_CPP_MIN_LOG_LEVEL="3")
    options = {"capture_output": True, "text": True, "timeout": 300} | given
    done = subprocess.run(arguments, cwd=folder, env=env, check=False, **options)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def blocks(page, language):
    """Return the fenced blocks of a language in a page, with where each begins."""
    text = page.read_text("utf-8")
    found = re.finditer(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [(f"{page.name}:{text.count(chr(10), 0, m.start()) + 2}", m[1]) for m in found]


def test_commands_in_the_readme_run(commands_run):
    """README shows every command, and all its lines end well."""
    assert {line.split()[1] for line in commands_run} == set(commands())


@pytest.mark.usefixtures("commands_run")
def test_python_in_the_documents_runs(checkout):
    """Every python block of README and docs runs, a page's in order, after README's commands."""
    pages = [found for page in PAGES if (found := blocks(page, "python"))]
    assert any(place.startswith("README.md") for page in pages for place, _ in page)
    run([sys.executable, "-c", RUN_BLOCKS], checkout, input=json.dumps(pages))


def test_examples_in_docstrings_are_true(checkout):
    """Every example in every module's docstrings gives what stands below it."""
    output = run([sys.executable, "-c", RUN_DOCTESTS], checkout)
    modules, tried, failed = map(int, output.split()[-3:])
    assert (modules > 50, tried > 50, failed) == (True, True, 0)


def test_the_commands_page_is_current():
    """docs/cli.md is what its generator makes of the commands as they are now."""
    path = ROOT / "docs" / "generate_cli.py"
    spec = importlib.util.spec_from_file_location("generate_cli", path)
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    written = (ROOT / "docs" / "cli.md").read_text("utf-8")
    assert written == generator.page(), "make it anew: python docs/generate_cli.py"


def test_the_commands_page_holds_every_command_option_and_exit_code():
    """Nothing a user can type, and no code a command can end with, is missing from docs/cli.md."""
    page = (ROOT / "docs" / "cli.md").read_text("utf-8")
    for name, command in commands().items():
        section = page.partition(f"## layerprobe {name}\n")[2].partition("\n## ")[0]
        options = [p for p in command.params if isinstance(p, click.Option)]
        assert section.count("\nlayerprobe ") >= 2
        assert all(f"`{flag}" in section for option in options for flag in option.opts)
    tree = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    codes = {kind.exit_code for kind in tree if issubclass(kind, errors.LayerprobeError)}
    assert all(f"\n| {code} | " in page for code in codes | {0, 2, 66, 75, 130, 141})


def test_links_lead_to_files():
    """Every relative link in the documents names a file of the project."""
    for page in [*PAGES, ROOT / "CHANGELOG.md"]:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text("utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_architecture_page_names_every_room():
    """docs/architecture.md speaks of every module and package, and of no other."""
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    package = ROOT / "layerprobe"
    modules = [p for p in package.rglob("*.py") if p.stem not in ("__main__", "suite")]
    missing = [
        path.relative_to(package).as_posix()
        for path in modules
        if path.name not in page
        and path.parent.name not in ("sources", "sinks", "dump")
        and not path.name.startswith("shape_")
    ]
    assert not missing
    named = set(re.findall(r"^ +([a-z_0-9]+\.py)", page, re.MULTILINE))
    assert named <= {path.name for path in package.rglob("*.py")}


def test_the_changelog_has_a_place_for_what_is_new():
    """CHANGELOG.md begins with the unreleased changes or with the version of the package."""
    import layerprobe

    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    first = re.search(r"^## \[?([^\]\s]+)", text, re.MULTILINE)
    assert first is not None
    assert first[1] in ("Unreleased", layerprobe.__version__)
    assert Path(ROOT / "pyproject.toml").read_text().count(f'version = "{layerprobe.__version__}"')
