"""OpenVINO, for inference alone: the plan traced into one OpenVINO model with open batch sizes.

Weights are constants of that model. Every call looks whether one was assigned since, and then makes
the model anew, which takes as long as building the function did.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import openvino
from openvino import opset16

from layerprobe.backend import compat, compat_openvino
from layerprobe.backend.calls import Symbol
from layerprobe.backend.compat_state import Scope, array_of
from layerprobe.backend.complaints import in_one_line
from layerprobe.backend.engine import Compiled, pick_gpu
from layerprobe.backend.plan import Plan
from layerprobe.backend.program import Program
from layerprobe.backend.values import numpy_dtype
from layerprobe.errors import BackendError, DataError, LayerprobeError

RECOMPILES = False
RUNS_CHANNELS_FIRST = True
CAPABILITIES = frozenset({"dynamic_batch", "channels_first"})

_ELSEWHERE = "Use --backend tensorflow, jax or torch."
_INT32 = np.iinfo(np.int32)
# By itself OpenVINO takes the fastest precision that the processor has: 16 bits on many.
_SETTINGS: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}

_NUMBERS = "Keras asks for numbers that are not known before the model runs"
_TABLES = "it looks up in TensorFlow's tables"
_SIZES = "with an open height, width or length OpenVINO gives results of another size"
_MASKED = "OpenVINO gives NaN where a mask hides all, unless scores are returned"
# Keras' own layers that run with wrong results, then those that fail: class -> when and why.
_WRONG = {
    **dict.fromkeys(("MultiHeadAttention", "GroupQueryAttention"), _MASKED),
    **{f"Conv{rank}DTranspose": _SIZES for rank in (1, 2, 3)},
    "LeakyReLU": "for integers OpenVINO takes a slope of 0",
}
_FAILING = {
    "RNN": "Keras loses one of the states of a single cell in StackedRNNCells here",
    "TimeDistributed": "Keras needs to know the length of the sequence here",
    "MelSpectrogram": "Keras needs to know the size of the batch here",
    **dict.fromkeys(("CategoryEncoding", "Discretization"), f"with multi_hot {_NUMBERS}"),
    **dict.fromkeys(
        """MixUp RandomColorDegeneration RandomGrayscale RandomHue RandomPosterization
        RandomSaturation RandomSharpness""".split(),
        _NUMBERS,
    ),
    **dict.fromkeys("HashedCrossing Hashing IntegerLookup StringLookup".split(), _TABLES),
}
UNSUPPORTED = _WRONG | _FAILING


def set_threads(count: int | None) -> None:
    """Set OpenVINO's threads for all models compiled from now on; see `Engine.set_threads`."""
    _SETTINGS.pop("INFERENCE_NUM_THREADS", None)
    if count is not None:
        _SETTINGS["INFERENCE_NUM_THREADS"] = count


def prepare(device: str) -> str:
    """Accept the CPU, the one device that Keras uses OpenVINO on; see `Engine.prepare`."""
    pick_gpu(device, 0, "openvino")
    return "cpu"


