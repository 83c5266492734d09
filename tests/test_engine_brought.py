"""Engines that other packages bring: chosen by name, checked, never two of one name."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest
from brought_engines import WORKING, install
from command import shell, typed
from recompute import numpy_digits_cnn

import layerprobe
from layerprobe.backend import engine as engines
from layerprobe.backend import registry
from layerprobe.errors import BackendError


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Return a folder that packages can be imported from."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return folder


def test_the_command_runs_on_an_engine_of_another_package(samples, tmp_path, site):
    """`--backend` takes its name; it hears of threads and device before Keras starts as it says."""
    install(site, "mine", WORKING)
    data = samples / "data" / "digits.npy"
    done = shell(
        *["extract", samples / "digits_cnn.h5", "-l", "pool2", "-i", data, "-o", "o.h5"],
        *["--backend", "mine", "--threads", "3", "--device", "gpu:1"],
        cwd=tmp_path,
        PYTHONPATH=str(site),
        HEARD=str(tmp_path / "heard"),
        KERAS_BACKEND="tensorflow",
    )
    assert (done.code, done.said) == (0, "")
    assert ", mine on gpu:1)" in done.stdout
    said = (tmp_path / "heard").read_text().splitlines()
    assert said == ["threads 3", "device gpu:1", "keras on jax"]
    with layerprobe.open_dump(tmp_path / "o.h5") as dump:
        assert (dump.manifest["engine"], dump.manifest["device"]) == ("mine", "gpu:1")
        wanted = numpy_digits_cnn(samples / "digits_cnn.h5", np.load(data))["pool2"]
        np.testing.assert_allclose(dump["pool2"], wanted, rtol=1e-4, atol=1e-5)


def test_the_environment_names_one_too(samples, tmp_path, site):
    """LAYERPROBE_BACKEND takes its name; without --threads it hears None, for its own default."""
    install(site, "mine", WORKING)
    done = shell(
        *["extract", samples / "digits_cnn.keras", "-l", "conv1", "--dry-run"],
        cwd=tmp_path,
        PYTHONPATH=str(site),
        HEARD=str(tmp_path / "heard"),
        LAYERPROBE_BACKEND="mine",
        KERAS_BACKEND="torch",
    )
    assert done.code == 0, done.stderr
    assert "(mine on cpu)" in done.stdout
    said = (tmp_path / "heard").read_text().splitlines()
    assert said == ["threads None", "device auto", "keras on jax"]


def test_two_packages_with_one_name_are_an_error_naming_both(site, capfd, samples):
    """The name cannot be chosen; the message tells the packages apart; other engines work on."""
    install(site, "twin", WORKING, distribution="first-package", version="1.2")
    install(site, "twin", WORKING, distribution="second-package", version="0.7")
    for ask in (engines.engine_name, engines.check_installed, engines.select):
        with pytest.raises(BackendError) as refused:
            ask("twin")
        message = str(refused.value)
        assert "first-package 1.2 (first_package_module)" in message
        assert "second-package 0.7 (second_package_module)" in message
        assert "pip uninstall first-package | second-package" in message
    done = typed(capfd, "extract", samples / "digits_cnn.keras", "-l", "conv1", "--backend", "twin")
    assert (done.code, done.stdout) == (70, "")
    assert engines.engine_name("jax") == "jax"


def test_a_package_cannot_take_the_name_of_a_built_in_engine(site, monkeypatch):
    """It does not win in silence, nor lose in silence: an error names it and this package."""
    install(site, "jax", WORKING, distribution="other-jax")
    monkeypatch.setenv("LAYERPROBE_BACKEND", "jax")
    with pytest.raises(BackendError) as refused:
        engines.engine_name()
    message = str(refused.value)
    assert "layerprobe (layerprobe.backend.jax) and other-jax 1.0 (other_jax_module)" in message
    assert message.endswith("pip uninstall other-jax")
    assert engines.engine_name("tensorflow") == "tensorflow"


def test_an_unknown_name_is_answered_with_all_engines(site):
    """The list holds the engines of other packages as well, a name once."""
    install(site, "twin", WORKING, distribution="first")
    install(site, "twin", WORKING, distribution="second")
    install(site, "mine", WORKING)
    built_in = ", ".join(registry.ENGINES)
    with pytest.raises(BackendError, match=f"one of {built_in}, mine, twin\\.") as refused:
        engines.engine_name("theano")
    assert refused.value.exit_code == 2


OF = "'mine' of mine-engine 1.0"
KERAS = "KERAS_BACKEND = 'tensorflow'\n"
WRONG = {
    KERAS + "raise RuntimeError('no licence')": OF + " cannot be imported: no licence",
    KERAS + "import nothing_there": OF + " cannot be imported: No module named 'nothing_there'",
    KERAS + "def prepare(device: ...": OF + " cannot be imported: '\\(' was never closed",
    KERAS + "def prepare(device): ...": OF + " lacks .*CAPABILITIES, .*set_threads, compile",
    WORKING.replace('"jax"', '"tensorflow"').replace('"strings"', '"coffee"'): r"can \['coffee'\]",
    KERAS + "PACKAGE = 'nothing_at_all'": OF + " needs the package 'nothing_at_all', which is not",
    "KERAS_BACKEND = 'cntk'": OF + " needs KERAS_BACKEND=cntk, which Keras does not have",
    "KERAS_BACKEND = str('jax')": "KERAS_BACKEND=mine, .*\nExpected: a line such as KERAS_",
}


@pytest.mark.engine("tensorflow")
@pytest.mark.parametrize(("code", "message"), WRONG.items(), ids=range(len(WRONG)))
def test_a_module_that_is_no_engine_is_refused(site, request, code, message):
    """What is wrong with it is said in words, with the package that brings it; nothing changes."""
    engines.select("tensorflow")
    # A module stays imported: each needs a name of its own.
    module = f"wrong_{request.node.callspec.id}"
    install(site, "mine", code, module=module)
    before = engines._selected, dict(os.environ)
    with pytest.raises(BackendError, match=message):
        engines.select("mine")
    assert (engines._selected, dict(os.environ)) == before
    sys.modules.pop(module, None)


def test_a_module_that_is_missing_is_said_before_anything_is_loaded(site):
    """An entry point that leads nowhere is an error of the package that has it."""
    install(site, "mine", WORKING)
    (site / "mine_engine_module.py").unlink()
    with pytest.raises(BackendError, match="has no module 'mine_engine_module'"):
        engines.check_installed("mine")


def test_choosing_runs_nothing_of_a_package(site):
    """Which Keras it needs is read from the text of its module, also deep in a package."""
    inner = site / "outer" / "inner"
    inner.mkdir(parents=True)
    for folder in (inner.parent, inner):
        (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    (inner / "engine.py").write_text("KERAS_BACKEND = 'torch'\nPACKAGE = 'numpy'\nraise OSError")
    install(site, "mine", "", module="unused")
    entry = site / "mine_engine-1.0.dist-info" / "entry_points.txt"
    entry.write_text("[layerprobe.backends]\nmine = outer.inner.engine\n")
    found = registry.find("mine")
    assert (found.keras, found.package, found.origin) == ("torch", "numpy", "mine-engine 1.0")
    engines.check_choice("mine", "cpu", 2)
    assert "outer" not in sys.modules


@pytest.mark.engine("tensorflow")
def test_engines_on_the_same_keras_can_follow_each_other(site, monkeypatch):
    """Keras need not change for them, so it is allowed; the last one chosen is the default."""
    code = WORKING.replace("import jax", "import tensorflow").replace('"jax"', '"tensorflow"')
    module = install(site, "mine", code)
    first = engines.select("tensorflow")
    monkeypatch.setattr(engines, "_selected", first)  # put back at the end
    assert engines.select("mine").engine is sys.modules[module]
    assert engines.select().name == "mine"
    assert engines.select(device="cpu").name == "mine"
    assert engines.select("tensorflow").engine is first.engine
    del sys.modules[module]
