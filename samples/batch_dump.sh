#!/bin/sh
# Dump several models, several pieces of the data each, one file a piece; run it again to go on.
# Usage: sh batch_dump.sh [FOLDER]
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
out=${1:-$(mktemp -d)}
mkdir -p -- "$out"

failed=0
for model in "$here"/digits_cnn.h5 "$here"/digits_cnn.keras; do
    for rows in 0:300 300:600; do
        dump=$out/$(basename -- "$model")-${rows%:*}.h5
        # A dump gets its final name when it is complete, so what exists is done.
        [ -e "$dump" ] && continue

        code=0
        layerprobe extract "$model" --layer features --layer logits \
            --input "$here/data/digits.h5::/images" --rows "$rows" -o "$dump" || code=$?
        case $code in
        0) echo "done: $dump" ;;
        130 | 143) exit "$code" ;; # interrupted: do not start the next one
        *)
            echo "failed with exit code $code: $model, rows $rows" >&2
            failed=$((failed + 1))
            ;;
        esac
    done
done
[ "$failed" -eq 0 ]
