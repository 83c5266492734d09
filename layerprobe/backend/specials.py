"""Operations that Keras' graph lacks: reading a variable, the phase, gradients, a model's losses.

Each makes ordinary symbolic tensors, which Keras' operations and layers take like any others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from layerprobe.backend import compat, compat_state
from layerprobe.backend.calls import Special
from layerprobe.errors import BackendError


class Read(Special):
    """The value a variable has when the pass begins."""

    def __init__(self, variable: Any) -> None:
        super().__init__(name=f"read_{variable.name}")
        self.variable = variable
        self.identity = ("read", id(variable))

    def run(self, taken: Sequence[Any], *, training: bool) -> list[Any]:  # noqa: ARG002
        """Return the value as a tensor, which a later assignment does not change."""
        return [compat_state.value_of(self.variable)]


class Phase(Special):
    """The learning phase: 1 in training, else 0."""

    def __init__(self) -> None:
        super().__init__(name="learning_phase")
        self.identity = ("phase",)

    def run(self, taken: Sequence[Any], *, training: bool) -> list[Any]:  # noqa: ARG002
        """Return the phase as a scalar."""
        return [compat.constant(int(training), "int32")]


def is_phase(value: object) -> bool:
    """Tell whether a value is the symbolic learning phase."""
    return compat.is_symbolic(value) and isinstance(compat.history(value)[0], Phase)


class Losses(Special):
    """What the regularizers and layers of a model add to its loss; the planner runs it last."""

    def __init__(self, model: Any) -> None:
        super().__init__(name=f"losses_of_{model.name}")
        self.model = model
        self.identity = ("losses", id(model))

    def run(self, taken: Sequence[Any], *, training: bool) -> list[Any]:  # noqa: ARG002
        """Return the sum of all losses, 0 where there is none."""
        total = compat.constant(0.0, "float32")
        for loss in compat_state.losses_of(self.model):
            total = total + compat.cast(loss, "float32")
        return [total]


class Gradients(Special):
    """The gradients of a scalar with respect to tensors, taken besides it, and to variables.

    The runner of the plan computes them, since it alone sees what led to the scalar.

    Attributes:
        variables: The variables.
        keeps_sparse: Whether a gradient may stay sparse, as optimizers take it.
    """

    def __init__(self, variables: Sequence[Any], *, keeps_sparse: bool = False) -> None:
        super().__init__(name="gradients")
        self.variables = tuple(variables)
        self.keeps_sparse = keeps_sparse
        self.identity = ("gradients", *map(id, self.variables), keeps_sparse)

    def run(self, taken: Sequence[Any], *, training: bool) -> list[Any]:
        """Never called: `Plan.run` has the tape."""
        raise AssertionError((taken, training))


class Apply(Special):
    """Any function of tensors that is written in engine-neutral operations."""

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        super().__init__(name=name)
        self.function = function
        self.identity = ("apply", id(function))

    def run(self, taken: Sequence[Any], *, training: bool) -> list[Any]:  # noqa: ARG002
        """Return what the function returns, flat."""
        return compat.flatten(self.function(*taken))


def scalar_loss(loss: Any) -> Any:
    """Return a loss, made sure that it is a symbolic scalar of floating numbers.

    Raises:
        BackendError: It is not symbolic, not a scalar, or does not hold floating numbers.
    """
    if not compat.is_symbolic(loss):
        raise BackendError(
            f"The loss is a {type(loss).__name__}, not a symbolic tensor.",
            expected="a scalar computed from symbolic tensors",
            fix="Loss objects take lazy(loss_object, targets, outputs); loss functions take both.",
        )
    if tuple(loss.shape) != ():
        raise BackendError(
            f"The loss has shape {tuple(loss.shape)}.",
            expected="a scalar",
            fix="Take its mean or sum, as with keras.ops.mean(loss).",
            shape=tuple(loss.shape),
        )
    if "float" not in str(loss.dtype):
        raise BackendError(f"The loss is of dtype {loss.dtype}.", expected="floating numbers")
    return loss