def compile(program: Program, *, training: bool) -> Compiled:  # noqa: A001 - the engines' common word
    """Trace the program into an OpenVINO model; see `Engine.compile`.

    Raises:
        BackendError: It changes state, takes gradients or draws random numbers; or there is a layer
            that cannot be run, which the message names.
    """
    _refuse_training(program)
    _refuse_float64(program.plan)
    lock = threading.Lock()
    traced = _trace(program.plan, training=training)

    def call(values: Sequence[Any], states: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        nonlocal traced
        for value in values:
            _refuse_wide(value)
        with lock:  # a compiled model takes one batch at a time
            if traced.outdated():
                traced = _trace(program.plan, training=training)
            outputs = traced.run(values)
        _refuse_nan(program.plan, traced, values, outputs)
        return outputs, list(states)

    return call


class _Traced(NamedTuple):
    """A compiled model, the dtypes of its results, the weights that are constants of it."""

    model: Any
    dtypes: list[Any]
    weights: list[tuple[Any, Any]]

    def outdated(self) -> bool:
        """Tell whether a weight was assigned since: Keras puts a new tensor into it then."""
        return any(variable.value is not value for variable, value in self.weights)

    def run(self, values: Sequence[Any]) -> list[Any]:
        """Return the results in their dtypes."""
        fed = [np.asarray(v, "float32") if v.dtype.name == "bfloat16" else v for v in values]
        # Shared memory is freed while OpenVINO still uses it for an output that is an input.
        results = self.model(fed, share_inputs=False)
        return [np.array(results[at], dtype) for at, dtype in enumerate(self.dtypes)]


def _trace(plan: Plan, *, training: bool) -> _Traced:
    """Compile the plan with the weights as they are now."""
    parameters = [
        opset16.parameter([-1 if size is None else size for size in symbol.shape], _carrier(symbol))
        for symbol in plan.inputs
    ]
    with Scope(losses=plan.regularized) as scope:
        scope.forget_losses()
        fed = [compat_openvino.tensor_of(parameter.output(0)) for parameter in parameters]
        casts = zip(fed, plan.inputs, strict=True)
        values = plan.start([compat.cast(tensor, symbol.dtype) for tensor, symbol in casts])
        for number in range(len(plan.steps)):
            _run_step(plan, values, number, training=training)
        outputs = [compat_openvino.output_of(value) for value in plan.returned(values)]
    if training:
        _refuse_random(plan, scope)
    dtypes = [numpy_dtype(compat_openvino.dtype_of(output)) for output in outputs]
    results = [
        opset16.result(_widened(output) if dtype.name == "bfloat16" else output)
        for output, dtype in zip(outputs, dtypes, strict=True)
    ]
    model = openvino.Model(results, parameters)
    _refuse_wrong_nodes(plan, model)
    weights = [(variable, variable.value) for variable in scope.read.values()]
    return _Traced(openvino.compile_model(model, "CPU", _SETTINGS), dtypes, weights)


def _carrier(symbol: Symbol) -> Any:
    """Return the type an input is fed in; NumPy has no bfloat16 that OpenVINO knows."""
    return openvino.Type.f32 if symbol.dtype == "bfloat16" else _element_type(symbol)


def _widened(output: Any) -> Any:
    return opset16.convert(output, openvino.Type.f32).output(0)


def _element_type(symbol: Symbol) -> Any:
    found = compat_openvino.element_type(symbol.dtype)
    if found is None:
        raise BackendError(
            f"{symbol.address or symbol.name} is {symbol.dtype}, which OpenVINO does not know.",
            fix=_ELSEWHERE,
        )
    return found


def _run_step(plan: Plan, values: dict[int, Any], number: int, *, training: bool) -> None:
    """Run one step on symbolic tensors, and name it if Keras has no way to do that."""
    call = plan.steps[number].call
    try:
        plan.advance(values, number, number + 1, training=training)
    except LayerprobeError:
        raise
    except Exception as error:  # whatever Keras raises
        operation = getattr(call, "operation", call)
        name = getattr(operation, "name", "the input of a nested model")
        kind = type(operation).__name__
        said = in_one_line(error, 150)
        reason = f"{_FAILING[kind]} ({said})" if kind in _FAILING else said
        raise BackendError(
            f"OpenVINO cannot run {name} ({kind}): {reason}",
            fix=_ELSEWHERE,
            layer=name,
        ) from error


def _refuse_training(program: Program) -> None:
    asked = "updates" if program.updates else "gradients" if program.plan.gradients else ""
    if asked:
        raise BackendError(
            f"OpenVINO computes no {asked}; it is for inference alone.",
            fix=_ELSEWHERE,
            backend="openvino",
        )


def _refuse_random(plan: Plan, scope: Scope) -> None:
    """Refuse random numbers, which would be constants of the model, the same at every call."""
    drawn = compat_openvino.random_states(plan.operations)
    if any(id(state) in scope.written for state in drawn):
        raise BackendError(
            "OpenVINO cannot draw random numbers at every call, as dropout and noise do in the "
            "training phase.",
            expected="the inference phase, training=False",
            fix=_ELSEWHERE,
            backend="openvino",
        )


def _refuse_wrong_nodes(plan: Plan, model: Any) -> None:
    """Refuse what OpenVINO runs with wrong results, as `UNSUPPORTED` says, wherever it stands."""
    for node in model.get_ops():
        kind = node.get_type_name()
        if kind == "ScaledDotProductAttention" and _is_masked(node):
            wrong: tuple[str, ...] = ("MultiHeadAttention", "GroupQueryAttention")
        elif kind == "ConvolutionBackpropData" and _has_open_sizes(node):
            wrong = ("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")
        elif kind == "PRelu" and not node.get_output_element_type(0).is_real():
            wrong = ("LeakyReLU",)
        else:
            continue
        names = compat_openvino.names_of(plan.operations, wrong)
        raise BackendError(
            f"OpenVINO cannot run {', '.join(names) or kind}: {_WRONG[wrong[0]]}.",
            fix=_ELSEWHERE,
            backend="openvino",
        )


def _is_masked(attention: Any) -> bool:
    if attention.get_input_size() < 4:
        return False
    mask = attention.input_value(3).get_node()
    if mask.get_type_name() == "ConvertLike":  # a scalar that stands for no mask
        mask = mask.input_value(0).get_node()
    return bool(mask.get_type_name() != "Constant")


def _has_open_sizes(convolution: Any) -> bool:
    """Tell whether a dimension besides those of batch and channels is open."""
    shape = convolution.input_value(0).get_partial_shape()
    return any(size.is_dynamic for size in list(shape)[2:])


def _refuse_float64(plan: Plan) -> None:
    wide = [s for s in (*plan.inputs, *plan.outputs) if s.dtype in ("float64", "complex128")]
    if wide:
        raise BackendError(
            f"{wide[0].address or wide[0].name} is {wide[0].dtype}; OpenVINO computes in 32 bits.",
            fix=_ELSEWHERE,
        )


def _refuse_wide(value: np.ndarray[Any, Any]) -> None:
    """Refuse 64-bit integers that OpenVINO would cut to 32 bits without a word."""
    if value.dtype not in (np.int64, np.uint64) or not value.size:
        return
    if value.min() < _INT32.min or value.max() > _INT32.max:
        raise DataError(
            f"The input holds integers up to {value.max()}, and OpenVINO computes in 32 bits.",
            fix="Use --backend tensorflow or torch.",
        )


def _refuse_nan(plan: Plan, traced: _Traced, values: Sequence[Any], outputs: Sequence[Any]) -> None:
    """Refuse NaN that neither the inputs nor the weights bring along."""
    wrong = [s for s, out in zip(plan.outputs, outputs, strict=True) if _has_nan(out)]
    if not wrong:
        return
    weights = (array_of(variable) for variable, _ in traced.weights)
    if all(_is_finite(array) for array in (*values, *weights)):
        raise BackendError(
            f"OpenVINO gave NaN for {wrong[0].address or wrong[0].name}, though all inputs and "
            "weights are finite.",
            fix="Look whether another engine does: --backend tensorflow, jax or torch.",
            backend="openvino",
        )


def _has_nan(array: np.ndarray[Any, Any]) -> bool:
    return array.dtype.kind not in "biu" and bool(np.isnan(array).any())


def _is_finite(array: np.ndarray[Any, Any]) -> bool:
    return array.dtype.kind in "biu" or bool(np.isfinite(array).all())
