"""`train` against Keras' own training step on the same rows, and the file it leaves."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from command import typed

import layerprobe

pytestmark = pytest.mark.engine
ROWS, SIZE, EPOCHS, RATE = 37, 10, 3, 0.01


def rows(*shape, seed=3):
    """Return made-up numbers of both signs."""
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


@pytest.fixture
def saved(tmp_path):
    """Save a model with all that trains otherwise than plain weights, and give its path."""
    layers = keras.layers
    x = keras.Input((6,), name="x")
    y = layers.Dense(8, activation="tanh", kernel_regularizer="l2", name="first")(x)
    y = layers.BatchNormalization(name="norm")(y)
    y = layers.Dropout(0.3, seed=8, name="drop")(y)
    y = layers.Dense(5, activation="tanh", activity_regularizer="l2", name="middle")(y)
    y = layers.BatchNormalization(name="norm2")(y)
    out = layers.Dense(2, kernel_regularizer="l1", name="last")(y)
    model = keras.Model(x, out)
    model.set_weights([np.abs(rows(*w.shape)) / 4 + 0.05 for w in model.get_weights()])
    model.save(tmp_path / "model.keras")
    return tmp_path / "model.keras"


def opened(path, to=None, learning=None, state=0):
    """Return what train trains, by Keras' own means: cut, frozen, with the same random numbers."""
    model = keras.saving.load_model(path, compile=False)
    model.get_layer("drop").seed_generator.state.assign(
        np.random.SeedSequence(state).generate_state(2)
    )
    for layer in model.layers:
        layer.trainable = learning is None or layer.name in learning
    return model if to is None else keras.Model(model.inputs, model.get_layer(to).output)


def by_keras(model, x, y, loss="mse", optimizer="sgd", rate=RATE):
    """Train with train_on_batch in the rows' order, and return each epoch's mean loss."""
    made = keras.optimizers.get(optimizer)
    made.learning_rate = rate
    model.compile(made, loss, jit_compile=False)
    losses = []
    for _ in range(EPOCHS):
        total = 0.0
        for at in range(0, len(x), SIZE):
            part = slice(at, at + SIZE)
            total += float(model.train_on_batch(x[part], y[part])) * len(x[part])
            # `train_on_batch` gives the mean of all batches since the metrics were reset.
            model.reset_metrics()
        losses.append(total / len(x))
    return losses


def trained(saved, to, x, y, **options):
    """Train in the rows' order, and return the report and the weights in the new file."""
    output = saved.with_name("new.keras")
    given = {"batch_size": SIZE, "epochs": EPOCHS, "learning_rate": RATE, "shuffle": False}
    given |= {"optimizer": "sgd"} | options
    report = layerprobe.train(saved, to, x, y, output, **given)
    return report, stored(output)


def stored(path):
    """Return what is in the weights of a .keras file, by raw h5py, as bytes and as arrays."""
    found: dict[str, Any] = {}

    def keep(name, item):
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    with zipfile.ZipFile(path) as archive:
        content = archive.read("model.weights.h5")
    with h5py.File(io.BytesIO(content)) as file:
        file.visititems(keep)
    return found


def weights(model):
    """Return a model's weights as a .keras file would hold them."""
    file = io.BytesIO()
    from keras.src.saving.saving_lib import _save_model_to_fileobj

    _save_model_to_fileobj(model, file, "h5")
    file.seek(0)
    found = stored(file).items()
    return {name: value for name, value in found if "seed" not in name and "optim" not in name}


def close(found, expected):
    """Check that weights are the same to 1e-6."""
    assert {n for n in found if "seed" not in n} == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-6, atol=1e-6, err_msg=name)


# Adam divides gradients by their own size, rounding included: its step bounds the difference.
@pytest.mark.parametrize(("optimizer", "rate"), [("sgd", RATE), ("adam", 0.001)])
def test_three_epochs_are_keras_own(saved, optimizer, rate):
    """Losses and weights are those of train_on_batch, the partial last batch included."""
    x, y = rows(ROWS, 6), rows(ROWS, 2)
    reference = opened(saved)
    expected = by_keras(reference, x, y, optimizer=optimizer, rate=rate)
    options = {"optimizer": optimizer, "learning_rate": rate}
    report, found = trained(saved, "last", x, y, loss="mse", **options)
    np.testing.assert_allclose(report.losses, expected, rtol=1e-5)
    close(found, weights(reference))
    assert (report.rows, report.batch_size, len(report.weights)) == (ROWS, SIZE, 10)


