"""What stands for a layer that needs code: a formula of the user's, or a refusal to compute."""

from __future__ import annotations

from typing import Any

import keras

from layerprobe.backend import compat
from layerprobe.backend.legacy.convolutions import registered
from layerprobe.backend.named import operations_named
from layerprobe.errors import TrustError
from layerprobe.loss_expression import FUNCTIONS
from layerprobe.loss_reader import LAMBDA_NAMES, read_formula


@registered
class Formula(keras.layers.Layer):
    """A formula of `x`, or of `x0`, `x1`, … where there are several inputs.

    Args:
        formula: The formula.
        stands_for: The class that the file names.
    """

    def __init__(self, formula: str, stands_for: str = "Lambda", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.formula, self.saved_class = formula, stands_for
        self._expression = read_formula(formula, LAMBDA_NAMES)
        self.supports_masking = False

    def get_config(self) -> dict[str, Any]:
        own = {"formula": self.formula, "stands_for": self.saved_class}
        return {**super().get_config(), **own}

    def call(self, inputs: Any, mask: Any = None, training: Any = None) -> Any:  # noqa: ARG002 - a Lambda takes them
        several = isinstance(inputs, (list, tuple))
        given = {f"x{number}": x for number, x in enumerate(inputs)} if several else {"x": inputs}
        return self._expression.value(given, operations_named(FUNCTIONS))


@registered
class Unrun(keras.layers.Layer):
    """A layer that is not computed; its output is taken to have its input's shape.

    A wrong shape does no harm: what depends on it is not computed either, or begins with rows that
    are given and whose shape is checked.

    Args:
        message: What to say to who needs its output.
        stands_for: The class that the file names.
    """

    def __init__(self, message: str, stands_for: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.refusal, self.saved_class = message, stands_for

    def get_config(self) -> dict[str, Any]:
        own = {"message": self.refusal, "stands_for": self.saved_class}
        return {**super().get_config(), **own}

    def build(self, *args: Any, **kwargs: Any) -> None:
        """Make no weights."""

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        first = compat.flatten((args, kwargs))[0]
        return compat.KerasTensor(first.shape, self.compute_dtype)

    def call(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ARG002 - whatever it is given
        raise TrustError(self.refusal)
