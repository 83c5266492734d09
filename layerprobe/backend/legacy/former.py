"""Layers that Keras once had and has no more, as it computed them.

Sources: keras 1.2.2, keras/layers/core.py, advanced_activations.py and engine/topology.py; keras
2.3.1, keras/layers/advanced_activations.py.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from layerprobe.backend.legacy.convolutions import registered


class _Former(keras.layers.Layer):
    """A layer whose config is all that its constructor took."""

    def __init__(self, settings: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._settings = settings

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self._settings}


@registered
class ThresholdedReLU(_Former):
    """x where it is above theta, else 0."""

    def __init__(self, theta: float = 1.0, **kwargs: Any) -> None:
        super().__init__({"theta": theta}, **kwargs)
        self.theta = theta
        self.supports_masking = True

    def call(self, inputs: Any) -> Any:
        return inputs * ops.cast(inputs > self.theta, inputs.dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape


class _PerPlace(_Former):
    """A layer with weights for each place of a row, named in `weight_names`."""

    weight_names: tuple[str, ...] = ()

    def build(self, input_shape: Any) -> None:
        for name in self.weight_names:
            setattr(self, name, self.add_weight(shape=input_shape[1:], name=name))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape


@registered
class ParametricSoftplus(_PerPlace):
    """alpha * log(1 + exp(beta x)), with an alpha and a beta for each place of a row."""

    weight_names = ("alpha", "beta")

    def __init__(self, **kwargs: Any) -> None:
        kwargs.pop("beta_init", None)
        super().__init__({}, **kwargs)
        self.supports_masking = True

    def call(self: Any, inputs: Any) -> Any:
        return self.alpha * ops.softplus(self.beta * inputs)


@registered
class SReLU(_PerPlace):
    """The identity between two thresholds, other slopes outside, all learnt for each place."""

    weight_names = ("t_left", "a_left", "t_right", "a_right")

    def __init__(self, origin: str = "tensorflow", **kwargs: Any) -> None:
        super().__init__({"origin": origin}, **kwargs)
        self.origin = origin
        self.supports_masking = True

    def call(self: Any, inputs: Any) -> Any:
        right = self.t_left + ops.abs(self.t_right)
        from_left = inputs - self.t_left
        limit, left = right - self.t_left, self.a_left * from_left
        if self.origin == "theano":  # which cut off on the left too, if the slope was negative
            left = ops.minimum(left, limit)
        between = ops.where(from_left > 0, ops.minimum(from_left, limit), left)
        return self.t_left + between + ops.relu(inputs - right) * self.a_right


@registered
class Highway(_Former):
    """A dense layer and its input, mixed by a gate that the input opens."""

    def __init__(self, activation: Any = "linear", *, use_bias: bool = True, **kwargs: Any) -> None:
        super().__init__({"activation": activation, "use_bias": use_bias}, **kwargs)
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias

    def build(self, input_shape: Any) -> None:
        size = input_shape[-1]
        self.kernel = self.add_weight(shape=(size, size), name="kernel")
        self.carry_kernel = self.add_weight(shape=(size, size), name="carry_kernel")
        if self.use_bias:
            self.bias = self.add_weight(shape=(size,), name="bias")
            self.carry_bias = self.add_weight(shape=(size,), name="carry_bias")

    def call(self, inputs: Any) -> Any:
        gate = ops.matmul(inputs, self.carry_kernel)
        changed = ops.matmul(inputs, self.kernel)
        if self.use_bias:
            gate, changed = gate + self.carry_bias, changed + self.bias
        gate = ops.sigmoid(gate)
        return gate * self.activation(changed) + (1 - gate) * inputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape


@registered
class MaxoutDense(_Former):
    """The largest of several dense layers."""

    def __init__(
        self, units: int, nb_feature: int = 4, *, use_bias: bool = True, **kwargs: Any
    ) -> None:
        settings = {"units": units, "nb_feature": nb_feature, "use_bias": use_bias}
        super().__init__(settings, **kwargs)
        self.units, self.nb_feature, self.use_bias = units, nb_feature, use_bias

    def build(self, input_shape: Any) -> None:
        shape = (self.nb_feature, input_shape[-1], self.units)
        self.kernel = self.add_weight(shape=shape, name="kernel")
        if self.use_bias:
            self.bias = self.add_weight(shape=(self.nb_feature, self.units), name="bias")

    def call(self, inputs: Any) -> Any:
        found = ops.einsum("bi,fio->bfo", inputs, self.kernel)
        return ops.max(found + self.bias if self.use_bias else found, axis=1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], self.units)


@registered
class Merge(_Former):
    """The cosine of two rows, as Keras 1 merged with mode "cos"."""

    def __init__(self, mode: str = "cos", dot_axes: Any = -1, **kwargs: Any) -> None:
        super().__init__({"mode": mode, "dot_axes": dot_axes}, **kwargs)
        self.axes = [dot_axes, dot_axes] if isinstance(dot_axes, int) else list(dot_axes)

    def call(self, inputs: Any) -> Any:
        one, other = inputs
        norms = self._dot(one, one, 0, 0) * self._dot(other, other, 1, 1)
        length = ops.maximum(ops.sqrt(norms), keras.config.epsilon())
        return ops.expand_dims(self._dot(one, other, 0, 1) / length, 1)

    def _dot(self, one: Any, other: Any, left: int, right: int) -> Any:
        axes = (self.axes[left], self.axes[right])
        return keras.layers.Dot(axes=axes)([one, other])

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0][0], 1, 1)
