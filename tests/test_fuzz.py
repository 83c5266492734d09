"""Damaged files and nonsense on the command line: clean exits alone, no traceback, no hang.

Files are sound ones with bytes changed, cut out, put in or cut off. `make fuzz` does the same for
ten minutes, led by coverage.
"""

from __future__ import annotations

import io
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hostile import Place
from hostile.graphs import function, graph, holding, node
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model_files import sequential, write_h5, write_keras

from layerprobe.cli import main

_CLEAN = {0, 2, 65, 66, 74, 77}
_FEW = settings(max_examples=60, suppress_health_check=list(HealthCheck))


def sound(kind):
    """Return the bytes of a sound file of a kind."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        place = Place(folder, folder / "marker", folder / "secret")
        if kind == ".keras":
            return write_keras(folder / "m", sequential()).read_bytes()
        if kind == ".h5":
            return write_h5(folder / "m", sequential()).read_bytes()
        if kind == "saved_model.pb":
            return (holding("Conv2D")(place) / "saved_model.pb").read_bytes()
        if kind == ".pb":
            called = node("y", "PartitionedCall", "x", calls="f")
            return graph([node("x", "Placeholder"), called], [function("f", node("z", "Relu"))])
    buffer = io.BytesIO()
    np.save(buffer, np.arange(6.0).reshape(2, 3))
    return buffer.getvalue()


KINDS = {kind: sound(kind) for kind in (".keras", ".h5", "saved_model.pb", ".pb", ".npy")}


@st.composite
def damages(draw):
    """Draw some changes: where, as a share of the file, how many bytes go, and what comes there."""
    where = st.floats(0, 1, exclude_max=True)
    change = st.tuples(where, st.integers(0, 8), st.binary(max_size=8))
    return draw(st.lists(change, min_size=1, max_size=4)), draw(st.none() | where)


def damaged(data, changes, cut):
    """Apply them."""
    content = bytearray(data)
    for where, gone, come in changes:
        at = int(where * len(content))
        content[at : at + gone] = come
    return bytes(content if cut is None else content[: int(cut * len(content))])


def clean(*arguments):
    """Run the command in this process and check how it ends."""
    result = CliRunner().invoke(main, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit), arguments
    assert result.exit_code in _CLEAN, (arguments, result.output)
    assert "Traceback" not in result.output


@pytest.mark.parametrize("kind", KINDS)
@_FEW
@given(changes=damages())
def test_damaged_files_end_cleanly(kind, changes):
    """Auditing and listing say what is wrong, or find nothing wrong."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / ("m" if kind == "saved_model.pb" else f"m{kind}")
        file = path / kind if kind == "saved_model.pb" else path
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(damaged(KINDS[kind], *changes))
        clean("audit", str(path))
        clean("audit", str(folder), "--sarif")
        clean("list-layers", str(path))


@_FEW
@given(changes=damages(), inside=st.sampled_from(["config.json", "model.weights.h5"]))
def test_damaged_members_end_cleanly(changes, inside):
    """The same inside of a sound archive, whose checksums fit."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "m.keras")
        with zipfile.ZipFile(io.BytesIO(KINDS[".keras"])) as archive:
            members = {one: archive.read(one) for one in archive.namelist()}
        members[inside] = damaged(members[inside], *changes)
        with zipfile.ZipFile(path, "w") as archive:
            for one, content in members.items():
                archive.writestr(one, content)
        clean("audit", str(path))
        clean("list-layers", str(path), "--notes")


_WORDS = st.sampled_from(
    """audit list-layers extract doctor backends --json --sarif --layer -l --input -i -o --rows
    --trust --batch-size --dtype --select --reduce --topk --dry-run --debug --help -V all 0 -1 1e9
    :5 5: ..
    m.keras m.h5 nothing.h5 out.h5 hf://a/b re:( class: * [ % @ /""".split()
)


@_FEW
@given(arguments=st.lists(_WORDS | st.text(max_size=12), max_size=6))
def test_nonsense_on_the_command_line_ends_cleanly(arguments, tmp_path_factory):
    """Whatever is typed, the answer is a message and an exit code."""
    folder = tmp_path_factory.mktemp("typed")
    for unwanted in ("backends", "--debug"):  # which start engines, and show tracebacks on purpose
        arguments = [one for one in arguments if one != unwanted]
    if "audit" in arguments:  # which takes its time with all folders of a machine
        arguments = [one for one in arguments if not one or set(one) - {".", "/"}]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (folder / "m.keras").write_bytes(KINDS[".keras"])
        (folder / "m.h5").write_bytes(KINDS[".h5"])
        clean(*arguments)
