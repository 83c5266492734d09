"""`layerprobe backends`: what each engine is and can, and why one cannot be used."""

from __future__ import annotations

import importlib.metadata
import json
import sys
import time

import pytest
from brought_engines import WORKING, install
from command import shell

import layerprobe
from layerprobe import screen
from layerprobe.backend import registry
from layerprobe.backend.survey import EngineReport


@pytest.fixture
def only(tmp_path, monkeypatch):
    """Return a function that installs engines, which are then the only ones there are."""
    monkeypatch.setattr(registry, "ENGINES", {})
    monkeypatch.syspath_prepend(tmp_path)

    def installed(**codes):
        for name, code in codes.items():
            install(tmp_path, name, f"KERAS_BACKEND = 'jax'\n{code}")

    return installed


def surveyed(**options):
    """Return the reports by name."""
    return {report.name: report for report in layerprobe.list_backends(**options)}


def test_the_command_lists_the_real_engines(tmp_path):
    """Each with its version and devices; a missing one with its reason and its install line."""
    shim = tmp_path / "shim"
    shim.mkdir()
    (shim / "sitecustomize.py").write_text(
        "import importlib.util\n"
        "find_spec = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, package=None: (\n"
        "    None if name == 'torch' else find_spec(name, package))\n"
    )
    done = shell("backends", "--json", cwd=tmp_path, PYTHONPATH=str(shim), LAYERPROBE_BACKEND="jax")
    assert (done.code, done.stderr) == (0, "")
    answer = json.loads(done.stdout)
    assert answer["default"] == "jax"
    engines = {engine["name"]: engine for engine in answer["engines"]}
    for name in ("tensorflow", "jax"):
        assert engines[name]["available"] is True
        assert engines[name]["version"] == importlib.metadata.version(name)
        assert engines[name]["keras_backend"] == name
        assert engines[name]["devices"][0] == "cpu"
        assert engines[name]["reason"] == ""
    assert "dynamic_batch" in engines["tensorflow"]["capabilities"]
    torch = engines["torch"]
    assert (torch["available"], torch["devices"], torch["capabilities"]) == (False, [], [])
    assert torch["reason"] == "The engine 'torch' is not installed."
    assert torch["fix"] == "Install it with: pip install 'layerprobe[torch]'"


def test_an_engine_of_another_package_is_listed(only):
    """With its own version, devices as `--device` takes them, and without being imported here."""
    only(mine=WORKING)
    assert surveyed() == {
        "mine": EngineReport(
            name="mine",
            available=True,
            version=importlib.metadata.version("jaxlib"),
            keras_backend="jax",
            devices=("cpu", "gpu:0", "gpu:1"),
            capabilities=("gradients", "strings"),
            origin="mine-engine 1.0",
        )
    }
    assert "mine_engine_module" not in sys.modules


def test_no_failure_of_an_engine_hides_the_others(only, tmp_path):
    """Errors, exits, crashes and duplicates are each told as the reason, in a line."""
    only(
        crash="import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)",
        ends="import sys\nprint('no licence found')\nsys.exit(3)",
        early="import os\nos._exit(0)",
        broken="raise ValueError('no such thing')",
        twin=WORKING,
    )
    install(tmp_path, "twin", WORKING, distribution="other-twin")
    found = surveyed()
    assert list(found) == ["broken", "crash", "early", "ends", "twin"]
    assert found["crash"].reason == "Its process ended with signal SIGSEGV."
    assert found["ends"].reason == "Its process ended with exit code 3: no licence found"
    assert found["early"].reason == "Its process ended with exit code 0."
    assert found["broken"].reason.endswith("cannot be imported: no such thing")
    assert "twin-engine 1.0" in found["twin"].reason
    assert "other-twin 1.0" in found["twin"].reason
    assert not any(report.available or report.devices for report in found.values())
    assert all("\n" not in report.reason + report.fix for report in found.values())
    assert found["broken"].version == "1.0"


def test_an_engine_that_hangs_is_given_up(only):
    """After the limit it counts as unavailable, and its process is ended."""
    only(slow="import time\ntime.sleep(300)")
    began = time.monotonic()
    (report,) = layerprobe.list_backends(timeout=1.5)
    assert report.reason == "It did not start within 1.5 seconds."
    assert time.monotonic() - began < 30


def test_engines_are_tried_at_the_same_time(only, tmp_path):
    """Two engines that wait for each other both answer."""
    meet = """
import pathlib, time
here = pathlib.Path(__file__).parent
(here / "{0}.here").touch()
while not (here / "{1}.here").exists():
    time.sleep(0.02)
raise RuntimeError("met")
"""
    only(left=meet.format("left", "right"), right=meet.format("right", "left"))
    assert {r.reason.rpartition(": ")[2] for r in surveyed(timeout=50).values()} == {"met"}
    assert (tmp_path / "left.here").exists()


def test_the_table_shows_reasons_in_the_place_of_abilities(capsys):
    """A line an engine; what comes from packages is printed as text, never as markup."""
    can = EngineReport("tensorflow", True, "2.0", "tensorflow", ("cpu",), ("a", "b"), "layerprobe")
    cannot = EngineReport(
        "odd", False, None, None, (), (), "[red]x\x1b 1", "It is not there.", "Get it."
    )
    screen.print_engines([can, cannot], None)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0].split() == ["engine", "version", "devices", "from", "can"]
    assert lines[1].split(maxsplit=4) == ["tensorflow", "2.0", "cpu", "layerprobe", "a, b"]
    assert lines[2] == (
        "odd                           [red]x\\x1b 1  unavailable: It is not there. Get it."
    )
    assert lines[3] == "without --backend: none"


def test_a_wrong_variable_does_not_keep_the_list_away(only, capfd, monkeypatch):
    """It is what the list is looked at for: the list comes, the mistake on stderr."""
    from command import typed

    only()
    monkeypatch.setenv("LAYERPROBE_BACKEND", "theano")
    done = typed(capfd, "backends", "--json")
    assert (done.code, json.loads(done.stdout)) == (0, {"default": None, "engines": []})
    assert done.stderr.startswith("warning: LAYERPROBE_BACKEND names the engine 'theano'")
