"""Makes what the benchmarks run on: `python -m benchmarks.make WHAT PATH [ROWS]`.

Weights and rows are random: how fast a layer is computed and written does not depend on them. It
runs in a process of its own, because the one that measures must stay small.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

SIDE = 64  # of the images, in pixels


def resnet(path: Path) -> None:
    """Save a ResNet50 at its usual size: about 100 MB."""
    import keras

    keras.applications.ResNet50(weights=None).save(path)


def small_resnet(path: Path) -> None:
    """Save a ResNet50 for images of 64 x 64."""
    import keras

    keras.applications.ResNet50(
        weights=None, include_top=False, input_shape=(SIDE, SIDE, 3), pooling="avg"
    ).save(path)


def one_convolution(path: Path) -> None:
    """Save a model of one convolution: 49 kB a row go in, 66 kB come out."""
    import keras

    inputs = keras.Input((SIDE, SIDE, 3), name="images")
    outputs = keras.layers.Conv2D(16, 3, strides=2, padding="same", name="conv")(inputs)
    keras.Model(inputs, outputs).save(path)


def small_cnn(path: Path) -> None:
    """Save a CNN of four convolutions and pooled features: 49 kB a row go in, 1 kB comes out."""
    import keras

    tensor = inputs = keras.Input((SIDE, SIDE, 3), name="images")
    for filters in (32, 64, 128, 256):
        tensor = keras.layers.Conv2D(filters, 3, padding="same", activation="relu")(tensor)
        tensor = keras.layers.MaxPooling2D()(tensor)
    features = keras.layers.GlobalAveragePooling2D(name="features")(tensor)
    keras.Model(inputs, keras.layers.Dense(10)(features)).save(path)


def wide(path: Path) -> None:
    """Save one wide layer: 64 bytes a row go in, 66 kB come out."""
    import keras

    inputs = keras.Input((16,), name="numbers")
    keras.Model(inputs, keras.layers.Dense(16_384, name="wide")(inputs)).save(path)


def images(path: Path, rows: int) -> None:
    """Write random images, float32 from 0 to 1, to an .npy or HDF5 file, a part at a time."""
    shape = (rows, SIDE, SIDE, 3)
    rng = np.random.default_rng(0)
    parts = range(0, rows, 100)
    if path.suffix == ".npy":
        stored = np.lib.format.open_memmap(path, "w+", np.dtype("float32"), shape)
        for start in parts:
            stored[start : start + 100] = rng.random(stored[start : start + 100].shape, np.float32)
        stored.flush()
        return
    import h5py

    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("images", shape, "float32", chunks=(32, *shape[1:]))
        for start in parts:
            count = min(100, rows - start)
            dataset[start : start + count] = rng.random((count, *shape[1:]), np.float32)


def digits(path: Path, rows: int) -> None:
    """Write the sample digits over and over, as an .npy file."""
    sample = np.load(Path(__file__).resolve().parents[1] / "samples/data/digits.npy")
    np.save(path, np.resize(sample, (rows, *sample.shape[1:])))


def numbers(path: Path, rows: int) -> None:
    """Write random rows of 16 numbers, as an .npy file."""
    np.save(path, np.random.default_rng(0).random((rows, 16), np.float32))


_MODELS = {
    "resnet": resnet,
    "small-resnet": small_resnet,
    "one-convolution": one_convolution,
    "small-cnn": small_cnn,
    "wide": wide,
}
_ROWS = {"images": images, "digits": digits, "numbers": numbers}


def main() -> None:
    """Make what the arguments say."""
    what, path = sys.argv[1], Path(sys.argv[2])
    if what in _MODELS:
        _MODELS[what](path)
    else:
        _ROWS[what](path, int(sys.argv[3]))


if __name__ == "__main__":
    main()
