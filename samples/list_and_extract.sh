#!/bin/sh
# List a model's layers, dump three of them, and look at the dump without layerprobe.
# Usage: sh list_and_extract.sh [FOLDER]
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
out=${1:-$(mktemp -d)}
mkdir -p -- "$out"

# What does the file hold? This reads the file alone and loads no framework.
layerprobe list-layers "$here/digits_cnn.h5"

# Name layers as the listing does: by address, by index (-1 is the last one), by glob.
layerprobe extract "$here/digits_cnn.h5" --layer conv1 --layer 'relu?' --layer -1 \
    --input "$here/data/digits.npy" -o "$out/digits.h5" --overwrite

# A dump is an ordinary HDF5 file: row i of every dataset belongs to row i of the input.
python - "$out/digits.h5" <<'EOF'
import sys

import h5py

with h5py.File(sys.argv[1]) as file:
    for name, data in file.items():
        print(f"{name:8}{data.shape!s:20}{data.dtype}  mean {data[:].mean():.4f}")
EOF
