"""The names of Keras 2's backend: where each stands, and what to do instead of those without sense.

This file imports no framework: `layerprobe.backend` reads the tables here and opens the file of a
name when it is used for the first time, after the engine is chosen. The functions of the core
(`function`, `gradients`, `update`, `learning_phase`, …) stand in `layerprobe.backend` itself.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["ADVICE", "HOME", "look_up"]

_FILES = {
    "settings": """backend cast_to_floatx epsilon floatx get_uid image_data_format name_scope
        normalize_data_format reset_uids set_epsilon set_floatx set_image_data_format""",
    "aliases": """abs all any cast categorical_crossentropy cos dtype elu exp log logsumexp max mean
        min prod round sigmoid sign sin softmax softplus softsign square squeeze stack std sum tanh
        var""",
    "values": """batch_get_value batch_set_value constant count_params eval eye get_value identity
        int_shape is_keras_tensor is_placeholder is_sparse is_tensor is_variable ndim ones ones_like
        print_tensor set_value shape size to_dense variable zeros zeros_like""",
    "arithmetic": """batch_dot batch_normalization bias_add clip cumprod cumsum dot equal greater
        greater_equal hard_sigmoid l2_normalize less less_equal maximum minimum
        normalize_batch_in_training not_equal pow relu sqrt stop_gradient""",
    "arranging": """arange argmax argmin batch_flatten concatenate expand_dims flatten gather
        in_top_k one_hot permute_dimensions repeat repeat_elements reshape reverse slice
        spatial_2d_padding spatial_3d_padding temporal_padding tile transpose""",
    "convolutions": """conv1d conv2d conv2d_transpose conv3d conv3d_transpose depthwise_conv2d
        separable_conv1d separable_conv2d""",
    "images": "local_conv1d local_conv2d pool2d pool3d resize_images resize_volumes",
    "losses": """binary_crossentropy binary_focal_crossentropy categorical_focal_crossentropy
        ctc_batch_cost ctc_decode sparse_categorical_crossentropy""",
    "loops": "foldl foldr map_fn rnn switch",
    "randomness": """dropout random_bernoulli random_binomial random_normal random_normal_variable
        random_uniform random_uniform_variable truncated_normal""",
}

# Name -> the file of this package it stands in.
HOME = {name: file for file, names in _FILES.items() for name in names.split()}

_SESSIONS = "There are no sessions any more"
# Name -> why it makes no sense here, and what to do instead.
ADVICE = {
    "get_session": f"{_SESSIONS}: read values with K.get_value, compute with K.function.",
    "set_session": f"{_SESSIONS}: choose engine and device with K.select(name, device=…).",
    "manual_variable_initialization": "Variables have their values from the moment they are made; "
    "remove the call.",
    "control_dependencies": "K.function(inputs, outputs, updates) computes everything from the old "
    "state and then assigns; give what must happen as updates.",
    "eager": "Outside of layers everything is computed at once; remove the decorator.",
    "pattern_broadcast": "It did something under Theano alone; remove the call, axes of length 1 "
    "are broadcast anyway.",
    "ctc_label_dense_to_sparse": "K.ctc_batch_cost takes dense labels and their lengths; give it "
    "those.",
}


def look_up(name: str) -> Any:
    """Return the function of a name in `HOME`; imports Keras."""
    return getattr(importlib.import_module(f"layerprobe.backend.keras2.{HOME[name]}"), name)
