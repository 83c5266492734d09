"""The Python door to dumps: `extract`, `resume`. What they need is imported when they run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from layerprobe.feed import Given
    from layerprobe.report import Report
    from layerprobe.running import Progress

    Announce = Callable[[Report], None]


def extract(  # noqa: PLR0913 - what, on what, where to, and whom to tell
    model: str | Path,
    layers: str | int | Sequence[str | int],
    input: Given | None = None,  # noqa: A002 - the word the command line uses
    output: str | Path | None = None,
    *,
    start: str | Sequence[str] = (),
    progress: Progress | None = None,
    announce: Announce | None = None,
    dry_run: bool = False,
    **options: Any,
) -> Report:
    """Write activations of a saved model's layers to disk.

    All layers come out of one pass, and only what they need is computed. The output appears under
    its name when it is complete.

    Args:
        model: A model file.
        layers: Addresses, or patterns of addresses; see `LayerTable.select`.
        input: Rows: a file (.npy, .npz, HDF5; `file.h5::/dataset`), an array, or for several
            inputs a mapping of names to these. None: made-up rows.
        output: `NAME.h5`, `NAME.zarr`, or a folder for .npy files; by default
            `MODEL-activations.h5` in the current folder. A shard adds its number to it:
            `NAME-2-of-4.h5`.
        start: Addresses to start from; the input's rows are then those of these tensors.
        progress: Called with the rows done and the rows in all: when all is loaded and nothing is
            written yet, and after every batch.
        announce: Called once before that, with the report of what will be written and taken.
        dry_run: Check everything and compute one batch, but write nothing.
        **options: The fields of `layerprobe.options.Options`: batch_size (rows a pass, 32; "auto"
            for the number that is found to be fastest), rows (the first, and the one after the
            last; None for an end), shard ("2/4" or (2, 4): the second of four parts of these rows;
            see `merge`), dtype ("float16", "bfloat16", "float32" or "int8", for floating-point
            activations; as int8 they are steps of a scale for each channel), compress ("gzip",
            "lz4" or "zstd", for `NAME.zarr`), device, backend (see `load`), threads (see
            `layerprobe.backend.select`), phase ("test", or "train": dropout drops, batches
            normalise themselves), seed (of the training phase's random numbers, 0), mc_samples (so
            many passes in the training phase; mean and variance are stored, as ADDRESS:mean and
            ADDRESS:variance), select, reduce, project, topk (done to each output before it leaves
            the device; see `layerprobe.reductions.Reductions`), source_backend and
            source_data_format, lambdas (pairs of a name and a formula), custom_objects,
            architecture and trust (see `load`), input_dtype and input_shape (the type of the
            numbers and the shape of a row in files that are nothing but numbers), preprocess (how
            the values of images are scaled: a network of keras.applications by name, or a mode),
            columns, id_column and header (of tables: see docs/sources.md), allow_trailing (bytes
            after the array of an .npy file), strict_dtype (fail instead of casting data),
            fail_on_nan (stop at the first row with NaN or Inf), max_memory (bytes that the work may
            hold), overwrite (replace an existing dump, or lose the rows of an unfinished one),
            resume (go on with an unfinished one: the same call with this added), quiet (keep what
            frameworks print at their start off stderr).

    Returns:
        What was written.

    Raises:
        LayerprobeError: Something is wrong with the model, an address, the data, the engine or
            the output; nothing is left under the output's name. Rows that were written before are
            kept for `resume`; a note of the exception says how many.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     report = extract(
        ...         "samples/digits_cnn.keras",
        ...         ["conv1", "class:Dense"],
        ...         "samples/data/digits.npy",
        ...         f"{folder}/features.h5",
        ...         rows=(0, 10),
        ...     )
        >>> report.rows, report.datasets[0].address, report.datasets[0].shape
        (10, 'conv1', (10, 8, 8, 16))
    """
    from layerprobe.options import Options
    from layerprobe.pipeline import plan
    from layerprobe.running import run
    from layerprobe.shards import shard_name

    given = Options(start=(start,) if isinstance(start, str) else tuple(start), **options)
    wanted = [layers] if isinstance(layers, (str, int)) else layers
    target = shard_name(Path(output), given.part) if output else None
    with plan(model, [str(address) for address in wanted], input, target, given) as planned:
        if dry_run:
            if planned.first.failure is not None:
                raise planned.first.failure
            return planned.report()
        if announce is not None and planned.complete is None:
            announce(planned.report())
        return run(planned, progress)


def resume(
    output: str | Path,
    *,
    progress: Progress | None = None,
    announce: Announce | None = None,
    custom_objects: str | Path | None = None,
    trust: str | None = None,
    quiet: bool = False,
) -> Report:
    """Go on with an extraction, or a merge of parts, that was interrupted, as it was begun.

    Its journal holds the call, and the folder that its paths are relative to, which is the current
    one meanwhile. The end is the same, byte for byte, as without the interruption.

    Args:
        output: The dump that was to be made.
        progress: As for `extract`.
        announce: As for `extract`.
        custom_objects: The file of classes that it was begun with, if there was one: code that a
            journal names is not run unless you name it too.
        trust: The hash of the model, if its own code is to run; see `load`.
        quiet: Keep what frameworks print at their start off stderr.

    Returns:
        What was written; `was_complete` says whether there was nothing left to do.

    Raises:
        LayerprobeError: As `extract`; or there is nothing to go on with (exit code 66), or the
            model, the data or a version is not what it was (65), or it needs code (77).

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     done = extract("samples/digits_cnn.keras", 3, None, f"{folder}/features.h5")
        ...     resume(f"{folder}/features.h5").was_complete
        True
    """
    from layerprobe.merging import merge
    from layerprobe.pipeline import plan
    from layerprobe.report import finished_report
    from layerprobe.resuming import check_own_code, output_of, recorded_call, recorded_merge
    from layerprobe.running import run
    from layerprobe.sinks import complete

    target = output_of(output)
    parts = recorded_merge(target)
    if parts is not None:
        return merge(parts, target, resume=True, progress=progress)
    call = recorded_call(target)
    if call is None:
        return finished_report(target, complete(target) or {})
    check_own_code(target, call.options.custom_objects, call.folder, custom_objects)
    with chdir(call.folder):
        options = replace(call.options, trust=trust, quiet=quiet)
        with plan(call.model, call.layers, call.given, target.absolute(), options) as planned:
            if announce is not None:
                announce(planned.report())
            return run(planned, progress)
