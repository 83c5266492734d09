"""Layers with several outputs: LSTM states, attention scores: `python lstm_states.py [FOLDER]`.

`lstm` is the LSTM's sequence, `lstm:1` its last hidden state h, `lstm:2` its last cell state c;
`attention:1` are the scores of the attention layer. Prints how much of "does this name run
backwards?" a single unit of each state knows, and how sharply the letters look at one another.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

import layerprobe

HERE = Path(__file__).resolve().parent


def best_unit(states: np.ndarray, truth: np.ndarray) -> tuple[int, float]:
    """Return the unit that correlates most with the truth, and that correlation.

    Args:
        states: Shape (rows, units).
        truth: Shape (rows,), 0 or 1.
    """
    units = np.corrcoef(states.T, truth)[-1, :-1]
    strongest = int(np.abs(units).argmax())
    return strongest, float(units[strongest])


def main() -> None:
    """Dump the states and the scores and print what they say."""
    out = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="layerprobe-"))
    out.mkdir(parents=True, exist_ok=True)
    letters = HERE / "data/places.npy"
    addresses = ["lstm:1", "lstm:2", "attention:1"]
    layerprobe.extract(
        HERE / "places_lstm.keras", addresses, letters, out / "states.h5", overwrite=True
    )

    with layerprobe.open_dump(out / "states.h5") as dump:
        backwards = np.arange(dump.rows) % 2  # every second row of the data is spelled backwards
        for address, what in (("lstm:1", "hidden state h"), ("lstm:2", "cell state c")):
            unit, correlation = best_unit(np.asarray(dump[address]), backwards)
            print(f"{what}: unit {unit} correlates with the direction by {correlation:+.2f}")
        scores = np.asarray(dump["attention:1"])  # (rows, heads, letters that look, looked at)

    sharpest = scores.max(-1)  # the share that the most looked at letter gets
    real = np.load(letters) > 0
    for word, rows in (("forwards", backwards == 0), ("backwards", backwards == 1)):
        share = np.mean(sharpest[rows], where=real[rows][:, None, :])
        print(f"attention of a letter in a name spelled {word}: {share:.0%} on a single letter")
    if scores.max(where=~real[:, None, None, :], initial=0) > 0:
        sys.exit("The model looks at padding: its mask was lost.")


if __name__ == "__main__":
    main()
