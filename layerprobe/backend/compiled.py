"""What `function(inputs, outputs)` returns: a compiled pass, its inputs checked at every call."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np

from layerprobe.backend import compat, compat_state
from layerprobe.backend.calls import Symbol
from layerprobe.backend.complaints import engine_error
from layerprobe.backend.engine import Compiled, Engine
from layerprobe.backend.hosted import compile_hosted
from layerprobe.backend.indices import check_numbers, limits_of
from layerprobe.backend.missing import NO_INPUT
from layerprobe.backend.nesting import flat, is_empty, listed, packed
from layerprobe.backend.plan import Plan
from layerprobe.backend.program import Program, make_program
from layerprobe.backend.rows import keeps_rows_apart, of_few_sizes
from layerprobe.backend.specials import is_phase
from layerprobe.backend.values import fitting
from layerprobe.errors import BackendError, DataError, LayerprobeError

Array = np.ndarray[Any, Any]
_TURN = threading.RLock()


class Function:
    """A compiled pass from inputs to outputs, built once and called many times.

    Attributes:
        plan: What it runs.
    """

    def __init__(
        self,
        program: Program,
        engine: Engine,
        *,
        training: bool = False,
        phase_at: int | None = None,
        packing: Any = None,
    ) -> None:
        self.plan = program.plan
        self._program = program
        self._engine = engine
        self._training = training
        self._phase_at = phase_at
        self._packing = packing
        self._compiled: dict[tuple[bool, tuple[int, ...]], Compiled] = {}
        self._seeds: list[Array] | None = None
        self._limits = limits_of(program.plan)
        if phase_at is None:
            self._variant(training)

    def __call__(self, values: Any) -> Any:
        """Compute the outputs, and apply the updates if there are any.

        Args:
            values: One array for each input, in the order of `inputs`; rows first; None for an
                optional one that is left out. They are cast
                to the inputs' dtypes. Where the learning phase is among the inputs: 0 or 1.

        Returns:
            A list of NumPy arrays in the order of `outputs`; the array alone if `outputs` was a
            single tensor, a dict if it was one.

        Raises:
            DataError: Their number, or the rank, shape or dtype of one, does not fit, or one holds
                numbers that an embedding has no row for.
            BackendError: The engine failed; no variable has been changed.
        """
        arrays, training = self._checked(values)
        results = self._run(arrays, training=training)
        # An output may be a view of an input that passed through; the caller owns both.
        shared = [array for array in arrays if isinstance(array, np.ndarray)]
        owned = [
            result.copy()
            if not result.flags.writeable or any(np.may_share_memory(result, a) for a in shared)
            else result
            for result in results
        ]
        return owned[0] if self._packing is None else packed(self._packing, iter(owned))

    def views(self, values: Any) -> list[Array]:
        """Compute the outputs as a call does, for somebody who only reads them, and copy nothing.

        Args:
            values: As for a call.

        Returns:
            The outputs in their order. They may be read-only, and share memory with `values`.

        Raises:
            LayerprobeError: As for a call.
        """
        arrays, training = self._checked(values)
        return self._run(arrays, training=training)

    def eagerly(self, values: Any) -> list[Array]:
        """Compute the outputs layer by layer, by nothing that was compiled; nothing is updated.

        It is slow, and the other road to the same numbers. Layers behave as outside of training.

        Args:
            values: As for a call.

        Raises:
            DataError: As for a call.
            BackendError: The engine failed.
        """
        arrays, _ = self._checked(values)
        return self._computed(self._layer_by_layer, arrays, training=False)

    def _layer_by_layer(
        self, arrays: Sequence[Any], _states: Sequence[Any]
    ) -> tuple[list[Array], list[Array]]:
        with compat_state.Scope():
            results = self.plan.run([compat_state.tensor_of(array) for array in arrays])
        return [np.asarray(compat.as_array(result)) for result in results], []

    def _run(self, arrays: Sequence[Any], *, training: bool) -> list[Array]:
        """Compute and move what a call moves; an array is None where its input is left out."""
        missing = tuple(at for at, array in enumerate(arrays) if array is None)
        compiled = self._variant(training, missing)
        fed = [array for array in arrays if array is not None]
        # What moves state takes turns, or two threads would start from the same old one.
        moves = self._program.updates or self._program.seeds_in(training)
        with _TURN if moves else nullcontext():
            return self._computed(compiled, fed, training=training)

    def _checked(self, values: Any) -> tuple[list[Any], bool]:
        """Return the arrays to feed, cast and checked, and the phase."""
        given, training = self._split(values)
        arrays = [fitting(s, value) for s, value in zip(self.plan.inputs, given, strict=True)]
        check_numbers(self.plan, self._limits, arrays)
        return arrays, training

    def _computed(self, compiled: Compiled, arrays: list[Array], *, training: bool) -> list[Array]:
        """Return the outputs, and move what the call moves."""
        draws = bool(self._program.seeds_in(training))
        seeds = self._states() if draws else []
        try:
            with compat_state.names_kept():
                results, advanced = compiled(arrays, seeds)
        except LayerprobeError:
            raise
        except Exception as error:  # whatever the engine raises
            raise engine_error(f"computing {_named(self.plan)}", error) from error
        if draws:
            self._seeds = list(advanced)
        return list(results)

    @property
    def draws(self) -> bool:
        """Whether any layer draws random numbers in the training phase."""
        return bool(self._program.seeds)

    def seed(self, seed: int | Sequence[int], among: Sequence[Any] | None = None) -> None:
        """Start the random numbers of this function (dropout, noise) anew.

        Without it they start where the layers' own generators stand at the first call; those are
        not moved. A function with updates uses and moves the layers' own.

        Args:
            seed: Any whole number from 0, or several; the same give the same numbers.
            among: Those of a program that computes more: the numbers are the same as there.
        """
        variables = self._program.seeds if among is None else among
        states = np.random.SeedSequence(seed).generate_state(2 * len(variables)).reshape(-1, 2)
        pairs = {id(variable): pair for variable, pair in zip(variables, states, strict=True)}
        self._seeds = [pairs[id(v)].astype(str(v.dtype)) for v in self._program.seeds]

    def _split(self, values: Any) -> tuple[list[Any], bool]:
        """Return what is fed and the phase."""
        given = list(values) if isinstance(values, (list, tuple)) else [values]
        names = [symbol.address for symbol in self.plan.inputs]
        if self._phase_at is not None:
            names.insert(self._phase_at, "the learning phase")
        if len(given) != len(names):
            raise DataError(
                f"The function got {len(given)} arrays.",
                expected=f"{len(names)}, one for each of: {', '.join(names)}",
            )
        if self._phase_at is None:
            return given, self._training
        phase = given.pop(self._phase_at)
        if np.ndim(phase) != 0 or phase not in (0, 1):
            raise DataError("The learning phase is neither 0 nor 1.", expected="0 or 1")
        return given, bool(phase)

    def _variant(self, training: bool, missing: tuple[int, ...] = ()) -> Compiled:
        """Return the pass of a phase, compiled at its first use: layers ask for it in Python.

        So they do for inputs that are missing, given by their positions.
        """
        key = training, missing
        if key not in self._compiled:
            try:
                with compat_state.names_kept():
                    program = self._program.without(missing)
                    compiled = compile_hosted(self._engine, program, training=training)
                    if self._engine.RECOMPILES and keeps_rows_apart(program, training=training):
                        compiled = of_few_sizes(compiled)
                    self._compiled[key] = compiled
            except LayerprobeError:
                raise
            except Exception as error:  # whatever the engine raises
                raise engine_error(f"compiling {_named(self.plan)}", error) from error
        return self._compiled[key]

    def _states(self) -> list[Array]:
        if self._seeds is None:
            self._seeds = [compat_state.array_of(variable) for variable in self._program.seeds]
        return self._seeds


def make_function(
    inputs: Any,
    outputs: Any,
    engine: Engine,
    updates: Iterable[Any] = (),
    *,
    training: bool = False,
) -> Function:
    """Return the compiled callable of `layerprobe.backend.function` on an engine."""
    given = listed(inputs) if not is_empty(inputs) else []
    phases = [at for at, value in enumerate(given) if is_phase(value)]
    feeds = [_symbol(value, ()) for at, value in enumerate(given) if at not in phases]
    models = tuple({id(s.model): s.model for s in feeds if s.model is not None}.values())
    single = not isinstance(outputs, (list, tuple, dict))
    updates = flat(updates)
    if is_empty(outputs) and not updates:
        raise BackendError("There is nothing to compute.", expected="outputs, or updates, or both")
    wanted = [_symbol(value, models) for value in ([] if is_empty(outputs) else listed(outputs))]
    return Function(
        make_program(feeds, wanted, updates),
        engine,
        training=training,
        phase_at=phases[0] if phases else None,
        packing=None if single else outputs,
    )


def _named(plan: Plan) -> str:
    return ", ".join(s.address or s.tensor.name for s in plan.outputs[:3])


def program_of(inputs: Sequence[Symbol], outputs: Sequence[Any]) -> Program:
    """Return the program of a function from inputs to outputs; nothing is compiled."""
    return make_program(inputs, [_symbol(value, ()) for value in outputs])


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
    empty = is_empty(value)
    raise BackendError(
        f"{type(value).__name__} is not a symbolic tensor."
        if not empty
        else "An empty list stands where a symbolic tensor should.",
        expected="a tensor of a model's graph, such as model.inputs[0] or model['address']",
        fix=NO_INPUT if empty else "",
    )
