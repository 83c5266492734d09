"""A model inside a model, called twice, and a start in the middle: `python nested_and_shared.py`.

`encoder@0/pool2` is the layer pool2 of the model `encoder` in its first call, on the left images;
`encoder@1/pool2` the same layer in the second call, on the right ones. The second half of the
script feeds a changed activation back in at `joined` and sees how the answers change.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

import layerprobe

HERE = Path(__file__).resolve().parent
MODEL = HERE / "digits_pairs.keras"


def main() -> None:
    """Dump inner layers by call, then run the model's end on a changed middle."""
    out = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="layerprobe-"))
    out.mkdir(parents=True, exist_ok=True)
    # The file holds one array for each input of the model, under the inputs' names.
    pairs = HERE / "data/pairs.npz"
    addresses = ["encoder@0/pool2", "encoder@1/pool2", "joined", "same"]
    layerprobe.extract(MODEL, addresses, pairs, out / "pairs.h5", overwrite=True)

    truth = np.load(HERE / "data/pairs_labels.npy")
    with layerprobe.open_dump(out / "pairs.h5") as dump:
        left, right = np.asarray(dump["encoder@0/pool2"]), np.asarray(dump["encoder@1/pool2"])
        joined, answers = np.asarray(dump["joined"]), np.asarray(dump["same"])
    apart = np.abs(left - right).mean((1, 2, 3))
    print(f"pool2 differs by {apart[truth == 1].mean():.3f} if the digits are the same")
    print(f"             and {apart[truth == 0].mean():.3f} if they are not")

    # `joined` is |difference| of the codes, then their product. Take one half away and go on there.
    half = joined.shape[1] // 2
    for name, kept in (
        ("all", slice(None)),
        ("difference", slice(half)),
        ("product", slice(half, None)),
    ):
        changed = np.zeros_like(joined)
        changed[:, kept] = joined[:, kept]
        np.save(out / f"joined-{name}.npy", changed)
        layerprobe.extract(
            MODEL,
            ["same"],
            out / f"joined-{name}.npy",
            out / f"same-{name}.h5",
            start="joined",
            overwrite=True,
        )
        with layerprobe.open_dump(out / f"same-{name}.h5") as dump:
            again = np.asarray(dump["same"])
        found = ((again[:, 0] > 0.5) == truth).mean()
        print(f"answers from {name:10} {found:.1%} right")
        if name == "all" and not np.allclose(again, answers, atol=1e-6):
            sys.exit("The end of the model disagrees with the whole of it: something is wrong.")


if __name__ == "__main__":
    main()
