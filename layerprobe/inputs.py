"""The data for the tensors to feed: opened, or made up, and never what is to be overwritten."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from layerprobe.checks import odd_name
from layerprobe.errors import OutputError
from layerprobe.feed import Feed, Given, open_feeds
from layerprobe.layers import LayerOutput, TensorSpec
from layerprobe.modelfile import ModelFile
from layerprobe.options import InputOptions
from layerprobe.synthetic import synthetic_rows


def open_inputs(
    file: ModelFile,
    wanted: Sequence[LayerOutput],
    begin: Sequence[LayerOutput],
    given: Given | None,
    options: InputOptions,
) -> tuple[list[Feed], list[str]]:
    """Open the data for the tensors to feed, or make it up; return it with notes."""
    if begin:
        specs = [TensorSpec(row.address, row.output_shape, row.dtype) for row in begin]
    else:
        specs = _needed_inputs(file, wanted)
    limits = {s.name: n for s in specs if (n := file.token_limit(s.name)) is not None}
    if given is not None:
        unused = () if begin else [s.name for s in file.inputs if s not in specs]
        return open_feeds(given, specs, limits, unused, options.sources), [*odd_name(file)]
    made = synthetic_rows(specs, limits)
    rows = next(iter(made.values())).shape[0]
    return open_feeds(made, specs, limits), [
        *odd_name(file),
        f"no --input given: {rows} rows made up from the model's input specification",
    ]


def _needed_inputs(file: ModelFile, wanted: Sequence[LayerOutput]) -> list[TensorSpec]:
    """Return the model's inputs that the wanted layer outputs depend on."""
    by_address = {row.address: row for row in file.table.with_insides()}
    waiting = [row.address for row in wanted]
    reached: set[str] = set()
    while waiting:
        address = waiting.pop()
        if address not in reached:
            reached.add(address)
            waiting += by_address[address].inbound
    return [spec for spec in file.inputs if spec.name in reached]


def check_distinct(target: Path, file: ModelFile, feeds: Sequence[Feed]) -> None:
    """Make sure that an output is not the model or the data.

    Raises:
        OutputError: It is (exit code 2).
    """
    if not target.exists():
        return
    data = [(f"the data for {feed.spec.name}", p) for feed in feeds for p in feed.source.files]
    for what, path in [("the model", file.path), *data]:
        if target.samefile(path):
            raise OutputError(
                f"The output {target} is also {what}.",
                expected="a file of its own for the output",
                fix="Give the output another name.",
                exit_code=2,
                path=str(target),
            )