def test_a_part_is_trained_as_keras_trains_it_with_the_rest_frozen(saved):
    """Up to a layer in the middle, two layers learn; the rest keeps every bit, and its flags."""
    x, y = rows(ROWS, 6), rows(ROWS, 5)
    reference = opened(saved, "middle", ["middle", "norm"])
    expected = by_keras(reference, x, y, "mae")
    report, found = trained(saved, "middle", x, y, loss="mae", params=["middle", "nor?"])
    np.testing.assert_allclose(report.losses, expected, rtol=1e-5)
    moved = weights(reference)
    before = stored(saved)
    assert set(found) == set(before)
    for name, value in found.items():
        layer = name.split("/")[1]
        if layer in ("dense_1", "batch_normalization"):
            np.testing.assert_allclose(value, moved[name], rtol=0, atol=1e-6)
            assert (value != before[name]).any(), name
        else:
            assert value.tobytes() == before[name].tobytes(), name
    keras.saving.load_model(saved, compile=False).save(saved.with_name("again.keras"))
    with (
        zipfile.ZipFile(saved.with_name("again.keras")) as old,
        zipfile.ZipFile(report.path) as new,
    ):
        assert json.loads(old.read("config.json")) == json.loads(new.read("config.json"))
    assert len(report.weights) == 4


def test_by_default_all_that_leads_to_the_output_learns(saved):
    """Layers behind the output keep every bit, and add nothing to the loss."""
    x, y = rows(ROWS, 6), rows(ROWS, 5)
    reference = opened(saved, "middle")
    expected = by_keras(reference, x, y)
    report, found = trained(saved, "middle", x, y, loss="mse")
    np.testing.assert_allclose(report.losses, expected, rtol=1e-5)
    before, moved = stored(saved), weights(reference)
    for name, value in found.items():
        if name in moved and "batch_normalization_1" not in name and "dense_2" not in name:
            np.testing.assert_allclose(value, moved[name], rtol=0, atol=1e-6)
        else:
            assert value.tobytes() == before[name].tobytes(), name


@pytest.mark.engine("tensorflow")
def test_a_formula_in_the_middle_by_hand(saved):
    """Three epochs of a formula equal a GradientTape and plain gradient descent, in phase 0."""
    import tensorflow as tf

    x, y = rows(ROWS, 6), rows(ROWS, 5)
    model = keras.saving.load_model(saved, compile=False)
    part = keras.Model(model.inputs, model.get_layer("middle").output)
    layer = model.get_layer("middle")
    for _ in range(EPOCHS):
        for at in range(0, ROWS, SIZE):
            with tf.GradientTape() as tape:
                out = part(x[at : at + SIZE], training=False)
                off = y[at : at + SIZE] - out
                loss = tf.reduce_mean(off**2) + 0.01 * tf.reduce_mean(abs(out))
                loss += layer.activity_regularizer(out) / len(out)
            kernel, bias = tape.gradient(loss, [layer.kernel.value, layer.bias.value])
            layer.kernel.assign_sub(RATE * kernel)
            layer.bias.assign_sub(RATE * bias)
    formula = "mean(square(target - output)) + 0.01*mean(abs(output))"
    trained(saved, "middle", x, y, loss_expr=formula, params="middle", phase="test")
    found = layerprobe.load(saved.with_name("new.keras")).keras
    np.testing.assert_allclose(found.get_layer("middle").kernel, layer.kernel, atol=1e-6)
    np.testing.assert_allclose(found.get_layer("middle").bias, layer.bias, atol=1e-6)


def test_masked_steps_count_as_in_keras(tmp_path):
    """A mask that the output carries weighs the loss as in train_on_batch."""
    x = keras.Input((5,), dtype="int32")
    y = keras.layers.Embedding(7, 4, mask_zero=True)(x)
    model = keras.Model(x, keras.layers.LSTM(3, return_sequences=True, name="lstm")(y))
    model.set_weights([rows(*w.shape) / 2 for w in model.get_weights()])
    model.save(tmp_path / "masked.keras")
    given = np.random.default_rng(1).integers(0, 7, (ROWS, 5))
    given[:, 3:] *= given[:, 2:3] % 2
    wanted = rows(ROWS, 5, 3)
    expected = by_keras(model, given, wanted)
    report, found = trained(tmp_path / "masked.keras", "lstm", given, wanted, loss="mse")
    np.testing.assert_allclose(report.losses, expected, rtol=1e-5)
    close(found, weights(model))


