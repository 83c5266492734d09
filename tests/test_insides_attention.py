"""The probabilities of attention against softmax(QK^T / sqrt(d)) by hand in NumPy."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from insides_by_hand import check, drawn, numbers, softmax

from layerprobe import backend as K  # noqa: N812 - the name that users of Keras 2 gave it
from layerprobe.backend.compat_state import Scope, losses_dropped, losses_of
from layerprobe.backend.suite import wrapped

pytestmark = pytest.mark.engine


@pytest.mark.parametrize("causal", [True, False])
def test_scores_of_many_heads_are_those_of_numpy(causal) -> None:
    """softmax(QK^T / sqrt(d)) by hand; masked and later keys get 0; each row sums to 1."""
    q, v = keras.Input((5, 4), name="q"), keras.Input((6, 4), name="v")
    kept = keras.Input((6,), dtype="bool", name="kept")
    layer = keras.layers.MultiHeadAttention(2, 3, dropout=0.5, name="mha")
    model = wrapped(keras.Model([q, v, kept], layer(q, v, value_mask=kept, use_causal_mask=causal)))
    drawn(layer)
    a, b, mask = numbers(3, 5, 4), numbers(3, 6, 4), np.arange(6) < np.array([[6], [1], [4]])
    w_q, b_q, w_k, b_k = layer.get_weights()[:4]
    logits = np.einsum(
        "bqnd,bknd->bnqk",
        np.einsum("bqe,end->bqnd", a, w_q) + b_q,
        np.einsum("bke,end->bknd", b, w_k) + b_k,
    ) / np.sqrt(3)
    allowed = mask[:, None, None] & (np.tri(5, 6, dtype=bool) if causal else True)
    expected = softmax(np.where(allowed, logits, -np.inf))
    for training in (False, True):
        scores = K.function(model.inputs, "mha:scores", training=training)([a, b, mask])
        check([scores], [expected])
        np.testing.assert_allclose(scores.sum(-1), 1, rtol=1e-5)


@pytest.mark.parametrize("name", ["Attention", "AdditiveAttention"])
def test_scores_of_one_head_are_those_of_numpy(name) -> None:
    """Dot products, or the scaled sum of tanh(q + k), through softmax; masked keys get 0."""
    q, v = keras.Input((5, 4), name="q"), keras.Input((6, 4), name="v")
    kept = keras.Input((6,), dtype="bool", name="kept")
    layer = getattr(keras.layers, name)(use_scale=True, name="attention")
    model = wrapped(keras.Model([q, v, kept], layer([q, v], mask=[None, kept])))
    drawn(layer)
    a, b, mask = numbers(3, 5, 4), numbers(3, 6, 4), np.arange(6) < np.array([[6], [1], [4]])
    scale = layer.get_weights()[0]
    if name == "Attention":
        logits = a @ np.swapaxes(b, 1, 2) * scale
    else:
        logits = (scale * np.tanh(a[:, :, None] + b[:, None])).sum(-1)
    scores = K.function(model.inputs, "attention:scores")([a, b, mask])
    check([scores], [softmax(np.where(mask[:, None], logits, -np.inf))])


def test_scores_of_grouped_queries_are_those_of_numpy() -> None:
    """Each pair of query heads shares a head of keys."""
    q = keras.Input((5, 4), name="q")
    layer = keras.layers.GroupQueryAttention(3, 4, 2, name="gqa")
    model = wrapped(keras.Model(q, layer(q, q)))
    drawn(layer)
    a = numbers(3, 5, 4)
    by_name = {w.path.split("/")[-2] + "/" + w.name: np.array(w) for w in layer.weights}
    queries = np.einsum("bqe,end->bqnd", a, by_name["query/kernel"]) + by_name["query/bias"]
    keys = np.einsum("bke,end->bknd", a, by_name["key/kernel"]) + by_name["key/bias"]
    keys = np.repeat(keys, 2, axis=2)
    logits = np.einsum("bqnd,bknd->bnqk", queries, keys) / np.sqrt(3)
    check([K.function(model.inputs, "gqa:scores")([a])], [softmax(logits)])


def test_scores_do_not_count_twice_in_the_loss() -> None:
    """Asking for scores leaves what the layer's regularizers add to the loss."""
    q = keras.Input((5, 4), name="q")
    layer = keras.layers.MultiHeadAttention(2, 3, activity_regularizer="l2", name="mha")
    model = wrapped(keras.Model(q, layer(q, q)))
    x, losses = numbers(3, 5, 4), K.model_losses(model)
    alone = K.function(model.inputs, [model["mha"], losses])([x])[1]
    assert alone > 0
    for order in (["mha:scores", "mha"], ["mha", "mha:scores"]):
        found = K.function(model.inputs, [*(model[n] for n in order), losses])([x])
        np.testing.assert_array_equal(found[2], alone)


def test_a_dropped_loss_leaves_nothing_behind() -> None:
    """Keras knows losses by `id`, which the next loss may have: here it is the same object."""
    dropped, counted = keras.layers.Identity(), keras.layers.Identity()
    loss = keras.ops.ones(())
    with Scope(losses=[dropped, counted]):
        with losses_dropped():
            dropped.add_loss(loss)
        counted.add_loss(loss)
        assert losses_of(dropped) == []
        assert losses_of(counted) == [loss]
