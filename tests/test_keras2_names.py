"""Every name of Keras 2's backend has a place: a function, the core, or advice."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from command import ROOT, environment

from layerprobe import backend as K  # noqa: N812 - the name users give it
from layerprobe.backend import keras2

# The public functions of keras.backend 2.3.1 and of tf.keras.backend 2.15, together.
INVENTORY = """
abs all any arange argmax argmin backend batch_dot batch_flatten batch_get_value batch_normalization
batch_set_value bias_add binary_crossentropy binary_focal_crossentropy cast cast_to_floatx
categorical_crossentropy categorical_focal_crossentropy clear_session clip concatenate constant
control_dependencies conv1d conv2d conv2d_transpose conv3d conv3d_transpose cos count_params
ctc_batch_cost ctc_decode ctc_label_dense_to_sparse cumprod cumsum depthwise_conv2d dot dropout
dtype eager elu epsilon equal eval exp expand_dims eye flatten floatx foldl foldr function gather
get_session get_uid get_value gradients greater greater_equal hard_sigmoid identity
image_data_format in_test_phase in_top_k in_train_phase int_shape is_keras_tensor is_placeholder
is_sparse is_tensor is_variable l2_normalize learning_phase learning_phase_scope less less_equal
local_conv1d local_conv2d log logsumexp manual_variable_initialization map_fn max maximum mean min
minimum moving_average_update name_scope ndim normalize_batch_in_training normalize_data_format
not_equal one_hot ones ones_like pattern_broadcast permute_dimensions placeholder pool2d pool3d pow
print_tensor prod random_bernoulli random_binomial random_normal random_normal_variable
random_uniform random_uniform_variable relu repeat repeat_elements reset_uids reshape resize_images
resize_volumes reverse rnn round separable_conv1d separable_conv2d set_epsilon set_floatx
set_image_data_format set_learning_phase set_session set_value shape sigmoid sign sin size slice
softmax softplus softsign sparse_categorical_crossentropy spatial_2d_padding spatial_3d_padding sqrt
square squeeze stack std stop_gradient sum switch symbolic tanh temporal_padding tile to_dense
transpose truncated_normal update update_add update_sub var variable zeros zeros_like
""".split()

# What the backend function itself brings. `symbolic` was a decorator without use for people; here
# the name means the current value of a variable, as a symbolic tensor.
CORE = """clear_session function gradients in_test_phase in_train_phase learning_phase
learning_phase_scope moving_average_update placeholder set_learning_phase symbolic update update_add
update_sub""".split()


def test_every_name_of_keras_2_has_one_place():
    """The 163 names are divided among functions, core and advice, each in one of them."""
    assert len(INVENTORY) == len(set(INVENTORY)) == 163
    assert set(CORE) <= set(INVENTORY)
    places = [*keras2.HOME, *keras2.ADVICE, *CORE]
    assert sorted(places) == sorted(INVENTORY)


@pytest.mark.engine
@pytest.mark.parametrize("name", sorted(keras2.HOME))
def test_every_function_opens(name):
    """Each name opens a callable of that name, and `dir` shows it."""
    found = getattr(K, name)
    assert callable(found)
    assert name in dir(K)


@pytest.mark.parametrize("name", sorted(keras2.ADVICE))
def test_names_without_meaning_say_what_to_do(name):
    """They are no attributes, and the message names what takes their place."""
    with pytest.raises(AttributeError, match=f"K.{name} of Keras 2 has no meaning here. .+\\."):
        getattr(K, name)
    assert name not in dir(K)
    assert not hasattr(K, "no_such_name")


def test_files_hold_what_the_table_says():
    """A file's `__all__` is what the table sends there; helpers' files are not in the table."""
    for file in set(keras2.HOME.values()):
        module = __import__(f"layerprobe.backend.keras2.{file}", fromlist=["__all__"])
        assert sorted(module.__all__) == sorted(n for n, f in keras2.HOME.items() if f == file)


def test_the_documentation_names_them_all():
    """The table in docs/backend.md has each name in one row, and no other."""
    page = (ROOT / "docs" / "backend.md").read_text("utf-8")
    section = page.partition("## The Keras 2 names")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.+?) \| ", section, re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(named) == sorted(INVENTORY)


def test_looking_at_the_names_loads_no_framework():
    """`dir`, the advice and unknown names need no engine; a function's name does."""
    script = (
        "import sys\nfrom layerprobe import backend as K  # noqa: N812 - the name users give it\n"
        "dir(K), hasattr(K, 'get_session'), hasattr(K, 'nothing')\n"
        "print('keras' in sys.modules)\nK.epsilon\nprint('keras' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.split() == ["False", "True"]
