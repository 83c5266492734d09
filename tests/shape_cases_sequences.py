"""Calls of recurrent, wrapping and attention layers: data for `test_shapes.py`."""

from __future__ import annotations

from shape_cases import OPEN, SEQUENCE, VOLUME
from shape_harness import Array, case, layer

_CELLS = {
    "stacked": layer(
        "StackedRNNCells", cells=[layer("LSTMCell", units=5), layer("GRUCell", units=6)]
    ),
    "one": layer("StackedRNNCells", cells=[layer("LSTMCell", units=5)]),
    "simple": layer("SimpleRNNCell", units=5),
}
RECURRENT = [
    *(
        case(name, shape, units=5, return_sequences=all_steps, return_state=states)
        for name in ("LSTM", "GRU", "SimpleRNN")
        for shape in (SEQUENCE, OPEN[0])
        for all_steps in (False, True)
        for states in (False, True)
    ),
    *(
        case("RNN", SEQUENCE, cell=cell, return_sequences=both, return_state=both)
        for cell in _CELLS.values()
        for both in (False, True)
    ),
    case("LSTM", (2, 4, 3), units=5, stateful=True, return_sequences=True),
    case(
        "LSTM", SEQUENCE, units=5, return_state=True,
        kwargs={"initial_state": [Array((None, 5)), Array((None, 5))]},
    ),
    case("LSTMCell", (None, 3), (None, 5), (None, 5), units=5),
    case("GRUCell", (None, 3), (None, 5), units=5),
    case("SimpleRNNCell", (None, 3), (None, 5), units=5),
    case("StackedRNNCells", (None, 3), (None, 5), (None, 6), cells=[
        layer("GRUCell", units=5), layer("SimpleRNNCell", units=6)
    ]),
    case("ConvLSTM1D", (None, 4, 8, 3), filters=5, kernel_size=3, return_state=True),
    case("ConvLSTM1D", (None, None, 8, 3), filters=5, kernel_size=3, return_sequences=True),
    case("ConvLSTM2D", (None, 4, 9, 8, 3), filters=5, kernel_size=(3, 2), strides=2),
    case("ConvLSTM2D", (None, 4, 9, 8, 3), filters=5, kernel_size=3, padding="same",
         return_sequences=True, return_state=True),
    case("ConvLSTM3D", (None, 4, 6, 7, 5, 3), filters=5, kernel_size=2, dilation_rate=2),
    *(
        case("Bidirectional", SEQUENCE, merge_mode=mode, layer=layer(
            "GRU", units=5, return_sequences=all_steps, return_state=states
        ))
        for mode in ("concat", "sum", "mul", "ave", None)
        for all_steps in (False, True)
        for states in (False, True)
    ),
    case("Bidirectional", OPEN[0], layer=layer("LSTM", units=5, return_state=True)),
    case(
        "Bidirectional", SEQUENCE, layer=layer("LSTM", units=5),
        backward_layer=layer("LSTM", units=6, go_backwards=True),
        unlike="the backward layer has units of its own",
    ),
    case("Bidirectional", (None, 4, 9, 8, 3), layer=layer("ConvLSTM2D", filters=5, kernel_size=3)),
    case("TimeDistributed", SEQUENCE, layer=layer("Dense", units=5)),
    case("TimeDistributed", OPEN[0], layer=layer("Dense", units=5)),
    case("TimeDistributed", VOLUME, layer=layer("Conv2D", filters=5, kernel_size=3)),
    case("TimeDistributed", VOLUME, layer=layer("Flatten")),
    case("TimeDistributed", VOLUME, layer=layer("TimeDistributed", layer=layer("GRU", units=5))),
    case("TimeDistributed", VOLUME, layer=layer("Sequential", layers=[
        layer("Conv2D", filters=5, kernel_size=3), layer("GlobalMaxPooling2D")
    ])),
]  # fmt: skip

_SCORES = {"return_attention_scores": True}
ATTENTION = [
    *(
        case(name, (None, 8, 4), (None, 6, 4), *key, kwargs=kwargs)
        for name in ("Attention", "AdditiveAttention")
        for key in ((), ((None, 6, 4),))
        for kwargs in ({}, _SCORES)
    ),
    case("Attention", (None, None, 4), (None, 6, 5), (None, 6, 4), kwargs=_SCORES),
    case("MultiHeadAttention", (None, 8, 4), (None, 8, 4), num_heads=2, key_dim=3),
    case("MultiHeadAttention", (None, 8, 4), (None, 8, 5), num_heads=2, key_dim=3, output_shape=7,
         kwargs=_SCORES),
    case("MultiHeadAttention", OPEN[0], (None, 6, 3), num_heads=2, key_dim=3),
    case("MultiHeadAttention", (None, 8, 4), (None, 6, 4), num_heads=2, key_dim=3, kwargs=_SCORES,
         unlike="scores are promised for a value as long as the query"),
    case("MultiHeadAttention", (None, 5, 6, 4), (None, 5, 6, 4), num_heads=2, key_dim=3,
         output_shape=(7,)),
    case("MultiHeadAttention", (None, 5, 6, 4), (None, 5, 7, 4), num_heads=2, key_dim=3,
         attention_axes=(2,), kwargs=_SCORES, unlike="scores are promised for sequences alone"),
    case("MultiHeadAttention", (None, 5, 6, 4), (None, 5, 6, 4), num_heads=2, key_dim=3,
         kwargs=_SCORES, unlike="scores are promised for sequences alone"),
    case("MultiHeadAttention", (None, 8, 4), num_heads=2, key_dim=3,
         kwargs={"value": Array((None, 6, 4)), "key": Array((None, 6, 4))}),
    case("GroupQueryAttention", (None, 8, 4), (None, 6, 4), head_dim=3, num_query_heads=4,
         num_key_value_heads=2, kwargs=_SCORES),
    case("GroupQueryAttention", OPEN[0], OPEN[0], head_dim=3, num_query_heads=4,
         num_key_value_heads=2),
]  # fmt: skip
