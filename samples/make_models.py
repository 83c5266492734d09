"""Train the sample models and write them, with their data: `python make_models.py FOLDER`.

Every number in README.md comes from this script. All data is real and ships in packages that pip
installs (`pip install ".[samples]"`), so nothing is downloaded here: the handwritten
digits of scikit-learn and the place names of tzdata. Seeds are fixed: on one machine and one set of
versions the weights come out the same, bit for bit; elsewhere they differ by rounding.

The models are small on purpose and cover what layers can do: a plain stack (digits_cnn), masks,
several outputs of one layer and a time axis of any length (places_lstm), and a frozen model inside
a model that is called twice, with two inputs (digits_pairs).
"""

from __future__ import annotations

import sys
import tempfile
from importlib import resources
from pathlib import Path

import h5py
import keras
import numpy as np
from keras import layers
from sklearn.datasets import load_digits  # type: ignore[import-untyped]

SEED = 20
HELD_OUT_DIGITS = 600
CONTINENTS = (
    *("Africa/", "America/", "Antarctica/", "Arctic/", "Asia/"),
    *("Atlantic/", "Australia/", "Europe/", "Indian/", "Pacific/"),
)
LETTERS = 28  # 0 pads, 1 to 26 are a to z, 27 is everything else
LONGEST_NAME = 16


