"""Which engines there are: those of this package, and those that other packages bring along.

Another package adds an engine by an entry point of the group `layerprobe.backends`: its name is the
engine's, its value a module with the members of `layerprobe.backend.engine.Engine`. Only `load`
imports an engine. What must be known before, because Keras reads it once, is read from the module's
text.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib.machinery import ModuleSpec, PathFinder
from typing import Any

from layerprobe.backend.complaints import in_one_line
from layerprobe.errors import BackendError, LayerprobeError

GROUP = "layerprobe.backends"
# What an engine may say it can do, in its CAPABILITIES.
CAPABILITIES = frozenset(
    {"updates", "gradients", "sparse", "strings", "dynamic_batch", "channels_first"}
)
_OLDEST_KERAS = (3, 15, 1)
_KERAS_ENGINES = ("tensorflow", "jax", "torch", "openvino", "numpy")


@dataclass(frozen=True)
class Known:
    """An engine that can be asked for.

    Attributes:
        name: What `--backend` takes.
        module: The module that implements it, or `module:attribute`.
        origin: The distribution that brings it, with its version.
        install: What pip is to install for it.
        package: The package it needs, as it is imported; "" if nobody says.
        keras: The KERAS_BACKEND it needs; "" before `find`.
    """

    name: str
    module: str
    origin: str
    install: str
    package: str = ""
    keras: str = ""


def _own(name: str, install: str = "") -> Known:
    install = install or f"layerprobe[{name}]"
    return Known(name, f"layerprobe.backend.{name}", "layerprobe", install, name, name)


# The engines of this package, a line each: layerprobe.backend.NAME, on Keras' engine of that name.
ENGINES = {
    engine.name: engine
    for engine in (
        _own("tensorflow", install="layerprobe"),
        _own("jax"),
        _own("torch"),
        _own("openvino"),
    )
}


def known() -> list[Known]:
    """Return all engines that can be asked for, this package's first; a name may come twice."""
    # Takes as long as the rest of the package to import, and listing layers does not need it.
    from importlib.metadata import entry_points

    brought = []
    for entry in entry_points(group=GROUP):
        name, version = (entry.dist.name, entry.dist.version) if entry.dist else ("unknown", "")
        brought.append(Known(entry.name, entry.value, f"{name} {version}".strip(), name))
    return [*ENGINES.values(), *sorted(brought, key=lambda k: (k.name, k.origin, k.module))]


def find(name: str, said_by: str = "") -> Known:
    """Return the engine of a name.

    Args:
        name: The name.
        said_by: The environment variable it comes from, for the message.

    Raises:
        BackendError: There is none, or more than one package brings it, or its module is broken.
    """
    everything = known()
    found = [engine for engine in everything if engine.name == name]
    if not found:
        raise BackendError(
            f"{said_by} names the engine {name!r} which is not known."
            if said_by
            else f"The engine {name!r} is not known.",
            expected=f"one of {', '.join(dict.fromkeys(k.name for k in everything))}",
            exit_code=2,
            backend=name,
        )
    if len(found) > 1:
        places = [f"{engine.origin} ({engine.module})" for engine in found]
        spare = [engine.install for engine in found if engine.name not in ENGINES]
        spare = spare or [engine.install for engine in found[1:]]
        raise BackendError(
            f"The engine {name!r} comes from more than one package: {' and '.join(places)}.",
            expected="one package for a name",
            fix=f"Remove the one you do not want: pip uninstall {' | '.join(dict.fromkeys(spare))}",
            backend=name,
            origins=places,
        )
    return _described(found[0])


def _described(engine: Known) -> Known:
    """Return an engine with what its module says of itself, without running the module."""
    if engine.keras:
        return engine
    spec = _spec(engine)
    source = getattr(spec.loader, "get_source", None) if spec else None
    try:
        tree = ast.parse((source(spec.name) if source and spec else None) or "")
    except (SyntaxError, ImportError) as error:
        raise _broken(engine, error) from error
    said: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            said |= {name: str(node.value.value) for name in names}
    package, keras = said.get("PACKAGE", ""), said.get("KERAS_BACKEND", engine.name)
    return replace(engine, package=package, keras=keras)


