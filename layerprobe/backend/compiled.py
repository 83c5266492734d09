"""What `function(inputs, outputs)` returns: a compiled pass, its inputs checked at every call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from layerprobe.backend import compat
from layerprobe.backend.calls import Symbol
from layerprobe.backend.complaints import in_one_line
from layerprobe.backend.engine import Compiled, Engine
from layerprobe.backend.plan import Plan, make_plan
from layerprobe.errors import BackendError, DataError, LayerprobeError

Array = np.ndarray[Any, Any]


class Function:
    """A compiled pass from inputs to outputs, built once and called many times.

    Attributes:
        plan: What it runs.
    """

    def __init__(self, plan: Plan, compiled: Compiled, *, single: bool = False) -> None:
        self.plan = plan
        self._compiled = compiled
        self._single = single

    def __call__(self, values: Any) -> Any:
        """Compute the outputs.

        Args:
            values: One array for each input, in the order of `inputs`; rows first. They are cast
                to the inputs' dtypes.

        Returns:
            A list of NumPy arrays in the order of `outputs`; the array alone if `outputs` was a
            single tensor.

        Raises:
            DataError: Their number, or the rank or shape of one, does not fit.
            BackendError: The engine failed.
        """
        given = list(values) if isinstance(values, (list, tuple)) else [values]
        if len(given) != len(self.plan.inputs):
            names = ", ".join(symbol.address for symbol in self.plan.inputs)
            raise DataError(
                f"The function got {len(given)} arrays.",
                expected=f"{len(self.plan.inputs)}, one for each of: {names}",
            )
        arrays = [_fitting(s, value) for s, value in zip(self.plan.inputs, given, strict=True)]
        try:
            results = self._compiled(arrays)
        except LayerprobeError:
            raise
        except Exception as error:  # whatever the engine raises
            raise _engine_error("computing", self.plan, error) from error
        # An output may be a view of an input that passed through; the caller owns both.
        owned = [
            result.copy() if any(np.may_share_memory(result, a) for a in arrays) else result
            for result in results
        ]
        return owned[0] if self._single else owned


def make_function(inputs: Any, outputs: Any, engine: Engine) -> Function:
    """Return the compiled callable of `layerprobe.backend.function` on an engine."""
    single = not isinstance(outputs, (list, tuple))
    feeds = [_symbol(value, ()) for value in _listed(inputs)]
    models = tuple({id(s.model): s.model for s in feeds if s.model is not None}.values())
    plan = make_plan(feeds, [_symbol(value, models) for value in _listed(outputs)])
    try:
        compiled = engine.compile(plan)
    except LayerprobeError:
        raise
    except Exception as error:  # whatever the engine raises
        raise _engine_error("compiling", plan, error) from error
    return Function(plan, compiled, single=single)


def _engine_error(doing: str, plan: Plan, error: Exception) -> BackendError:
    """Return what an engine says in one line; its own messages print graphs and arrays."""
    outputs = ", ".join(s.address or s.tensor.name for s in plan.outputs[:3])
    return BackendError(
        f"The engine failed while {doing} {outputs}: {in_one_line(error)}",
        fix="If a size the model leaves open is too small or too large, give data of another size.",
    )


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else [value]


def _symbol(value: Any, models: tuple[Any, ...]) -> Symbol:
    if isinstance(value, Symbol):
        return value
    if isinstance(value, str):
        if len(models) != 1:
            raise BackendError(
                f"The address {value!r} needs a model to be looked up in.",
                expected="inputs of one model that layerprobe.load returned",
                fix=f"Give the tensor itself: model[{value!r}].",
                address=value,
            )
        found = models[0][value]
        assert isinstance(found, Symbol)  # noqa: S101 - tells the type checker what Model returns
        return found
    if compat.is_symbolic(value):
        return Symbol(value, (), str(compat.history(value)[0].name))
    empty = isinstance(value, (list, tuple)) and not value
    raise BackendError(
        f"{type(value).__name__} is not a symbolic tensor."
        if not empty
        else "An empty list stands where a symbolic tensor should.",
        expected="a tensor of a model's graph, such as model.inputs[0] or model['address']",
        fix="In Keras 3 `InputLayer.input` is []; use model.inputs." if empty else "",
    )


def _fitting(symbol: Symbol, value: Any) -> Array:
    """Return a value as an array of a symbol's dtype and shape."""
    name = symbol.address or symbol.tensor.name
    array = np.asarray(value)
    fits = len(array.shape) == len(symbol.shape) and all(
        want is None or want == have for want, have in zip(symbol.shape, array.shape, strict=True)
    )
    if not fits:
        raise DataError(
            f"The array for {name!r} has shape {array.shape}.",
            expected=f"shape {symbol.shape}",
            name=name,
            shape=array.shape,
        )
    if array.dtype.kind not in "biufV" or symbol.dtype == "string":
        raise DataError(
            f"The array for {name!r} is of dtype {array.dtype}; the model takes {symbol.dtype}.",
            expected="numbers",
            name=name,
        )
    cast = np.asarray(array, dtype=numpy_dtype(symbol.dtype))
    if cast.dtype.kind in "iu" and array.dtype.kind == "f" and (cast != array).any():
        raise DataError(
            f"The array for {name!r} holds numbers that are not whole.",
            expected=f"integers, as {symbol.dtype}",
            name=name,
        )
    return cast


def numpy_dtype(name: str) -> np.dtype[Any]:
    """Return the NumPy dtype of a Keras dtype name; bfloat16 is one of ml_dtypes."""
    import ml_dtypes

    found: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)
    return found