# --- data -----------------------------------------------------------------------------------------


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Return 1,797 images, (rows, 8, 8, 1) float32 in [0, 1], and their digits, int64."""
    bunch = load_digits()
    return (bunch.images[..., None] / 16).astype("float32"), bunch.target.astype("int64")


def places() -> list[str]:
    """Return cities ("Buenos Aires") and countries of up to 16 letters, in a fixed mixed order."""
    files = resources.files("tzdata")
    zones = files.joinpath("zones").read_text(encoding="utf-8").split()
    countries = files.joinpath("zoneinfo/iso3166.tab").read_text(encoding="utf-8").splitlines()
    # "America/Argentina/Buenos_Aires" names a place; "Etc/GMT+5", "US/Central" and "CET" do not.
    found = {z.rpartition("/")[2].replace("_", " ") for z in zones if z.startswith(CONTINENTS)}
    found |= {line.split("\t")[1] for line in countries if not line.startswith("#")}
    names = sorted(name for name in found if len(name) <= LONGEST_NAME)
    return [names[i] for i in np.random.default_rng(SEED).permutation(len(names))]


def spell(names: list[str]) -> np.ndarray:
    """Return the letters of the names as numbers, (rows, 16) int32, padded with 0 at the end."""
    letters = np.zeros((len(names), LONGEST_NAME), "int32")
    for row, name in zip(letters, names, strict=True):
        codes = [ord(c) - ord("a") + 1 if "a" <= c <= "z" else 27 for c in name.lower()]
        row[: len(codes)] = codes
    return letters


def pairs(images: np.ndarray, labels: np.ndarray, count: int) -> tuple[np.ndarray, ...]:
    """Return left images, right images and whether they show the same digit; half of them do."""
    random = np.random.default_rng(SEED)
    left = random.integers(len(images), size=count)
    same = np.arange(count) % 2 == 0
    right = [
        random.choice(np.flatnonzero((labels == labels[i]) == alike))
        for i, alike in zip(left, same, strict=True)
    ]
    return images[left], images[right], same.astype("int64")


# --- models ---------------------------------------------------------------------------------------


def digits_cnn() -> keras.Model:
    """Return the plain stack: image -> digit."""
    return keras.Sequential(
        [
            keras.Input((8, 8, 1), name="images"),
            layers.Conv2D(16, 3, padding="same", use_bias=False, name="conv1"),
            layers.BatchNormalization(name="norm1"),
            layers.ReLU(name="relu1"),
            layers.MaxPooling2D(name="pool1"),
            layers.Conv2D(24, 3, padding="same", name="conv2"),
            layers.BatchNormalization(name="norm2"),
            layers.ReLU(name="relu2"),
            layers.AveragePooling2D(2, name="pool2"),
            layers.Flatten(name="flat"),
            layers.Dropout(0.3, name="drop"),
            layers.Dense(32, activation="relu", name="features"),
            layers.Dense(10, name="logits"),
            layers.Softmax(name="digit"),
        ],
        name="digits_cnn",
    )


def places_lstm() -> keras.Model:
    """Return the reader: letters of a name -> does it run backwards, and what was looked at."""
    letters = keras.Input((None,), dtype="int32", name="letters")
    vectors = layers.Embedding(LETTERS, 12, mask_zero=True, name="vectors")(letters)
    vectors = layers.Dropout(0.2, name="drop1")(vectors)
    lstm = layers.LSTM(32, return_sequences=True, return_state=True, name="lstm")
    sequence, state_h, state_c = lstm(vectors)
    attention = layers.MultiHeadAttention(num_heads=2, key_dim=8, name="attention")
    attended, scores = attention(sequence, sequence, return_attention_scores=True)
    pooled = layers.GlobalAveragePooling1D(name="pooled")(attended)
    joined = layers.Concatenate(name="joined")([pooled, state_h, state_c])
    kept = layers.Dropout(0.3, name="drop2")(joined)
    direction = layers.Dense(2, activation="softmax", name="direction")(kept)
    return keras.Model(letters, [direction, scores], name="places_lstm")


def encoder() -> keras.Model:
    """Return the backbone that digits_pairs calls twice: image -> 24 features."""
    images = keras.Input((8, 8, 1), name="images")
    x = layers.Conv2D(12, 3, padding="same", name="conv1")(images)
    x = layers.BatchNormalization(name="norm1")(x)
    x = layers.ReLU(name="relu1")(x)
    x = layers.MaxPooling2D(name="pool1")(x)
    x = layers.Conv2D(24, 3, padding="same", activation="relu", name="conv2")(x)
    x = layers.MaxPooling2D(name="pool2")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dropout(0.4, name="drop")(x)
    x = layers.Dense(24, activation="tanh", name="code")(x)
    return keras.Model(images, x, name="encoder")


def digits_pairs(backbone: keras.Model) -> keras.Model:
    """Return the siamese model: two images -> the probability that they show the same digit."""
    left = keras.Input((8, 8, 1), name="left")
    right = keras.Input((8, 8, 1), name="right")
    a, b = backbone(left), backbone(right)
    distance = keras.ops.absolute(layers.Subtract(name="difference")([a, b]))
    product = layers.Multiply(name="product")([a, b])
    x = layers.Concatenate(name="joined")([distance, product])
    x = layers.Dense(16, activation="relu", name="compare")(x)
    x = layers.Dense(1, activation="sigmoid", name="same")(x)
    return keras.Model([left, right], x, name="digits_pairs")


# --- training -------------------------------------------------------------------------------------


def fit(model: keras.Model, x: object, y: np.ndarray, loss: str, epochs: int) -> None:
    """Train in place, with Adam and a learning rate that falls to nothing along a cosine."""
    steps = epochs * -(-len(y) // 32)
    schedule = keras.optimizers.schedules.CosineDecay(3e-3, steps)
    model.compile(keras.optimizers.Adam(schedule), loss)
    model.fit(x, y, epochs=epochs, batch_size=32, verbose=0)


def make_digits_cnn(folder: Path, x: np.ndarray, y: np.ndarray) -> None:
    """Train digits_cnn and save it twice: as .keras and in the HDF5 form that came before."""
    model, train = digits_cnn(), slice(None, -HELD_OUT_DIGITS)
    fit(model, x[train], y[train], "sparse_categorical_crossentropy", epochs=40)
    held = slice(-HELD_OUT_DIGITS, None)
    report("digits_cnn", "held-out digits", model.predict(x[held], verbose=0).argmax(1), y[held])
    save(model, folder / "digits_cnn.keras")
    save(model, folder / "digits_cnn.h5")
    np.save(folder / "data/digits.npy", x[held])
    np.save(folder / "data/digits_labels.npy", y[held])
    with h5py.File(folder / "data/digits.h5", "w") as file:
        file.create_dataset("images", data=x[held], chunks=(50, 8, 8, 1), compression="gzip")
        file["labels"] = y[held]


def make_places_lstm(folder: Path) -> None:
    """Train places_lstm to tell "Berlin" from "nilreB", and save it."""
    names = places()
    x = np.concatenate([spell(names), spell([name[::-1] for name in names])])
    y = np.repeat([0, 1], len(names))
    # By name, not by row: a name and its mirror image must not stand on different sides.
    held = np.tile(np.arange(len(names)) % 5 == 0, 2)
    model = places_lstm()
    # Trained without its second output: the attention scores have no right answer.
    reader = keras.Model(model.inputs, model.outputs[0])
    fit(reader, x[~held], y[~held], "sparse_categorical_crossentropy", epochs=60)
    found = reader.predict(x, verbose=0).argmax(1)
    report("places_lstm", "names it learned", found[~held], y[~held])
    report("places_lstm", "names it never saw", found[held], y[held])
    save(model, folder / "places_lstm.keras")
    shown = [name[::-1] if row % 2 else name for row, name in enumerate(names)]
    np.save(folder / "data/places.npy", spell(shown))
    (folder / "data/places.txt").write_text("\n".join(shown) + "\n", encoding="utf-8")


def make_digits_pairs(folder: Path, x: np.ndarray, y: np.ndarray) -> None:
    """Train the encoder on digits, freeze it, train the head of digits_pairs on top, save it."""
    backbone, train = encoder(), slice(None, -HELD_OUT_DIGITS)
    classifier = keras.Sequential([backbone, layers.Dense(10, activation="softmax")])
    fit(classifier, x[train], y[train], "sparse_categorical_crossentropy", epochs=40)
    backbone.trainable = False
    model = digits_pairs(backbone)
    left, right, same = pairs(x[train], y[train], 6000)
    fit(model, [left, right], same, "binary_crossentropy", epochs=15)
    held = slice(-HELD_OUT_DIGITS, None)
    left, right, same = pairs(x[held], y[held], 300)
    found = model.predict([left, right], verbose=0)[:, 0] > 0.5
    report("digits_pairs", "pairs of held-out digits", found, same)
    save(model, folder / "digits_pairs.keras")
    np.savez(folder / "data/pairs.npz", left=left, right=right)
    np.save(folder / "data/pairs_labels.npy", same)


def save(model: keras.Model, path: Path) -> None:
    """Save without the optimizer, whose state would triple the file."""
    # A clone has never been compiled; saving the trained object would keep Adam's two moments.
    clone = type(model).from_config(model.get_config())
    clone.set_weights(model.get_weights())
    clone.save(path)


def report(model: str, rows: str, found: np.ndarray, truth: np.ndarray) -> None:
    """Print one line of the table of accuracies."""
    print(f"{model:14}{rows:28}{(found == truth).mean():7.1%} of {len(truth)}")


def main() -> None:
    """Make every model and data file below the folder given as first argument."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="layerprobe-"))
    (folder / "data").mkdir(parents=True, exist_ok=True)
    x, y = digits()
    for make in (make_digits_cnn, make_digits_pairs):
        keras.utils.set_random_seed(SEED)
        make(folder, x, y)
    keras.utils.set_random_seed(SEED)
    make_places_lstm(folder)
    print(f"written to {folder}")


if __name__ == "__main__":
    main()
