"""A model's config judged: every object that a loader would make of it, and by which name."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from layerprobe.modelfile.audit import names
from layerprobe.modelfile.audit.findings import Finding, short
from layerprobe.modelfile.audit.ops import COMPUTE
from layerprobe.modelfile.graph import MODEL_CLASSES
from layerprobe.modelfile.shapes import LAYER_CLASSES
from layerprobe.modelfile.upgrade.foreign import code_of
from layerprobe.modelfile.upgrade.operations import KINDS, node_of
from layerprobe.modelfile.upgrade.walk import name_of

_RULES = {
    "TFSMLayer": "external-model",
    "TorchModuleWrapper": "external-model",
    "JaxLayer": "external-model",
    "FlaxLayer": "external-model",
    "Merge": "lambda-bytecode",
}
_OBJECTS = names.CLASSES | names.FORMER
_ACTIVATIONS = ("activation", "recurrent_activation", "inner_activation")
_MOST_LAYERS, _MOST_FINDINGS = 10_000, 1000
_UNSAFE = frozenset({"safe_mode", "allow_pickle", "enable_unsafe_deserialization"})
# Parts of TensorFlow's API that compute and touch nothing else.
_SPACES = frozenset(
    """
    __operators__ bitwise image keras linalg math nn quantization random ragged sets signal sparse
    strings
    """.split()
)
_BARE = frozenset(
    """
    abs add add_n argmax argmin argsort batch_to_space boolean_mask broadcast_to cast clip_by_norm
    clip_by_value complex concat cos cosh cumsum dtypes.cast einsum ensure_shape equal exp
    expand_dims eye fill floor gather gather_nd greater greater_equal identity identity_n less
    less_equal linspace logical_and logical_not logical_or matmul maximum meshgrid minimum multiply
    negative norm
    not_equal one_hot ones ones_like pad pow range rank realdiv repeat reshape reverse
    reverse_sequence roll round scalar_mul searchsorted sequence_mask shape shape_n sigmoid sign sin
    sinh size slice sort space_to_batch split sqrt square squeeze stack stop_gradient strided_slice
    subtract switch_case tan tanh tensordot tile transpose truediv unique unstack where zeros
    zeros_like reduce_all reduce_any reduce_max reduce_mean reduce_min reduce_prod reduce_sum
    """.split()
)


def config_findings(config: Mapping[str, Any]) -> list[Finding]:
    """Return what is dangerous in a serialized model, whichever Keras wrote it."""
    found: list[Finding] = []
    if not _has_layers(config):
        class_name = short(repr(config.get("class_name")))
        found.append(Finding("subclassed-model", "the model", f"it is of class {class_name}"))
    layers = 0
    waiting: list[tuple[Any, str]] = [(config, "the model")]
    while waiting:
        value, where = waiting.pop()
        if isinstance(value, list):
            waiting += [(item, where) for item in value]
        if not isinstance(value, dict):
            continue
        if isinstance(value.get("class_name"), str):
            where = _where(value, where)
            layers += value["class_name"] in LAYER_CLASSES
            found += _object(value, where, top=value is config)
        found += _settings(value, where)
        waiting += [(item, where) for item in value.values()]
    if layers > _MOST_LAYERS:
        found.append(Finding("too-many-layers", "the model", f"it has {layers:,} layers"))
    return list(dict.fromkeys(found))[:_MOST_FINDINGS]


def training_findings(config: Any) -> list[Finding]:
    """Return what is dangerous in a training config, which layerprobe never builds.

    Losses and metrics of the author's own are no danger to who does not train on; modules to
    import, and bytecode, are.
    """
    whole = {"class_name": "Sequential", "config": {"layers": [], "training": config}}
    own = {"custom-class", "custom-function"}
    return [finding for finding in config_findings(whole) if finding.rule_id not in own]


def _has_layers(config: Mapping[str, Any]) -> bool:
    return config.get("class_name") in MODEL_CLASSES


def _where(value: Mapping[str, Any], before: str) -> str:
    layer = value["class_name"] in LAYER_CLASSES or "inbound_nodes" in value
    inner = value.get("config")
    named = name_of(dict(value)) if isinstance(inner, dict) else ""
    custom = value["class_name"] not in _OBJECTS | names.PLAIN | {"function", "__lambda__"}
    return f"layer {short(named)!r}" if named and (layer or custom) else before


def _object(value: Mapping[str, Any], where: str, *, top: bool) -> Iterator[Finding]:
    """Judge one serialized object by its class, its module and the name it is registered by."""
    name, module = str(value["class_name"]), str(value.get("module") or "")
    full = short(f"{module}.{name}" if module else name)
    known = not module or names.is_keras_space(module)
    if name == "__lambda__":
        yield Finding("lambda-bytecode", where, "it holds Python bytecode")
    elif name == "function":
        yield from _function(value, where, module)
    elif _is_pythons(module, name) or (
        name == "__typespec__" and not module.startswith("tensorflow.")
    ):
        yield Finding("foreign-module", where, f"it names {full!r}")
    elif names.is_keras(module) and not known:
        yield Finding("keras-function", where, f"it names {full!r}")
    elif not (
        name in names.PLAIN or (name in _OBJECTS and known) or (top and not _has_layers(value))
    ):
        yield from _layer(value, where, name, full)


def _layer(value: Mapping[str, Any], where: str, name: str, full: str) -> Iterator[Finding]:
    if name in KINDS:
        yield from _tensorflow(value, where)
        return
    if name == "Lambda":
        yield _lambda(value, where)
        return
    what = code_of({"config": {}, **value})
    if what:
        rule = _RULES.get(name, "custom-class")
        said = f"it is of a class that is not Keras' own: {full!r}"
        yield Finding(rule, where, said if rule == "custom-class" else f"it {what}")
    elif "." in name or not name.replace(">", "").isidentifier():
        yield Finding("custom-class", where, f"it names {full!r}")


def _lambda(value: Mapping[str, Any], where: str) -> Finding:
    """Tell a Lambda that holds bytecode from one that names a function."""
    inner = value.get("config")
    function = inner.get("function") if isinstance(inner, dict) else None
    kind = inner.get("function_type") if isinstance(inner, dict) else None
    if isinstance(function, dict) and function.get("class_name") == "function":
        named = f"{function.get('module')}.{function.get('config')}"
        return Finding("lambda-function", where, f"it calls {short(named)!r}")
    if isinstance(function, str) and kind != "lambda":
        named = f"{inner.get('module')}.{function}" if isinstance(inner, dict) else function
        return Finding("lambda-function", where, f"it calls {short(named)!r}")
    return Finding("lambda-bytecode", where, "it holds Python bytecode")


def _function(value: Mapping[str, Any], where: str, module: str) -> Iterator[Finding]:
    name = str(value.get("config"))
    full = short(f"{module}.{name}" if module else name)
    known = name in names.FUNCTIONS | names.FORMER_FUNCTIONS
    if known and (module in {"", "builtins"} or names.is_keras_space(module)):
        return
    if names.is_keras(module):
        space = names.is_keras_space(module)
        yield Finding("custom-function" if space and ".ops" not in module else "keras-function",
                      where, f"it names {full!r}")  # fmt: skip
    elif _is_pythons(module, name):
        yield Finding("foreign-module", where, f"it names {full!r}")
    else:
        yield Finding("custom-function", where, f"it names {full!r}")


def _standard(module: str) -> bool:
    """Tell whether a module is Python's own."""
    return module.partition(".")[0] in sys.stdlib_module_names


