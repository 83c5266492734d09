"""The shape of the house: who may import whom, what start-up loads, how long things may get.

All of it is read from the source, or seen in a fresh process; no engine is needed.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from command import ROOT, environment
from house import ALLOWED, ALLOWED_FOR_TYPES, THIRD_PARTY, WITHOUT_NUMPY

PACKAGE = ROOT / "layerprobe"
MODULES = sorted(PACKAGE.rglob("*.py"))

LONGEST_FILE, LONGEST_FUNCTION = 300, 40
# What may be longer, and why.
LONGER_FILES = {"docs/cli.md": "generated, a section for each command"}
LONGER_FUNCTIONS: dict[str, str] = {}


def name_of(path: Path) -> str:
    """Return a module's path inside the package, for messages and tables."""
    return path.relative_to(PACKAGE).as_posix()


def room_of(path: Path) -> str:
    """Return the room a module stands in."""
    first = path.relative_to(PACKAGE).parts[0]
    return "" if first == "__init__.py" else first.removesuffix(".py")


@cache
def tree_of(path: Path) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse(path.read_text("utf-8"))


def imports(path: Path, *, for_types: bool = False) -> Iterator[str]:
    """Yield the dotted names a module imports anywhere in it, or only those for annotations."""
    guarded = {
        id(inner)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree_of(path)):
        if (id(node) in guarded) != for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)} imports by a relative name"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            # A name put together at run time counts with its constant beginning.
            constants = (n.value for n in ast.walk(node) if isinstance(n, ast.Constant))
            yield from (text for text in constants if isinstance(text, str) and "." in text)


def rooms_imported(path: Path, *, for_types: bool = False) -> set[str]:
    """Return the rooms of this package that a module imports, its own left out."""
    found = set()
    for name in imports(path, for_types=for_types):
        head, *rest = name.split(".")
        if head == "layerprobe":
            found.add(rest[0] if rest and rest[0] in ALLOWED else "")
    return found - {room_of(path)}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_arrows_point_one_way(path):
    """A module imports only from the rooms that its own stands on."""
    room = room_of(path)
    assert rooms_imported(path) <= ALLOWED[room]
    assert rooms_imported(path, for_types=True) <= ALLOWED[room] | ALLOWED_FOR_TYPES.get(
        room, set()
    )


def test_the_table_of_rooms_has_no_circle():
    """The table above can be put in an order, with sources, sinks and backend apart."""
    order: list[str] = []
    while len(order) < len(ALLOWED):
        ready = [r for r, below in ALLOWED.items() if r not in order and below <= {*order, r}]
        assert ready, f"a circle among {set(ALLOWED) - set(order)}"
        order += ready
    seams = {"sources", "sinks", "backend"}
    assert all(not ALLOWED[room] & (seams - {room}) for room in seams)
    assert not any({"cli", "testing"} & ALLOWED[room] for room in ALLOWED if room != "__main__")
    assert set(ALLOWED) == {room_of(path) for path in MODULES}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_third_party_packages_stand_where_the_table_says(path):
    """A package of others is imported only by the files named for it, inside functions too."""
    used = {n.partition(".")[0] for kind in (0, 1) for n in imports(path, for_types=bool(kind))}
    foreign = used - sys.stdlib_module_names - {"layerprobe"}
    if room_of(path) not in WITHOUT_NUMPY:
        foreign -= {"numpy"}
    assert foreign <= {package for package, files in THIRD_PARTY.items() if name_of(path) in files}


def test_the_table_of_packages_has_no_leftovers():
    """Every file that is allowed a package imports it."""
    for package, files in THIRD_PARTY.items():
        for file in files:
            used = {name.partition(".")[0] for name in imports(PACKAGE / file)}
            assert package in used, f"{file} no longer imports {package}"


