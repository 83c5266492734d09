#!/bin/sh
# Train a part of a model without Python: the last layer by Keras' own loss, then inner features by
# a loss of one's own.
# Usage: sh train_part.sh [FOLDER]
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
out=${1:-$(mktemp -d)}
mkdir -p -- "$out"

# Only the weights of `logits` move; every other weight is in the new file bit by bit.
layerprobe train "$here/digits_cnn.keras" --to digit --params logits \
    --input "$here/data/digits.npy" --target "$here/data/digits_labels.npy" \
    --loss sparse_categorical_crossentropy --optimizer sgd --learning-rate 0.01 \
    --epochs 3 -o "$out/head.keras" --overwrite

# A formula in place of a name: the features are to stay small, and nothing after them runs.
layerprobe train "$out/head.keras" --to features --params features \
    --input "$here/data/digits.npy" --loss-expr 'mean(square(output)) + 0.01*mean(abs(output))' \
    --epochs 2 -o "$out/small.keras" --overwrite --json

# The new files are models like any other.
layerprobe extract "$out/small.keras" --layer features --input "$here/data/digits.npy" \
    -o "$out/small.h5" --overwrite
