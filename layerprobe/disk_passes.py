"""One extraction as several dumps, where one would be larger than asked for: `--max-disk`.

The layers are divided in their order. Each dump is the one that an extraction of its layers alone
writes, under a name that says which of how many it is: it is shown, verified and gone on with by
itself, and may be moved away before the next is begun.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from layerprobe.errors import OutputError
from layerprobe.grouping import divided
from layerprobe.options import Options
from layerprobe.outputs import default_name
from layerprobe.pipeline import Plan
from layerprobe.report import Report
from layerprobe.shards import marked, shard_name, shard_size
from layerprobe.sinks import check_target, complete, unfinished
from layerprobe.units import in_units


@dataclass(frozen=True)
class DiskPass:
    """A dump of some of the layers.

    Attributes:
        number: Which one, from 1.
        of: How many there are.
        layers: The addresses.
        report: What it will hold, under which name.
    """

    number: int
    of: int
    layers: tuple[str, ...]
    report: Report

    @property
    def output(self) -> Path:
        """Its name."""
        return self.report.path

    @property
    def begun(self) -> bool:
        """Whether it is complete, or can be gone on with."""
        return unfinished(self.output) is not None or complete(self.output) is not None

    def told(self, report: Report) -> Report:
        """Return its report with what pass it is, if there are several."""
        return replace(report, disk_pass=(self.number, self.of)) if self.of > 1 else report


def find_passes(planned: Plan, output: str | Path | None) -> list[DiskPass]:
    """Divide the layers of a plan into dumps.

    Args:
        planned: The plan for all layers, which is not carried out.
        output: What a dump of all of them would be called.

    Raises:
        OutputError: A layer is too large alone (exit code 2).
    """
    options, limit = planned.options, planned.options.max_disk or 0
    each = len(planned.datasets) // len(planned.layers)  # two of --topk and of --mc-samples
    # Shards differ by a batch: all are divided as the largest, or they could not be merged.
    rows = shard_size(planned.whole, planned.batch_size, options.part)
    sizes = [
        rows * sum(d.row_bytes for d in planned.datasets[at : at + each])
        for at in range(0, len(planned.datasets), each)
    ]
    for address, size in zip(planned.layers, sizes, strict=True):
        if size > limit:
            raise _too_large(address, size, rows, limit)
    counts = divided(sizes, limit)
    base = Path(output) if output else default_name(planned.model.path)
    return list(_passes(planned, counts, each, base))


def _passes(planned: Plan, counts: Sequence[int], each: int, base: Path) -> Iterator[DiskPass]:
    at, of, whole = 0, len(counts), planned.report()
    if of > 1:  # memory, time and groups are those of all layers
        whole = replace(whole, forecast=None, groups=(), grouping="")
    for number, count in enumerate(counts, 1):
        mark = f"-pass-{number}-of-{of}" if of > 1 else ""
        report = replace(
            whole,
            path=shard_name(marked(base, mark), planned.options.part),
            datasets=planned.datasets[at * each : (at + count) * each],
            disk_pass=(number, of) if of > 1 else None,
        )
        yield DiskPass(number, of, planned.layers[at : at + count], report)
        at += count


def chosen(passes: Sequence[DiskPass], options: Options) -> list[DiskPass]:
    """Return the passes that are to be written, if they may.

    Raises:
        OutputError: There is no such pass, or a name is taken (exit code 2); or there is nothing
            to go on with (66).
    """
    number = options.pass_number
    if number is not None and number > len(passes):
        raise OutputError(
            f"Pass {number} was asked for; the layers make {_count(passes)} of at most "
            f"{in_units(options.max_disk or 0)}.",
            expected=f"a number from 1 to {len(passes)}",
            exit_code=2,
            passes=len(passes),
        )
    wanted = [each for each in passes if number in (None, each.number)]
    going_on = options.resume and any(each.begun for each in wanted)
    for each in wanted:
        if not (going_on and each.begun):
            check_target(
                each.output,
                overwrite=options.overwrite,
                resume=options.resume and not going_on,
                compress=options.compress,
            )
    return wanted


def options_of(one: DiskPass, options: Options) -> Options:
    """Return the options of an extraction of the layers of a pass alone."""
    resume = options.resume and one.begun
    return replace(options, max_disk=None, pass_number=None, resume=resume)


def one_of(passes: Sequence[DiskPass], options: Options) -> DiskPass:
    """Return the only pass, or the one that is asked for.

    Raises:
        OutputError: There are several and none is asked for, or as `chosen`.
    """
    if len(passes) > 1 and options.pass_number is None:
        names = ", ".join(each.output.name for each in passes[:3])
        raise OutputError(
            f"The layers make {_count(passes)} of at most {in_units(options.max_disk or 0)}: "
            f"{names}{', …' if passes[3:] else ''}",
            expected="one dump from a call of extract()",
            fix=f"Call extract_passes(), or give pass_number, from 1 to {len(passes)}.",
            exit_code=2,
            passes=len(passes),
        )
    (one,) = chosen(passes, options)
    return one


def add_state(error: BaseException, done: Sequence[DiskPass], one: DiskPass) -> None:
    """Add to an exception which passes are complete, and how to go on with the others."""
    if one.of == 1:
        return
    names = ", ".join(str(each.output) for each in done)
    error.add_note(
        f"{f'Complete: {names}. ' if done else ''}Not complete: pass {one.number} of {one.of}; "
        f"--pass {one.number} (in Python pass_number={one.number}) writes that one alone."
    )


def _count(passes: Sequence[DiskPass]) -> str:
    return f"{len(passes)} dumps" if len(passes) > 1 else "one dump"


def _too_large(address: str, size: int, rows: int, limit: int) -> OutputError:
    return OutputError(
        f"{address} takes {size:,} bytes for {rows:,} rows, and a layer is not divided.",
        expected=f"at most the {limit:,} bytes of --max-disk",
        fix="Divide the rows with --shard or --rows, make them smaller with --reduce or "
        "--dtype float16, or raise --max-disk.",
        exit_code=2,
        address=address,
        bytes=size,
    )