@pytest.mark.parametrize("path", sorted((PACKAGE / "backend").rglob("*.py")), ids=name_of)
def test_private_keras_is_touched_in_few_files(path):
    """Attributes that Keras keeps to itself, and keras.src, stand in backend/compat*.py."""
    if re.fullmatch(r"compat(_calls|_openvino|_operations|_state)?\.py", path.name):
        assert any(name.startswith("keras.src") for name in imports(path))
        return
    assert not [name for name in imports(path) if name.startswith("keras.src")]
    for node in ast.walk(tree_of(path)):
        name, owner = "", ""
        if isinstance(node, ast.Attribute):
            name, owner = node.attr, ast.unparse(node.value)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "setattr"):
            name = str(getattr(node.args[1], "value", ""))
        private = name.startswith("_") and not name.endswith("__")
        assert not private or owner in ("self", "cls"), f"{owner}.{name}, line {node.lineno}"


@pytest.mark.parametrize(
    "code",
    [
        "import layerprobe; layerprobe.LayerTable; dir(layerprobe)",
        "import sys, layerprobe.cli; layerprobe.cli.main(['--help'], standalone_mode=False)",
        "import layerprobe; layerprobe.list_layers('samples/digits_pairs.keras').table",
        "import layerprobe.backend",
    ],
)
def test_start_up_loads_no_framework(code):
    """Importing, --help and listing load no framework; importing loads no click and no rich."""
    script = f"{code}\nimport json, sys\nprint('\\n' + json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}
    assert not loaded & {"tensorflow", "keras", "jax", "torch", "openvino", "ml_dtypes"}
    assert "layerprobe" in loaded
    if "cli" not in code:
        assert not loaded & {"click", "rich"}
    if "--help" in code or "LayerTable" in code:
        assert not loaded & {"rich", "h5py", "numpy"}


def written_by_hand() -> list[Path]:
    """Return the files of the project that people read: code, tests, samples, documents."""
    folders = [PACKAGE, *(ROOT / name for name in ("tests", "samples", "benchmarks", "docs"))]
    found = [path for folder in folders for path in folder.rglob("*")]
    return [*ROOT.glob("*.md"), *(p for p in found if p.suffix in (".py", ".c", ".md", ".sh"))]


def test_no_file_is_too_long():
    """A file has one purpose; past 300 lines it needs a reason, and a reason needs such a file."""
    lengths = {
        path.relative_to(ROOT).as_posix(): len(path.read_text("utf-8").splitlines())
        for path in written_by_hand()
    }
    too_long = {name for name, length in lengths.items() if length > LONGEST_FILE}
    assert too_long == set(LONGER_FILES), {name: lengths[name] for name in too_long}


def test_no_function_is_too_long():
    """A function fits on a screen: 40 lines without its docstring, or a reason."""
    too_long = set()
    for path in (p for p in written_by_hand() if p.suffix == ".py"):
        for node in ast.walk(tree_of(path)):
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            lines = node.end_lineno - node.lineno + 1
            if ast.get_docstring(node) is not None:
                lines -= node.body[0].end_lineno - node.body[0].lineno + 1
            if lines > LONGEST_FUNCTION:
                too_long.add(f"{path.relative_to(ROOT).as_posix()}:{node.name}")
    assert too_long == set(LONGER_FUNCTIONS)


def test_the_door_is_sorted_and_complete():
    """`__all__` is sorted, every name in it opens, and every name the door binds is in it."""
    import layerprobe

    assert layerprobe.__all__ == sorted(layerprobe.__all__)
    assert all(getattr(layerprobe, name) is not None for name in layerprobe.__all__)
    assert set(dir(layerprobe)) == {*layerprobe.__all__, "__version__"}
    bound = {
        alias.asname or alias.name
        for node in ast.walk(tree_of(PACKAGE / "__init__.py"))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("layerprobe")
        for alias in node.names
    } | {"backend"}
    assert bound == set(layerprobe.__all__)
    assert not hasattr(layerprobe, "nothing")


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_list_of_names_is_sorted(path):
    """An `__all__` is sorted and names what the module has; every file says why it exists."""
    assert ast.get_docstring(tree_of(path))
    for node in tree_of(path).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names = ast.literal_eval(node.value)
            assert names == sorted(names)
            text = path.read_text("utf-8")
            assert all(len(re.findall(rf"\b{name}\b", text)) > 1 for name in names)