def _is_pythons(module: str, name: str) -> bool:
    """Tell whether a class or function is one of Python's own.

    `builtins` is also what Keras writes for whatever has no module of its own.
    """
    return _standard(module) and (module != "builtins" or hasattr(builtins, name))


def _tensorflow(value: Mapping[str, Any], where: str) -> Iterator[Finding]:
    inner = value.get("config")
    if not isinstance(inner, dict):
        return
    if value["class_name"] == "TensorFlowOpLayer":
        op = str(node_of(dict(value)).get("op"))
        if op not in COMPUTE:
            yield Finding("tf-operation", where, f"it is the operation {short(op)!r}")
        return
    function = str(inner.get("function"))
    name = function.removeprefix("compat.v1.").removeprefix("raw_ops.")
    if name.partition(".")[0] not in _SPACES and name not in _BARE and name not in COMPUTE:
        yield Finding("tf-operation", where, f"it calls tf.{short(function)}")


def _settings(value: Mapping[str, Any], where: str) -> Iterator[Finding]:
    """Judge settings that are a danger by themselves."""
    for key in _UNSAFE & value.keys():
        yield Finding("unsafe-setting", where, f"it sets {key}")
    vocabulary = value.get("vocabulary")
    if isinstance(vocabulary, str) and vocabulary:
        yield Finding("vocabulary-path", where, f"its vocabulary is {short(vocabulary)!r}")
    for key in _ACTIVATIONS:
        given = value.get(key)
        if not isinstance(given, str):
            continue
        if given not in names.FUNCTIONS | names.FORMER_FUNCTIONS | LAYER_CLASSES:
            rule = "foreign-module" if "." in given and _standard(given) else "custom-function"
            yield Finding(rule, where, f"its {key} is {short(given)!r}")
