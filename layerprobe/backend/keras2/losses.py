"""Losses of Keras 2: one number an entry or a row, neither weighted nor averaged.

Probabilities are kept away from 0 and 1 by `K.epsilon()`, as tf.keras 2.15 did.

Example:
    >>> from layerprobe import backend as K
    >>> loss = K.sparse_categorical_crossentropy(K.constant([1]), K.constant([[0.2, 0.8]]))
    >>> K.eval(loss).round(4)  # -log 0.8
    array([0.2231], dtype=float32)
    >>> steps = K.constant([[[0.1, 0.8, 0.1], [0.1, 0.2, 0.7], [0.6, 0.3, 0.1]]])  # blank: the last
    >>> labels, negative_log = K.ctc_decode(steps, K.constant([3]))
    >>> K.eval(labels[0]).tolist()
    [[1, 0, -1]]
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from layerprobe.backend.keras2.deferred import deferred
from layerprobe.backend.keras2.values import int_shape

__all__ = [
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_focal_crossentropy",
    "ctc_batch_cost",
    "ctc_decode",
    "sparse_categorical_crossentropy",
]


def _kept_off(probabilities: Any) -> Any:
    """Return probabilities at least epsilon away from 0 and 1."""
    epsilon = keras.config.epsilon()
    return ops.clip(probabilities, epsilon, 1.0 - epsilon)


def binary_crossentropy(target: Any, output: Any, from_logits: bool = False) -> Any:
    """Return the cross-entropy of each entry.

    Args:
        target: Probabilities, or 0 and 1.
        output: Probabilities, or logits; of the same shape.
        from_logits: Whether `output` are logits.
    """
    if from_logits:
        return ops.binary_crossentropy(target, output, from_logits=True)
    epsilon = keras.config.epsilon()
    output = _kept_off(output)
    target = ops.cast(target, output.dtype)
    hit = ops.multiply(target, ops.log(ops.add(output, epsilon)))
    miss = ops.multiply(
        ops.subtract(1.0, target), ops.log(ops.add(ops.subtract(1.0, output), epsilon))
    )
    return ops.negative(ops.add(hit, miss))


def binary_focal_crossentropy(
    target: Any,
    output: Any,
    apply_class_balancing: bool = False,
    alpha: float = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
) -> Any:
    """Return the cross-entropy of each entry times (1 - p)^gamma, p of the true class.

    Args:
        target: 0 and 1.
        output: Probabilities, or logits; of the same shape.
        apply_class_balancing: Whether to weight class 1 with alpha and class 0 with 1 - alpha.
        alpha: See there.
        gamma: How much to turn from what is well classified.
        from_logits: Whether `output` are logits.
    """
    chance = ops.sigmoid(output) if from_logits else ops.convert_to_tensor(output)
    target = ops.cast(target, chance.dtype)
    true = target * chance + (1 - target) * (1 - chance)
    loss = ops.power(1.0 - true, gamma) * binary_crossentropy(target, output, from_logits)
    return (target * alpha + (1 - target) * (1 - alpha)) * loss if apply_class_balancing else loss


def categorical_focal_crossentropy(
    target: Any,
    output: Any,
    alpha: Any = 0.25,
    gamma: float = 2.0,
    from_logits: bool = False,
    axis: int = -1,
) -> Any:
    """Return the cross-entropy of each row times alpha (1 - p)^gamma.

    Args:
        target: Probabilities of the classes, or one-hot rows.
        output: Probabilities (brought to the sum 1), or logits; of the same shape.
        alpha: One weight, or one a class.
        gamma: How much to turn from what is well classified.
        from_logits: Whether `output` are logits.
        axis: The axis of the classes.
    """
    output = ops.softmax(output, axis=axis) if from_logits else ops.convert_to_tensor(output)
    output = _kept_off(output / ops.sum(output, axis=axis, keepdims=True))
    target = ops.cast(target, output.dtype)
    focus = ops.multiply(ops.power(1.0 - output, gamma), alpha)
    return ops.sum(ops.negative(focus * target * ops.log(output)), axis=axis)


@deferred
def sparse_categorical_crossentropy(
    target: Any,
    output: Any,
    from_logits: bool = False,
    axis: int = -1,
    ignore_class: int | None = None,
) -> Any:
    """Return the cross-entropy of each row with classes given by number.

    Args:
        target: Numbers of classes, in the shape of `output` without `axis`, or with 1 there.
        output: Probabilities, or logits.
        from_logits: Whether `output` are logits.
        axis: The axis of the classes.
        ignore_class: A class whose rows count 0.
    """
    output = ops.convert_to_tensor(output)
    logits = ops.moveaxis(output if from_logits else ops.log(_kept_off(output)), axis, -1)
    shape = tuple(ops.shape(logits))[:-1]
    if len(shape) == 0:
        shape = (1,)
    logs = ops.log_softmax(ops.reshape(logits, (-1, int_shape(logits)[-1])))
    numbers = ops.reshape(ops.cast(target, "int32"), (-1,))
    counted = ops.ones_like(numbers, "bool")
    if ignore_class is not None:
        counted = ops.not_equal(numbers, ignore_class)
        numbers = ops.where(counted, numbers, 0)
    picked = ops.take_along_axis(logs, ops.expand_dims(numbers, -1), axis=-1)
    loss = ops.where(counted, ops.negative(ops.squeeze(picked, -1)), ops.zeros_like(picked[:, 0]))
    return ops.reshape(loss, shape)


def _log_for_ctc(y_pred: Any) -> Any:
    return ops.log(ops.add(y_pred, keras.config.epsilon()))


@deferred
def ctc_batch_cost(y_true: Any, y_pred: Any, input_length: Any, label_length: Any) -> Any:
    """Return the CTC loss of each sequence, (batch, 1); the blank is the last class.

    Args:
        y_true: Numbers of classes, (batch, most labels).
        y_pred: Probabilities, (batch, steps, classes).
        input_length: How many steps count, (batch, 1).
        label_length: How many labels count, (batch, 1).
    """
    lengths = (ops.cast(ops.squeeze(n, -1), "int32") for n in (label_length, input_length))
    blank = int_shape(y_pred)[-1] - 1  # type: ignore[operator]
    loss = ops.ctc_loss(ops.cast(y_true, "int32"), _log_for_ctc(y_pred), *lengths, mask_index=blank)
    return ops.expand_dims(loss, 1)


@deferred
def ctc_decode(
    y_pred: Any,
    input_length: Any,
    greedy: bool = True,
    beam_width: int = 100,
    top_paths: int = 1,
    merge_repeated: bool = True,
) -> tuple[list[Any], Any]:
    """Return the most likely labels; the blank is the last class.

    Args:
        y_pred: Probabilities, (batch, steps, classes).
        input_length: How many steps count, (batch,).
        greedy: Take the best class of each step, instead of searching for the best labels.
        beam_width: How many beginnings the search keeps.
        top_paths: How many labelings the search returns, the best first.
        merge_repeated: Whether the search makes one label of equal neighbours in its result, as
            tf.keras 2.15 did: "hello" comes out as "helo". False keeps them.

    Returns:
        For each labeling its numbers of classes, (batch, steps), filled up with -1. And for greedy
        decoding minus the sum of the logarithms of the steps' best probabilities, (batch, 1); for
        the search the logarithms of the labelings' probabilities, (batch, top_paths).
    """
    logs = _log_for_ctc(ops.convert_to_tensor(y_pred))
    lengths = ops.cast(input_length, "int32")
    if greedy:
        labels, score = _best_steps(logs, lengths)
        return [labels], score
    blank = int_shape(y_pred)[-1] - 1  # type: ignore[operator]
    found, scores = ops.ctc_decode(
        logs, lengths, "beam_search", beam_width, top_paths, mask_index=blank
    )
    paths = [found[path] for path in range(top_paths)]
    return [_packed(p, ops.greater_equal(p, 0), p) if merge_repeated else p for p in paths], scores


def _best_steps(logs: Any, lengths: Any) -> tuple[Any, Any]:
    steps = ops.cast(ops.argmax(logs, axis=-1), "int32")
    counts = ops.less(ops.arange(ops.shape(logs)[1]), ops.expand_dims(lengths, -1))
    best = ops.where(counts, ops.max(logs, axis=-1), 0.0)
    said = ops.logical_and(counts, ops.not_equal(steps, int_shape(logs)[-1] - 1))  # type: ignore[operator]
    return _packed(steps, said, steps), ops.negative(ops.sum(best, axis=1, keepdims=True))


def _packed(labels: Any, said: Any, steps: Any) -> Any:
    """Return the labels that are said and differ from the step before, moved to the front."""
    before = ops.concatenate([ops.full_like(steps[:, :1], -2), steps[:, :-1]], axis=1)
    kept = ops.logical_and(said, ops.not_equal(steps, before))
    order = ops.argsort(
        ops.cast(ops.logical_not(kept), "int32") * ops.shape(steps)[1]
        + ops.arange(ops.shape(steps)[1]),
        axis=1,
    )
    return ops.take_along_axis(ops.where(kept, labels, -1), order, axis=1)
