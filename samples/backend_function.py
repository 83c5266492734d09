"""The function underneath: any symbolic tensors in, any out: `python backend_function.py`.

`backend.function(inputs, outputs)` compiles what lies between the tensors you name, once, and
returns a callable from arrays to arrays. Here it asks the CNN, without a file in between, which
part of an image its answer hangs on, by covering one part after the other.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import layerprobe

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Print an image's map of importance, then run the last layers alone."""
    model = layerprobe.load(HERE / "digits_cnn.keras")
    image = np.load(HERE / "data/digits.npy", mmap_mode="r")[7:8]

    # Two outputs of one pass; each layer runs once.
    look = layerprobe.backend.function(model.inputs, [model["features"], model["digit"]])
    features, chances = look([image])
    answer = int(chances[0].argmax())
    print(f"the model sees a {answer} with probability {chances[0, answer]:.3f}")

    covered = np.repeat(image, 16, axis=0)
    for part in range(16):
        row, column = divmod(part, 4)
        covered[part, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2] = 0
    _, without = look([covered])
    print("probability lost when a part of the image is covered:")
    for line in (chances[0, answer] - without[:, answer]).reshape(4, 4):
        print("  " + "".join(f"{lost:8.3f}" for lost in line))

    # A function may start anywhere: here behind the convolutions, on the features found above.
    end = layerprobe.backend.function([model["features"]], [model["digit"]])
    (again,) = end([features])
    np.testing.assert_allclose(again, chances, rtol=0, atol=1e-6)


if __name__ == "__main__":
    main()
