"""TensorFlow's checkpoints, read without it: what is right, and what damage is said to be."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import layerprobe
from layerprobe.cli import main
from layerprobe.errors import LayerprobeError, ModelError, TrustError
from layerprobe.modelfile.bundle import Bundle
from layerprobe.modelfile.wire import fields, varint

FOLDER = Path(__file__).parent / "tf_keras" / "recurrent_folder.saved_model"


def test_all_tensors_are_what_tensorflow_reads():
    """Every key, shape, dtype and byte."""
    prefix = FOLDER / "variables" / "variables"
    bundle, reader = Bundle(prefix), tf.train.load_checkpoint(str(prefix))
    shapes = reader.get_variable_to_shape_map()
    assert set(shapes) == set(bundle.entries)
    for key in set(shapes) - {"_CHECKPOINTABLE_OBJECT_GRAPH"}:
        expected = reader.get_tensor(key)
        np.testing.assert_array_equal(bundle.read(key), expected)
        assert bundle.read(key).dtype == expected.dtype


def test_many_keys_take_many_blocks(tmp_path):
    """An index of several blocks, with keys that share their beginnings."""
    values = {f"layer_{number:04}": tf.Variable(np.full(3, number)) for number in range(900)}
    tf.train.Checkpoint(**values).write(str(tmp_path / "c"))
    bundle = Bundle(tmp_path / "c")
    for number in (0, 451, 899):
        found = bundle.read(f"layer_{number:04}/.ATTRIBUTES/VARIABLE_VALUE")
        np.testing.assert_array_equal(found, np.full(3, number))


@pytest.fixture
def folder(tmp_path):
    """A copy to damage."""
    return Path(shutil.copytree(FOLDER, tmp_path / "model"))


@pytest.mark.parametrize(
    "name", ["variables/variables.index", "variables/variables.data-00000-of-00001"]
)
@pytest.mark.parametrize("keep", [0, 40, 300])
def test_files_cut_short_are_said_to_be_damaged(folder, name, keep):
    """A folder that was not copied whole; never other numbers."""
    path = folder / name
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ModelError, match="damaged or incomplete"):
        layerprobe.load(folder)


def test_data_elsewhere_is_not_read(folder):
    """A link in place of the data leads out of the folder."""
    data = folder / "variables" / "variables.data-00000-of-00001"
    data.rename(folder.parent / "elsewhere")
    data.symlink_to(folder.parent / "elsewhere")
    with pytest.raises(TrustError, match="is a link"):
        layerprobe.load(folder)


def test_a_folder_of_graphs_alone_is_refused(folder):
    """Without Keras' description nobody knows the layers."""
    (folder / "keras_metadata.pb").unlink()
    with pytest.raises(ModelError, match="does not describe layers"):
        layerprobe.list_layers(folder)


def test_a_folder_without_its_variables_is_listed(folder):
    """As it is where it was uploaded without its sub-folders; what lacks is said."""
    expected = [row.address for row in layerprobe.list_layers(folder).table]
    shutil.rmtree(folder / "variables")
    model = layerprobe.list_layers(folder)
    assert [row.address for row in model.table] == expected
    assert model.params is None
    assert any("variables/variables.index is missing" in note for note in model.contents.notes)
    with pytest.raises(ModelError, match="holds no weights") as caught:
        layerprobe.load(folder)
    assert "Get the whole folder again" in str(caught.value)
    doctor = CliRunner().invoke(main, ["doctor", str(folder)])
    assert "Get the whole folder again" in doctor.output


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_an_error_of_values(data):
    """The reader of protocol buffers neither hangs nor raises anything else."""
    try:
        fields(data)
        varint(data, 0)
    except ValueError:
        pass


@given(st.integers(0, 2000), st.integers(1, 255))
def test_a_changed_byte_ends_in_our_errors(tmp_path_factory, at, change):
    """Whatever byte of the index or the metadata is another one."""
    for name in ("variables/variables.index", "keras_metadata.pb"):
        folder = tmp_path_factory.mktemp("copy") / "model"
        shutil.copytree(FOLDER, folder)
        data = bytearray((folder / name).read_bytes())
        data[at % len(data)] ^= change
        (folder / name).write_bytes(data)
        with contextlib.suppress(LayerprobeError):
            layerprobe.list_layers(folder)
