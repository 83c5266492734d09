"""A part of a model and how it learns: `Trainer`, one call of which is one step of an optimizer.

While a trainer is open, layers outside of the part that learns are frozen, as Keras means it: they
keep their statistics, normalise with those, and add no loss of their weights; and random numbers
start from a seed. `release` puts all of that back, so that what was trained is all that differs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from layerprobe.backend import compat, compat_state
from layerprobe.backend.calls import Symbol
from layerprobe.backend.compiled import Function, make_function
from layerprobe.backend.engine import Engine
from layerprobe.backend.expressions import model_losses, placeholder
from layerprobe.backend.model import Model
from layerprobe.backend.named import optimizer_named
from layerprobe.backend.plan import make_plan
from layerprobe.backend.slopes import reached
from layerprobe.backend.specials import scalar_loss
from layerprobe.backend.updates import get_updates, state_updates
from layerprobe.errors import BackendError, LayerprobeError
from layerprobe.layers import LayerOutput, Shape

LossOf = Callable[[Any, Any], Any]  # symbolic target (or None) and output -> symbolic scalar


class Trainer:
    """Part of a model, a loss, an optimizer; calling it trains on a batch.

    Args:
        model: The model.
        sources: The symbolic tensors to feed.
        to: Where the part ends; the loss is of this tensor.
        params: Rows of the table for each pattern: the layers whose weights move. None: every
            layer that the output depends on, as far as it is trainable.

    Attributes:
        shape: The shape of the output.
        variables: What will move, besides the statistics of their layers.

    Raises:
        BackendError: The output cannot be computed from the sources, or a layer has no weights that
            could be trained, or none that the output depends on.
    """

    def __init__(
        self,
        model: Model,
        sources: Sequence[Symbol],
        to: LayerOutput,
        params: Sequence[tuple[str, Sequence[LayerOutput]]] | None,
    ) -> None:
        self._model = model
        self._sources = list(sources)
        self._output = model.symbol(to)
        self.shape: Shape = self._output.shape
        plan = make_plan(self._sources, [self._output])
        path = [op for op in plan.operations if compat_state.is_layer(op)]
        named = path if params is None else _layers(model, params)
        candidates = {id(v): v for layer in named for v in layer.trainable_variables}
        self.variables = reached(plan, list(candidates.values()))
        _check_all_move(named if params else [], self.variables, to)
        if not self.variables:
            raise BackendError(
                f"No trainable weight leads to {to.address}.",
                expected="an output that depends on weights of layers that are not frozen",
                exit_code=2,
            )
        allowed = set(compat.ids(compat_state.inside(named)))
        self._learning = [layer for layer in compat_state.inside(path) if id(layer) in allowed]
        self._seeds = {id(v): v for layer in path for v in compat_state.seeds_of(layer)}
        self._before: list[tuple[Any, Any]] = []
        self._frozen: list[tuple[Any, bool]] = []
        self._step: Function | None = None

    @property
    def names(self) -> list[str]:
        """How the variables that move are called."""
        return [compat_state.name_of(variable) for variable in self.variables]

    @property
    def inputs(self) -> list[Shape]:
        """The shapes of the tensors to feed, without the target."""
        return [symbol.shape for symbol in self._sources]

    def compile(
        self,
        loss_of: LossOf,
        target: tuple[Shape, str] | None,
        optimizer: tuple[str, float | None],
        engine: Engine,
        *,
        training: bool,
        seed: int,
    ) -> None:
        """Make the step.

        Args:
            loss_of: Makes the loss, a symbolic scalar, of the target and the output.
            target: Shape, with the batch first, and dtype of the target; None if there is none.
            optimizer: Its name and its learning rate.
            engine: The engine.
            training: The phase.
            seed: For the random numbers of layers.

        Raises:
            BackendError: The loss is no scalar, or does not depend on what shall move.
        """
        self._frozen = compat_state.freeze(self._model.keras, self._learning)
        self._before = [(v, compat_state.array_of(v)) for v in self._seeds.values()]
        states = np.random.SeedSequence(seed).generate_state(2 * len(self._before))
        for (variable, old), new in zip(self._before, states.reshape(-1, 2), strict=True):
            variable.assign(new.astype(old.dtype))
        wanted = None if target is None else placeholder(target[0], dtype=target[1], name="target")
        loss = loss_of(wanted, self._output)
        loss = scalar_loss(loss) + compat.cast(model_losses(self._model), str(loss.dtype))
        made = optimizer_named(*optimizer)
        updates = [*get_updates(made, loss, self.variables), *state_updates(*self._learning)]
        feeds = [*self._sources, *([] if wanted is None else [wanted])]
        self._step = make_function(feeds, loss, engine, updates, training=training)

    def __call__(self, batch: Sequence[Any]) -> float:
        """Train on a batch; return the loss before it."""
        assert self._step is not None  # noqa: S101 - `compile` comes first
        return float(self._step(list(batch)))

    def check_finite(self) -> None:
        """Make sure that what was trained holds numbers.

        Raises:
            LayerprobeError: A weight is NaN or infinite.
        """
        for variable in self.variables:
            values = compat_state.array_of(variable)
            if not np.isfinite(values.astype("float32")).all():
                raise LayerprobeError(
                    f"{compat_state.name_of(variable)} holds NaN or Inf after the last step.",
                    expected="finite weights",
                    fix="Take a smaller --learning-rate. Nothing was saved.",
                )

    def release(self) -> None:
        """Put back what is no weight: random states, and which layers are trainable."""
        for variable, value in self._before:
            variable.assign(value)
        for layer, flag in self._frozen:
            layer.trainable = flag
        self._before, self._frozen = [], []


def _layers(model: Model, params: Sequence[tuple[str, Sequence[LayerOutput]]]) -> list[Any]:
    """Return the layers that some patterns name, as far as they have weights to train."""
    found: dict[int, Any] = {}
    for pattern, rows in params:
        layers = [compat.history(model.symbol(row).tensor)[0] for row in rows]
        layers = [layer for layer in layers if compat_state.is_layer(layer)]
        fit = [layer for layer in layers if layer.trainable_variables]
        if not fit:
            frozen = any(layer.variables for layer in layers)
            raise BackendError(
                f"{pattern} has no weights to train: "
                + ("it is frozen in the file." if frozen else "it holds none."),
                expected="layers with trainable weights",
                fix="List the layers and their params with: layerprobe list-layers MODEL",
                exit_code=2,
                address=pattern,
            )
        found |= {id(layer): layer for layer in fit}
    return list(found.values())


def _check_all_move(named: Sequence[Any], variables: Sequence[Any], to: LayerOutput) -> None:
    moving = set(compat.ids(variables))
    idle = [v.name for v in named if not moving & set(compat.ids(v.trainable_variables))]
    if idle:
        raise BackendError(
            f"{to.address} does not depend on the weights of {', '.join(idle[:8])}.",
            expected="layers between the inputs and that output",
            fix="Leave them out of --params, or train up to a later output.",
            exit_code=2,
            layers=idle,
        )
