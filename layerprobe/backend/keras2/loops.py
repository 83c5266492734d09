"""Loops and choices: functions of Keras 2 that take functions.

Example:
    >>> from layerprobe import backend as K
    >>> K.eval(K.foldl(lambda total, x: total + x, K.constant([1.0, 2.0, 3.0]))).item()
    6.0
    >>> K.eval(K.switch(K.constant([1.0, 0.0]), K.constant([1.0, 2.0]), K.constant([8.0, 9.0])))
    array([1., 9.], dtype=float32)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from keras import ops, tree

from layerprobe.backend.keras2.deferred import deferred, is_symbolic
from layerprobe.backend.keras2.values import int_shape, ndim
from layerprobe.errors import BackendError

__all__ = ["foldl", "foldr", "map_fn", "rnn", "switch"]


@deferred
def map_fn(fn: Callable[..., Any], elems: Any, name: str | None = None, dtype: Any = None) -> Any:
    """Return what a function gives for each element along the first axis, put together.

    Args:
        fn: Takes an element: a tensor, or tensors in the structure of `elems`.
        elems: A tensor, or several of the same length in a list or tuple.
        name: Ignored.
        dtype: The type of the result, if not that which `fn` gives.
    """
    del name
    result = ops.map(fn, tree.map_structure(ops.convert_to_tensor, elems))
    return result if dtype is None else tree.map_structure(lambda t: ops.cast(t, dtype), result)


@deferred
def foldl(
    fn: Callable[[Any, Any], Any], elems: Any, initializer: Any = None, name: str | None = None
) -> Any:
    """Return fn(… fn(fn(initializer, first), second) …, last).

    Args:
        fn: Takes what there is so far and the next element, and returns the former anew, in the
            same shape and type.
        elems: A tensor; its elements lie along the first axis.
        initializer: What to begin with, by default the first element.
        name: Ignored.
    """
    del name
    return _fold(fn, ops.convert_to_tensor(elems), initializer, from_the_end=False)


@deferred
def foldr(
    fn: Callable[[Any, Any], Any], elems: Any, initializer: Any = None, name: str | None = None
) -> Any:
    """Return fn(… fn(fn(initializer, last), last but one) …, first); see `foldl`."""
    del name
    return _fold(fn, ops.convert_to_tensor(elems), initializer, from_the_end=True)


def _fold(fn: Callable[[Any, Any], Any], elems: Any, start: Any, *, from_the_end: bool) -> Any:
    if start is None:
        start = elems[-1] if from_the_end else elems[0]
        elems = elems[:-1] if from_the_end else elems[1:]
    start = tree.map_structure(ops.convert_to_tensor, start)
    if elems.shape[0] == 0:
        return start

    def step(so_far: Any, element: Any) -> tuple[Any, Any]:
        after = fn(so_far, element)
        return after, after

    return ops.scan(step, start, elems, reverse=from_the_end)[0]


def switch(condition: Any, then_expression: Any, else_expression: Any) -> Any:
    """Return one thing where a condition holds, another where it does not.

    Args:
        condition: A scalar, or a tensor whose axes are the first of the expressions' axes.
        then_expression: A tensor, or a function of nothing that returns one.
        else_expression: Likewise. Of two functions, only the one needed runs, if the condition is
            a scalar and nothing is symbolic.

    Raises:
        BackendError: The condition has more axes than an expression.
    """
    ways = (then_expression, else_expression)
    if all(callable(way) for way in ways) and ndim(condition) == 0 and not is_symbolic(condition):
        return ops.cond(ops.cast(condition, "bool"), *ways)
    # Inside a branch of a symbolic condition Keras would not see the symbolic tensors it uses.
    then, other = (way() if callable(way) else way for way in ways)
    return tree.map_structure(lambda a, b: _chosen(condition, a, b), then, other)


def _chosen(condition: Any, then: Any, other: Any) -> Any:
    missing = max(ndim(then), ndim(other)) - ndim(condition)
    if missing < 0:
        raise BackendError(
            f"A condition of shape {int_shape(condition)} for expressions of shapes "
            f"{int_shape(then)} and {int_shape(other)}.",
            expected="a condition with at most as many axes",
            exit_code=2,
        )
    condition = ops.cast(condition, "bool")
    for _ in range(missing):
        condition = ops.expand_dims(condition, -1)
    return ops.where(condition, then, other)


@deferred
def rnn(
    step_function: Callable[[Any, Any], tuple[Any, Any]],
    inputs: Any,
    initial_states: Sequence[Any],
    go_backwards: bool = False,
    mask: Any = None,
    constants: Sequence[Any] | None = None,
    unroll: bool = False,
    input_length: Any = None,
    time_major: bool = False,
    zero_output_for_mask: bool = False,
    return_all_outputs: bool = True,
) -> tuple[Any, Any, list[Any]]:
    """Return what a step gives when it runs over time: last output, all outputs, last states.

    Args:
        step_function: Takes one step's input and the states followed by the constants; returns an
            output, (batch, …), and the new states, in the same shapes and types.
        inputs: A tensor (batch, steps, …), or several in a structure.
        initial_states: The states before the first step.
        go_backwards: From the last step to the first; the outputs come in that order.
        mask: (batch, steps): where False, output and states stay as they were (the first output
            being zeros).
        constants: More tensors for every step.
        unroll: Ignored: it changes no number.
        input_length: Ignored, as by Keras 2: the steps are counted.
        time_major: Whether the steps come first, in inputs, mask and outputs.
        zero_output_for_mask: Whether outputs are zeros where the mask is False.
        return_all_outputs: Whether to return all outputs, or the last alone with one step.
    """
    del unroll, input_length

    def swap(x: Any) -> Any:
        return x if time_major else ops.swapaxes(x, 0, 1)

    def in_order(x: Any) -> Any:
        turned = swap(ops.convert_to_tensor(x))
        return ops.flip(turned, axis=0) if go_backwards else turned

    sequence = tree.map_structure(in_order, inputs)
    seen = None if mask is None else in_order(ops.cast(mask, "bool"))
    extra = tuple(constants or ())
    states = tuple(ops.convert_to_tensor(state) for state in initial_states)
    first = step_function(tree.map_structure(lambda t: t[0], sequence), (*states, *extra))[0]

    begin = (tree.map_structure(ops.zeros_like, first), states)
    over = (sequence,) if seen is None else (sequence, seen)
    (last, states), (outputs, _) = ops.scan(_stepper(step_function, extra), begin, over)
    if seen is not None and zero_output_for_mask:
        outputs = _kept(seen, outputs, tree.map_structure(ops.zeros_like, outputs))
        last = _kept(seen[-1], last, tree.map_structure(ops.zeros_like, last))
    if not return_all_outputs:
        outputs = tree.map_structure(lambda t: ops.expand_dims(t, 0), last)
    return last, tree.map_structure(swap, outputs), list(states)


def _stepper(step_function: Callable[[Any, Any], tuple[Any, Any]], extra: Any) -> Any:
    """Return a step for `scan`: from (output, states) and (input,) or (input, mask) to the next."""

    def step(carried: Any, now: Any) -> tuple[Any, Any]:
        before, held = carried
        output, after = step_function(now[0], (*held, *extra))
        after = tuple(after)
        if len(now) > 1:
            output = _kept(now[1], output, before)
            after = tuple(_kept(now[1], new, old) for new, old in zip(after, held, strict=True))
        # TensorFlow's scan gives back what is carried, and nothing else.
        return (output, after), (output, after)

    return step


def _kept(seen: Any, new: Any, old: Any) -> Any:
    return tree.map_structure(lambda a, b: _chosen(seen, a, b), new, old)
