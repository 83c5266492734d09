"""Every serialized layer of a model's config."""

from __future__ import annotations

from collections.abc import Iterator

from layerprobe.modelfile.contents import Config


def layers_in(config: Config) -> Iterator[Config]:
    """Yield every serialized layer inside a serialized model, wrapped and nested ones included."""
    inner = config.get("config")
    listed = inner if isinstance(inner, list) else (inner or {}).get("layers", ())
    for layer in listed or ():
        yield from with_wrapped(layer)


def with_wrapped(layer: Config) -> Iterator[Config]:
    """Yield a serialized layer and those inside it."""
    yield layer
    yield from layers_in(layer)
    inner = layer.get("config")
    if isinstance(inner, dict):
        for key in ("layer", "forward_layer", "backward_layer", "cell"):
            if isinstance(inner.get(key), dict) and "class_name" in inner[key]:
                yield from with_wrapped(inner[key])
        for cell in inner.get("cells") or ():
            if isinstance(cell, dict) and "class_name" in cell:
                yield from with_wrapped(cell)


def makes_mask(layer: Config) -> bool:
    """Tell whether a serialized layer says which time steps count."""
    inner = layer.get("config")
    asked = isinstance(inner, dict) and inner.get("mask_zero")
    return layer["class_name"] == "Masking" or bool(asked)


def name_of(layer: Config) -> str:
    """Return the name of a serialized layer."""
    inner = layer.get("config")
    return str(layer.get("name") or (inner.get("name", "") if isinstance(inner, dict) else ""))
