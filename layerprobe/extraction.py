"""The Python door to dumps: `extract`, `resume`. What they need is imported when they run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast

if TYPE_CHECKING:
    from layerprobe.disk_passes import DiskPass
    from layerprobe.feed import Given
    from layerprobe.options import Options
    from layerprobe.report import Report
    from layerprobe.running import Progress

    Announce = Callable[[Report], None]


def extract(  # noqa: PLR0913 - what, on what, where to, and whom to tell
    model: str | Path,
    layers: str | int | Sequence[str | int],
    input: Given | None = None,  # noqa: A002 - the word the command line uses
    output: str | Path | IO[bytes] | None = None,
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
            `MODEL-activations.h5` in the current folder; a shard adds its number to it:
            `NAME-2-of-4.h5`. Or a binary stream, which gets the one array that was asked for as an
            .npy while it is computed.
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
            hold: layers that do not fit together are computed in groups), max_disk and pass_number
            (the dump must not take more bytes, or is one of several: see `extract_passes`),
            overwrite (replace an existing dump, or lose the rows of an unfinished one),
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
    from layerprobe.disk_passes import one_of, options_of

    given, wanted = _asked(layers, start, options)
    how = _How(progress, announce, dry_run)
    if given.max_disk is None:
        return _extract(model, wanted, input, output, given, how)
    one = one_of(_divided(model, wanted, input, output, given), given)
    report = one.report
    if not dry_run:
        how = how.of_pass(one)
        report = _extract(model, one.layers, input, one.output, options_of(one, given), how)
    return one.told(report)


def extract_passes(
    model: str | Path,
    layers: str | int | Sequence[str | int],
    input: Given | None = None,  # noqa: A002 - the word the command line uses
    output: str | Path | None = None,
    *,
    max_disk: int,
    **options: Any,
) -> Iterator[Report]:
    """Write activations as several dumps, none of which takes more than so many bytes.

    The layers are divided in their order; each dump has all rows of some of them, and is what
    `extract` writes of these alone. `NAME.h5` becomes `NAME-pass-1-of-3.h5` and so on; where one
    dump is enough it keeps its name. The next is begun when it is asked for: until then the last
    one may be moved away.

    Args:
        model: A model file.
        layers: Addresses, or patterns of addresses.
        input: Rows; not a stream, which can be read once.
        output: A name; not a stream.
        max_disk: The most bytes that a dump may take, uncompressed, less what a container adds.
        **options: As for `extract`, start, progress, announce and dry_run among them; pass_number
            for one dump alone. With resume those that are complete are left alone, and the others
            written, or gone on with.

    Yields:
        What was written, when it is complete; `disk_pass` says which it is.

    Raises:
        LayerprobeError: As `extract`; or a layer is too large alone (exit code 2). A note says
            which dumps are complete.

    Example:
        >>> import tempfile
        >>> given = "samples/digits_cnn.keras", ["conv1", "flat"], "samples/data/digits.npy"
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for report in extract_passes(*given, f"{folder}/out.h5", max_disk=2_500_000):
        ...         print(report.path.name, [dataset.address for dataset in report.datasets])
        out-pass-1-of-2.h5 ['conv1']
        out-pass-2-of-2.h5 ['flat']
    """
    from layerprobe.disk_passes import add_state, chosen, options_of

    start, dry_run = options.pop("start", ()), options.pop("dry_run", False)
    how = _How(options.pop("progress", None), options.pop("announce", None), dry_run)
    given, wanted = _asked(layers, start, {**options, "max_disk": max_disk})
    passes = chosen(_divided(model, wanted, input, output, given), given)
    for at, one in enumerate(passes):
        if dry_run:
            yield one.report
            continue
        try:
            report = _extract(
                model, one.layers, input, one.output, options_of(one, given), how.of_pass(one)
            )
        except BaseException as error:
            add_state(error, passes[:at], one)
            raise
        yield one.told(report)


class _How(NamedTuple):
    """Whom to tell, and whether nothing is to be written."""

    progress: Progress | None
    announce: Announce | None
    dry_run: bool

    def of_pass(self, one: DiskPass) -> _How:
        """Return the same for one of several dumps, which says so."""
        announce = self.announce
        if announce is None:
            return self
        return self._replace(announce=lambda report: announce(one.told(report)))


def _asked(
    layers: str | int | Sequence[str | int], start: str | Sequence[str], options: dict[str, Any]
) -> tuple[Options, list[str]]:
    """Return the options and the layers that are asked for."""
    from layerprobe.options import Options

    given = Options(start=(start,) if isinstance(start, str) else tuple(start), **options)
    wanted = [layers] if isinstance(layers, (str, int)) else layers
    return given, [str(address) for address in wanted]


def _divided(
    model: str | Path,
    layers: Sequence[str],
    given: Given | None,
    output: str | Path | IO[bytes] | None,
    options: Options,
) -> list[DiskPass]:
    """Return the dumps that layers are divided into, found by computing a batch of all."""
    from layerprobe.disk_passes import find_passes
    from layerprobe.pipeline import plan

    with plan(model, layers, given, output, replace(options, resume=False)) as planned:
        if planned.first.failure is not None:
            raise planned.first.failure
        return find_passes(planned, cast("str | Path | None", output))


def _extract(
    model: str | Path,
    layers: Sequence[str],
    given: Given | None,
    output: str | Path | IO[bytes] | None,
    options: Options,
    how: _How,
) -> Report:
    """Write one dump, or a stream."""
    from layerprobe.pipeline import plan
    from layerprobe.running import run
    from layerprobe.shards import shard_name

    target = output
    if isinstance(output, str | Path):
        target = shard_name(Path(output), options.part)
    with plan(model, layers, given, target, options) as planned:
        if how.dry_run:
            if planned.first.failure is not None:
                raise planned.first.failure
            return planned.report()
        if how.announce is not None and planned.complete is None:
            how.announce(planned.report())
        return run(planned, how.progress)


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