def test_dropout_is_repeatable_and_shuffling_depends_on_the_seed(saved):
    """The same seed gives the same weights to the bit; another seed or order gives others."""
    x, y = rows(ROWS, 6), rows(ROWS, 2)
    results = []
    for options in ({}, {}, {"seed": 1}, {"shuffle": False}, {"shuffle": False, "seed": 1}):
        given = {"loss": "mse", "overwrite": True, "shuffle": True} | options
        results.append(trained(saved, "last", x, y, **given)[1]["layers/dense/vars/0"])
    assert results[0].tobytes() == results[1].tobytes()
    for other in results[2:]:
        assert np.abs(other - results[0]).max() > 1e-5
    assert np.abs(results[4] - results[3]).max() > 1e-5


def test_the_file_opens_everywhere(capfd, saved, tmp_path, monkeypatch):
    """The command says each epoch's loss; Keras and layerprobe open the file and agree."""
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", x := rows(ROWS, 6))
    np.save("y.npy", rows(ROWS, 2).astype("float64"))
    arguments = [saved, "--to", "last", "-i", "x.npy", "-t", "y.npy", "--loss", "mse", "-b", SIZE]
    arguments += ["--phase", "test"]  # no dropout, whose noise is larger than two epochs' gain
    done = typed(capfd, "train", *arguments, "--epochs", "2", "-o", "new.keras", "--json")
    assert done.code == 0, done.stderr
    report = json.loads(done.stdout)
    assert [line.rpartition(" ")[0] for line in done.stderr.splitlines()[:2]] == [
        "epoch 1 of 2: loss",
        "epoch 2 of 2: loss",
    ]
    assert done.stderr.splitlines()[2:] == ["note: y.npy: float64 cast to float32"]
    assert report["losses"][1] < report["losses"][0]
    model = keras.saving.load_model("new.keras")
    expected = keras.ops.convert_to_numpy(model(x, training=False))
    layerprobe.extract("new.keras", "last", "x.npy", "dump.h5")
    with layerprobe.open_dump("dump.h5") as dump:
        np.testing.assert_allclose(dump["last"], expected, atol=1e-6)
    done = typed(capfd, "train", *arguments, "-o", "new.keras", "--overwrite")
    assert done.stdout.startswith("wrote new.keras: 10 weights moved in 1 epoch, loss ")


def test_two_inputs_one_shared_model_and_an_old_file(samples, tmp_path):
    """Inputs go by name; a part trains through a nested model; an .h5 becomes a .keras file."""
    with np.load(samples / "data" / "pairs.npz") as pairs:
        given = {name: pairs[name][:20] for name in ("left", "right")}
    labels = np.load(samples / "data" / "pairs_labels.npy")[:20]
    pair, again = (
        layerprobe.train(
            samples / "digits_pairs.keras",
            "same",
            given,
            labels.astype("float32"),
            tmp_path / f"pairs{number}.keras",
            loss="binary_crossentropy",
            epochs=3,
            batch_size=8,
            shuffle=False,
            learning_rate=0.01,
        )
        for number in range(2)
    )
    assert pair.losses == again.losses  # its Dropout was made without a seed
    assert pair.losses[-1] < pair.losses[0]
    digits = np.load(samples / "data" / "digits.npy")[:20]
    code = np.zeros((20, 10), "float32")
    old = layerprobe.train(
        samples / "digits_cnn.h5", "logits", digits, code, tmp_path / "old.keras",
        loss_expr="mean(output ** 2 - target)", params=[-2], optimizer="SGD", learning_rate=1e-3,
    )  # fmt: skip
    before = layerprobe.load(samples / "digits_cnn.h5").keras
    after = keras.saving.load_model(old.path)
    for layer in before.layers:
        same = [
            a.tobytes() == b.tobytes()
            for a, b in zip(
                layer.get_weights(), after.get_layer(layer.name).get_weights(), strict=True
            )
        ]
        assert all(same) != (layer.name == "logits") or not same
