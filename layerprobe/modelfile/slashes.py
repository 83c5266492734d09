"""Names with "/" in them, which Keras 2 took and Keras 3 does not."""

from __future__ import annotations

# Stands for "/" in the name of a live layer; scopes of TensorFlow and names of PyTorch may hold it.
_SLASH = ">slash>"


def without_slashes(name: str) -> str:
    """Return the name that a live layer has for one that its file gives it."""
    return name.replace("/", _SLASH)


def saved_name(name: str) -> str:
    """Return the name that a live layer has in its file."""
    return name.replace(_SLASH, "/")
