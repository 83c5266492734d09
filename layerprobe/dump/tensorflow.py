"""A dump as a `tf.data.Dataset`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from layerprobe.dump.batches import Columns


def dataset(columns: Columns, count: int, made: Callable[[], Iterator[Any]]) -> tf.data.Dataset:
    """Return a dataset of the batches that are made anew for each pass over it.

    Args:
        columns: What is read.
        count: How many batches there are.
        made: Returns the batches.
    """
    signature = columns.joined(
        {
            address: tf.TensorSpec((None, *array.shape[1:]), tf.as_dtype(columns.dtype(address)))
            for address, array in columns.arrays.items()
        }
    )
    found = tf.data.Dataset.from_generator(made, output_signature=signature)
    return found.apply(tf.data.experimental.assert_cardinality(count))
