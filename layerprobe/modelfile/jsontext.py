"""JSON from a file, read only if everybody reads it alike and it cannot exhaust who reads it.

Python's parser takes the last of two equal keys and takes NaN; others take the first, or fail. A
text on which readers differ can show a harmless model to the one that checks it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from layerprobe.errors import ModelError

# A model's config is text about layers; the largest seen in real files is 3 MB.
MAX_CONFIG_BYTES = 32 << 20
_MAX_DEPTH = 200
# What Python needs for the parsed text, roughly: an object, a list, a value.
_COSTS = {b"{": 232, b"[": 72, b",": 40}
_MAX_PARSED = 128 << 20


def parse_json(text: str | bytes, path: Path, what: str = "The model config") -> Any:
    """Return what a text says.

    Raises:
        ModelError: It is too large, not JSON, nested too deeply, or ambiguous; `fields["rule"]`
            names the rule of the audit.

    Example:
        >>> parse_json('{"units": 2}', Path("m.json"))
        {'units': 2}
    """
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if len(data) > MAX_CONFIG_BYTES:
        raise _refused(
            f"{what} in {path} takes {len(data):,} bytes",
            "config-size",
            path,
            expected=f"at most {MAX_CONFIG_BYTES:,}",
        )
    if sum(data.count(sign) * cost for sign, cost in _COSTS.items()) > _MAX_PARSED:
        raise _refused(f"{what} in {path} has millions of values", "config-size", path)

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise _refused(f"{what} in {path} has the key {twice!r:.80} twice",
                           "duplicate-keys", path)  # fmt: skip
        return found

    def constant(name: str) -> float:
        if name == "NaN":
            raise _refused(f"{what} in {path} holds NaN", "not-a-number", path)
        return float(name)

    try:
        found = json.loads(text, object_pairs_hook=once, parse_constant=constant)
    except RecursionError as error:
        raise _refused(f"{what} in {path} is nested too deeply", "config-depth", path) from error
    except ValueError as error:
        raise ModelError(
            f"{what} in {path} is not JSON: {error}.",
            fix="The file is damaged; get it again from where it came from.",
            path=str(path),
        ) from error
    if is_deeper(found, _MAX_DEPTH):
        raise _refused(f"{what} in {path} is nested too deeply", "config-depth", path,
                       expected=f"at most {_MAX_DEPTH} levels")  # fmt: skip
    return found


def is_deeper(value: Any, limit: int) -> bool:
    """Tell whether objects and lists are nested deeper than that."""
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(limit):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return False
    return True


def _refused(what: str, rule: str, path: Path, expected: str = "") -> ModelError:
    return ModelError(
        f"{what}.",
        expected=expected or "a config as model.save(...) writes it",
        fix="Get the file again from a source you trust.",
        path=str(path),
        rule=rule,
    )