def _spec(engine: Known) -> ModuleSpec | None:
    """Find an engine's module without importing the packages it lies in."""
    name, *below = engine.module.partition(":")[0].split(".")
    spec = importlib.util.find_spec(name)
    for part in below:
        name = f"{name}.{part}"
        places = spec.submodule_search_locations if spec else None
        spec = PathFinder.find_spec(name, places) if places else None
    return spec


def check_installed(engine: Known) -> None:
    """Make sure that an engine is there, with what it needs, without importing it.

    Raises:
        BackendError: Its package or its module is not installed, or Keras cannot run it.
    """
    if engine.package and importlib.util.find_spec(engine.package) is None:
        own = engine.name in ENGINES
        raise BackendError(
            f"The engine {engine.name!r} is not installed."
            if own
            else f"{_of(engine)} needs the package {engine.package!r}, which is not installed.",
            fix=f"Install it with: pip install '{engine.install if own else engine.package}'",
            backend=engine.name,
        )
    if _spec(engine) is None:
        raise BackendError(
            f"{_of(engine)} has no module {engine.module!r}.",
            fix=f"Install it anew: pip install --force-reinstall '{engine.install}'",
            backend=engine.name,
        )
    if engine.keras not in _KERAS_ENGINES:
        raise BackendError(
            f"{_of(engine)} needs KERAS_BACKEND={engine.keras}, which Keras does not have.",
            expected="a line such as KERAS_BACKEND = 'jax' in its module, "
            f"with one of {', '.join(_KERAS_ENGINES)}",
            backend=engine.name,
        )
    _check_keras()


def _check_keras() -> None:
    """Refuse a Keras with known holes, by what its package says of itself."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version("keras")
    except PackageNotFoundError:
        if importlib.util.find_spec("keras") is not None:
            return  # of another package, such as the nightly one
        found = ""
    numbers = tuple(int(number) for number in re.findall(r"\d+", found)[:3])
    if numbers < _OLDEST_KERAS:
        oldest = ".".join(map(str, _OLDEST_KERAS))
        raise BackendError(
            f"Keras {found} is installed." if found else "Keras is not installed.",
            expected=f"{oldest} or later: older ones have known holes when they load a model",
            fix=f"Install it with: pip install --upgrade 'keras>={oldest}'",
            found=found,
        )


def load(engine: Known, members: Iterable[str]) -> Any:
    """Import an engine and check that it is one.

    Args:
        engine: The engine.
        members: The names it must have.

    Raises:
        BackendError: It cannot be imported, it lacks a member, or what it says of itself is wrong.
    """
    from importlib.metadata import EntryPoint

    try:
        module = EntryPoint(engine.name, engine.module, GROUP).load()
    except LayerprobeError:
        raise
    except Exception as error:  # importing runs the code of others, which may fail in any way
        raise _broken(engine, error) from error
    lacking = [name for name in members if not hasattr(module, name)]
    strange = [] if lacking else sorted(set(module.CAPABILITIES) - CAPABILITIES)
    if lacking or strange:
        said = f"lacks {', '.join(lacking)}" if lacking else f"can {strange}, which means nothing"
        raise BackendError(
            f"{_of(engine)} {said}.",
            expected="the members of layerprobe.backend.engine.Engine, "
            f"and CAPABILITIES out of {', '.join(sorted(CAPABILITIES))}",
            fix=f"Install another version of it: pip install --upgrade '{engine.install}'",
            backend=engine.name,
        )
    return module


def _of(engine: Known) -> str:
    return f"The engine {engine.name!r} of {engine.origin}"


def _broken(engine: Known, error: Exception) -> BackendError:
    return BackendError(
        f"{_of(engine)} cannot be imported: {in_one_line(error)}",
        fix=f"Install it anew: pip install --force-reinstall '{engine.install}'",
        backend=engine.name,
    )
