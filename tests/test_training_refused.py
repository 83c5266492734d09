"""What `train` refuses, and that a training which fails or is stopped leaves no file."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from command import files, refused, sample_folder

import layerprobe
from layerprobe.epochs import in_order, mixed
from layerprobe.errors import LayerprobeError
from layerprobe.feed import Feed
from layerprobe.layers import TensorSpec
from layerprobe.sources import array_source

CNN = ["cnn.keras", "--to", "digit", "-i", "digits.npy"]
LABELS = ["-t", "labels.npy", "--loss", "sparse_categorical_crossentropy"]
OUT = ["-o", "new.keras"]


@pytest.fixture(autouse=True)
def _folder(samples, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sample_folder(samples)
    np.save("labels.npy", np.load(samples / "data" / "digits_labels.npy"))
    np.save("few.npy", np.zeros((3, 10), "float32"))
    np.save("one.npy", np.zeros((600, 1), "float32"))
    np.save("wrong.npy", np.r_[np.zeros(599, int), 10])


MISTAKES = [
    ([*CNN, *LABELS, "-p", "digit", *OUT], 2, "digit has no weights to train: it holds none."),
    (["cnn.keras", "--to", "pool1", "-i", "digits.npy", "-t", "few.npy", "--loss", "mse", *OUT],
     65, "few.npy holds 3 targets."),
    (["cnn.keras", "--to", "norm1", "-i", "digits.npy", "--loss-expr", "mean(output)", "-p",
      "conv2", *OUT], 2, "norm1 does not depend on the weights of conv2."),
    (["cnn.keras", "--to", "images", "-i", "digits.npy", "--loss-expr", "mean(output)", *OUT],
     2, "No trainable weight leads to images."),
    (["pairs.keras", "--to", "same", "-i", "pairs.npz", "--loss-expr", "mean(output)", "-p",
      "encoder@0/conv1", *OUT], 2, "has no weights to train: it is frozen in the file."),
    ([*CNN, *LABELS, "-p", "logit", *OUT], 2, "No layer matches 'logit'."),
    ([*CNN, "-t", "labels.npy", "--loss", "mse", *OUT], 65, "have rows of shape ()."),
    ([*CNN, "-t", "one.npy", "--loss", "mse", *OUT], 65, "have rows of shape (1,)."),
    ([*CNN, "-t", "wrong.npy", "--loss", LABELS[-1], *OUT, "--no-shuffle"], 65,
     "wrong.npy holds 10 in row 599."),
    ([*CNN, "-t", "labels.npy", "--loss", "mze", *OUT], 2, "Keras has no loss 'mze'."),
    ([*CNN, *LABELS, "--optimizer", "adamm", *OUT], 2, "Keras has no optimizer 'adamm'."),
    ([*CNN, "--loss", "mse", *OUT], 2, "No target is given."),
    ([*CNN, "-t", "labels.npy", "--loss-expr", "mean(output)", *OUT], 2, "A target is given"),
    ([*CNN, *LABELS, "--loss-expr", "mean(output)", *OUT], 2, "Two losses are given."),
    ([*CNN, *OUT], 2, "No loss is given."),
    ([*CNN, "--loss-expr", "mean(output.real)", *OUT], 2, "attributes"),
    ([*CNN, "--loss-expr", "square(output)", *OUT], 2, "of shape (None, 10)."),
    ([*CNN, "-t", "labels.npy", "--loss-expr", "mean(target - output)", *OUT], 2, "go together"),
    ([*CNN, *LABELS, "--epochs", "0", *OUT], 2, "The number of epochs is 0."),
    ([*CNN, *LABELS, "--learning-rate", "nan", *OUT], 2, "The learning rate is nan."),
    ([*CNN, *LABELS, "-b", "0", *OUT], 2, "The batch size is 0."),
    ([*CNN, *LABELS, "--phase", "both", *OUT], 2, "The phase 'both' is not known."),
    ([*CNN, *LABELS, "-o", "new.h5"], 2, "new.h5 is no name for a model."),
    ([*CNN, *LABELS, "-o", "pairs.keras"], 2, "pairs.keras exists already."),
    ([*CNN, *LABELS, "-o", "cnn.keras", "--overwrite"], 2, "cnn.keras is also the model."),
    ([*CNN, *LABELS, "-o", "no/new.keras"], 74, "is no folder"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "code", "what"), MISTAKES)
def test_mistakes_are_told_and_leave_nothing(capfd, arguments, code, what):
    """Each mistake has its message and its exit code, and the folder stays as it was."""
    assert what in refused(capfd, "train", *arguments, code=code)


def test_overwrite_keeps_off_what_is_no_model(capfd):
    """A file that only has the name of a model is never replaced."""
    Path("new.keras").write_bytes(Path("labels.npy").read_bytes())
    message = refused(capfd, "train", *CNN, *LABELS, *OUT, "--overwrite", code=2)
    assert "is not a .keras archive" in message


def small(**options):
    """Train the head of the sample CNN on a few rows, as far as it gets."""
    rows = np.load("digits.npy")[:40]
    given = {"params": "logits", "loss_expr": "mean(square(output))", "epochs": 2} | options
    return layerprobe.train("cnn.keras", "logits", rows, None, "new.keras", **given)


@pytest.mark.engine
@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"loss_expr": "mean(log(output - 1000))"}, "The loss became nan in epoch 1, batch 1"),
        ({"loss_expr": "mean(exp(output * 0 + 1000))"}, "The loss became inf in epoch 1, batch 1"),
        ({"optimizer": "sgd", "learning_rate": 1e30, "epochs": 4}, "The loss became"),
        ({"loss_expr": "sum(sqrt(output * 0))", "epochs": 1, "batch_size": 40}, "logits/"),
    ],
)
def test_a_loss_that_is_no_number_stops_and_saves_nothing(options, what):
    """NaN and Inf end the training; the message names the batch, or a weight after the last."""
    before = files(Path())
    with pytest.raises(LayerprobeError, match=what):
        small(**options)
    assert files(Path()) == before


@pytest.mark.parametrize("when", [0, 1])
def test_an_interrupt_leaves_no_file(when):
    """Ctrl-C between epochs ends all; nothing is under the name or beside it."""

    def interrupt(epoch, *_):
        if epoch == when:
            raise KeyboardInterrupt

    before = files(Path())
    with pytest.raises(KeyboardInterrupt):
        small(progress=interrupt)
    assert files(Path()) == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, ValueError])
def test_a_save_that_fails_half_leaves_the_old_file(monkeypatch, error):
    """What a save wrote before it failed goes, and a file that was to be replaced stays."""
    small()
    old = Path("new.keras").read_bytes()
    before = files(Path())

    def fail(_, file):
        file.write(b"half")
        raise error("no room")

    monkeypatch.setattr("layerprobe.backend.compat.save_archive", fail)
    with pytest.raises((LayerprobeError, KeyboardInterrupt)):
        small(overwrite=True)
    assert files(Path()) == before
    assert open("new.keras", "rb").read() == old  # noqa: PTH123, SIM115


def test_a_batch_size_that_is_to_be_found_out():
    """`extract` finds a fast one; a training would learn something else with it."""
    given = "cnn.keras", "logits", "digits.npy", None, "new.keras"
    with pytest.raises(LayerprobeError, match="The batch size is auto") as stopped:
        layerprobe.train(*given, loss_expr="mean(output)", batch_size="auto")
    assert stopped.value.exit_code == 2
    assert "what is learned" in str(stopped.value)


def test_a_model_that_fixes_its_batch_size():
    """Its size is taken whatever was asked for; rows that would be left over are an error."""
    x = keras.Input(batch_shape=(4, 2))
    keras.Model(x, keras.layers.Dense(1)(x)).save("fixed.keras")
    rows = np.ones((8, 2), "float32")
    options = {"loss_expr": "mean(output)", "epochs": 1}
    report = layerprobe.train("fixed.keras", -1, rows, None, "new.keras", **options)
    assert report.batch_size == 4
    with pytest.raises(LayerprobeError, match="takes 4 rows at a time, and there are 7"):
        layerprobe.train("fixed.keras", -1, rows[:7], None, "other.keras", **options)


class Watched:
    """Rows in memory that note how many are asked for."""

    def __init__(self, source):
        self._source = source
        self.reads = []

    def __getattr__(self, name):
        return getattr(self._source, name)

    def read(self, start, stop):
        self.reads.append(stop - start)
        return self._source.read(start, stop)


@pytest.mark.parametrize("pieces", [2, 1000])
@pytest.mark.parametrize("rows", [1, 9, 5003])
def test_every_row_comes_once_and_with_its_target(rows, pieces):
    """Rows in order or mixed: each once, with its target, in whole batches, in small reads."""
    x = np.repeat(np.arange(rows, dtype="float32")[:, None], 500, axis=1)
    feeds = [
        Feed(TensorSpec("x", (None, 500), "float32"), Watched(array_source(x, "x"))),
        Feed(TensorSpec("t", (None,), "int32"), Watched(array_source(np.arange(rows), "t"))),
    ]
    random = np.random.default_rng(5)
    for batches in (list(in_order(feeds, 8)), list(mixed(feeds, 8, random, pieces))):
        assert [len(b[0]) for b in batches] == [8] * (rows // 8) + [rows % 8] * (rows % 8 > 0)
        both = [np.concatenate(arrays) for arrays in zip(*batches, strict=True)]
        assert (both[0][:, 0] == both[1]).all()
        assert sorted(both[1]) == list(range(rows))
    assert rows == 1 or (both[1] != np.arange(rows)).any()
    assert max(feeds[0].source.reads) * 2000 <= 1 << 20 or rows == 9
