"""The grammar of addresses: quoting names, taking an address apart, globs as regular expressions.

    ADDRESS  = element *("/" element) [":" (output / inside)]
    element  = name ["@" call]

Characters with a meaning, and those a terminal cannot show, are percent-encoded in names, because
names come from model files and are not to be trusted.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

_MEANINGFUL = frozenset("%/@:*?[]!")
# No model has a thousand million layers; and int() refuses text of some thousand digits.
_INTEGER = re.compile(r"-?\d{1,9}\Z")
_NUMBER = re.compile(r"\d{1,9}\Z")
_INSIDE = re.compile(r"[a-z][a-z_]{1,40}\Z")
_GROUP = re.compile(r"\(\?[a-zA-Z-]*:")


def is_index(pattern: str) -> bool:
    """Tell whether a pattern is a layer number such as "3" or "-2"."""
    return _INTEGER.match(pattern) is not None


def is_glob(pattern: str) -> bool:
    """Tell whether a pattern holds a wildcard; in names those are always percent-encoded."""
    return any(c in pattern for c in "*?[")


def names_insides(pattern: str) -> bool:
    """Tell whether a glob or an expression asks for what layers compute on their way.

    It does if letters follow a ":"; that of a group such as `(?:a|b)` does not count. So `lstm:*`
    stands for the numbered outputs alone.

    Example:
        >>> names_insides("*:states"), names_insides("lstm:*"), names_insides("(?:lstm|gru)")
        (True, False, False)
    """
    return re.search(":.*[A-Za-z]", _GROUP.sub("", pattern)) is not None


def quote(name: str) -> str:
    """Return a layer name as it stands in an address.

    Args:
        name: Any string; names come from files and are not to be trusted.

    Returns:
        The name with every character that has a meaning in addresses, or that is not printable,
        percent-encoded as UTF-8. A name that would read as an index or as `all` gets its first
        character encoded.

    Example:
        >>> quote("block1/conv"), quote("3"), quote("größe")
        ('block1%2Fconv', '%33', 'größe')
    """
    reserved = name == "all" or is_index(name) or name.startswith("-")
    return "".join(
        _percent(c)
        if c in _MEANINGFUL or c.isspace() or not c.isprintable() or (reserved and i == 0)
        else c
        for i, c in enumerate(name)
    )


def _percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))


def parse(address: str) -> tuple[list[tuple[str, int | None]], int | str] | None:
    """Split an address into its parts; None if malformed.

    Returns:
        The (name, call) elements, and the number of an output or the name of an inside.

    Example:
        >>> parse("encoder@1/lstm:states")
        ([('encoder', 1), ('lstm', None)], 'states')
    """
    body, colon, output = address.partition(":")
    if colon and not _NUMBER.match(output) and not _INSIDE.match(output):
        return None
    elements: list[tuple[str, int | None]] = []
    for element in body.split("/"):
        name, at, call = element.partition("@")
        if at and not _NUMBER.match(call):
            return None
        try:
            name = unquote(name, errors="surrogatepass")
        except UnicodeDecodeError:
            return None
        elements.append((name, int(call) if at else None))
    return elements, output if _INSIDE.match(output) else int(output or 0)


def glob_to_regex(pattern: str) -> str:
    """Translate a glob in which `*`, `?` and `[!…]` stop at "/" and `**` does not.

    A glob that makes no sense, such as `[z-a]`, becomes an expression that does not compile.
    """
    parts: list[str] = []
    position = 0
    while position < len(pattern):
        if pattern.startswith("**", position):
            parts.append(".*")
            position += 2
            continue
        character = pattern[position]
        position += 1
        if character == "*":
            parts.append("[^/]*")
        elif character == "?":
            parts.append("[^/]")
        elif character == "[" and (end := pattern.find("]", position + 1)) > 0:
            inside = re.sub(r"[\\[^&~|]", r"\\\g<0>", pattern[position:end])
            parts.append(f"[^/{inside[1:]}]" if inside.startswith("!") else f"[{inside}]")
            position = end + 1
        else:
            parts.append(re.escape(character))
    return "".join(parts)
