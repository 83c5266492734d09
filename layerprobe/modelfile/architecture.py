"""Reader of architectures without weights: the JSON or YAML of `model.to_json()`, `to_yaml()`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from layerprobe.errors import ModelError, TrustError
from layerprobe.modelfile.contents import Contents, parse_config
from layerprobe.modelfile.jsontext import MAX_CONFIG_BYTES

_OF_MODEL = ("class_name", "config", "module", "registered_name")
# PyYAML reads about 100 kB a second.
_MAX_YAML_BYTES, _MOST_VALUES = 1 << 20, 200_000
_YAML_HEADS = (b"backend:", b"class_name:", b"config:", b"keras_version:")


def is_architecture(head: bytes) -> bool:
    """Tell whether a file that begins so may be an architecture."""
    return head.lstrip(b' \t\r\n"')[:1] == b"{" or is_yaml(head)


def is_yaml(head: bytes) -> bool:
    """Tell whether a file that begins so may be an architecture in YAML."""
    return any(head.startswith(known[: len(head)]) for known in _YAML_HEADS) and bool(head)


def read(path: Path) -> Contents:
    """Return the contents of an architecture.

    Raises:
        ModelError: It is too large, cannot be parsed, or does not describe a model.
    """
    with path.open("rb") as file:
        text = file.read(MAX_CONFIG_BYTES + 1)
    if is_yaml(text[:8]):
        text = json.dumps(_yaml(text, path)).encode()
    elif text.lstrip()[:1] == b'"':
        # json.dump(model.to_json(), file) writes JSON inside JSON.
        text = _inner(text, path).encode()
    config = parse_config(text, path)
    if "registered_name" in config and "keras_version" not in config:
        config["keras_version"] = "3"  # which does not say it, as all others do
    told = {key: str(config[key]) for key in ("keras_version", "backend") if config.get(key)}
    return Contents(
        path=path,
        format="architecture",
        config={key: config[key] for key in _OF_MODEL if key in config},
        keras_version=told.get("keras_version"),
        backend=told.get("backend"),
        weights=None,
    )


def _inner(text: bytes, path: Path) -> str:
    try:
        return str(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "JSON", error) from error


def _yaml(text: bytes, path: Path) -> Any:
    try:
        import yaml
    except ImportError as error:
        raise ModelError(
            f"{path} is YAML, which needs the package PyYAML.",
            fix="Install it: pip install 'layerprobe[yaml]'",
            path=str(path),
        ) from error

    if len(text) > _MAX_YAML_BYTES:
        raise _refused(path, f"takes more than {_MAX_YAML_BYTES:,} bytes", "config-size")

    class Loader(yaml.SafeLoader):
        """Plain data, and the tuples that Keras wrote; no other object is made."""

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            keys = [str(key.value) for key, _ in node.value]
            if len(set(keys)) != len(keys):
                raise _refused(path, "has one key twice", "duplicate-keys")
            return super().construct_mapping(node, deep=deep)

    def sequence(loader: Any, node: Any) -> Any:
        return loader.construct_sequence(node)

    def scalar(loader: Any, node: Any) -> Any:
        return loader.construct_scalar(node)

    Loader.add_constructor("tag:yaml.org,2002:python/tuple", sequence)
    Loader.add_constructor("tag:yaml.org,2002:python/unicode", scalar)
    try:
        found = yaml.load(text, Loader)  # noqa: S506 - a kind of SafeLoader
    except yaml.constructor.ConstructorError as error:
        if "python/" in str(error):
            raise _refused(path, "asks for Python objects to be made", "yaml-code", 77) from error
        raise _damaged(path, "YAML", error) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise _damaged(path, "YAML", error) from error
    _refuse_growth(found, path)
    return found


def _refuse_growth(value: Any, path: Path) -> None:
    """Refuse aliases of aliases, which a few lines of YAML make into billions of values."""
    waiting, seen = [value], 0
    while waiting:
        one = waiting.pop()
        seen += 1
        if seen > _MOST_VALUES:
            raise _refused(path, "grows to more values than any model", "config-size")
        if isinstance(one, (dict, list)):
            waiting += one.values() if isinstance(one, dict) else one


def _refused(path: Path, what: str, rule: str, exit_code: int = 65) -> ModelError | TrustError:
    kind = TrustError if exit_code == TrustError.exit_code else ModelError
    return kind(
        f"The model config in {path} {what}.",
        expected="a config as model.to_yaml() wrote it",
        fix="Get the file again from a source you trust.",
        path=str(path),
        rule=rule,
    )


def _damaged(path: Path, what: str, error: BaseException) -> ModelError:
    said = " ".join(str(error).split())[:200]
    return ModelError(f"The model config in {path} is not {what}: {said}.", path=str(path))
