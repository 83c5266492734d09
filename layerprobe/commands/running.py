"""What `extract` and `resume` share: progress, signals, and what is printed at the end."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, TypeVar

import click

from layerprobe import interrupts
from layerprobe.confinement.worker import loaded
from layerprobe.interrupts import EndOnInterrupt, StopOnSignal
from layerprobe.screen import printable, progress_bar

if TYPE_CHECKING:
    from layerprobe.report import Report

Found = TypeVar("Found")

ARGUMENTS = "layerprobe.arguments"  # where the context has what was typed


def carry_out(work: Callable[..., Report], *, as_json: bool, streams: bool = False) -> None:
    """Run an extraction and print its report.

    Args:
        work: Takes `progress`, to be called with the rows done and the rows in all, and
            `announce`, to be called with the report of what will be written.
        as_json: Whether to print one JSON object.
        streams: Whether standard output has rows: the report goes to stderr then.
    """
    report = _watched(work)
    _say(report, set())
    said = json.dumps(report.to_json(), indent=1) if as_json else _summary(report)
    click.echo(said, err=streams)


def carry_out_passes(work: Callable[..., Iterator[Report]], *, as_json: bool) -> None:
    """Write several dumps, and print the report of each when it is complete.

    Args:
        work: Takes the same as for `carry_out`.
        as_json: Whether to print one JSON object for all, in the end.
    """
    now: dict[str, Callable[..., None]] = {}

    def progress(done: int, total: int) -> None:
        now["progress"](done, total)

    def announce(planned: Report) -> None:
        now["announce"](planned)

    reports = work(progress=progress, announce=announce)

    def following(**told: Callable[..., None]) -> Report | None:
        now.update(told)
        return next(reports, None)

    told, said = [], set[str]()
    while (report := _watched(following)) is not None:
        _say(report, said)
        told.append(report.to_json())
        if not as_json:
            click.echo(_summary(report))
    if as_json:
        click.echo(json.dumps(told[0] if len(told) == 1 else {"passes": told}, indent=1))


def _say(report: Report, said: set[str]) -> None:
    """Print what there is to say besides, unless it was said before."""
    from layerprobe.summary import remarks

    for line in remarks(report):
        if line not in said:
            click.echo(printable(line), err=True)
        said.add(line)


def _summary(report: Report) -> str:
    from layerprobe.summary import summary

    return printable(summary(report))


def _watched(work: Callable[..., Found]) -> Found:
    """Return what some work returns that can be stopped by signals and shows how far it is."""
    from layerprobe.summary import outlook

    new_line = "\n" if sys.stderr.isatty() else ""
    message = f"{new_line}layerprobe: {interrupts.MESSAGE}\n"
    with EndOnInterrupt(message) as loading, StopOnSignal() as stop, progress_bar() as bar:

        def progress(done: int, total: int) -> None:
            loading.over()
            loaded()
            stop.start()
            if bar is not None:
                bar(done, total)
            if done:
                stop.check()

        def announce(planned: Report) -> None:
            if bar is not None:
                bar.clear()
            click.echo(printable(outlook(planned)), err=True)

        return work(progress=progress, announce=announce)


@contextmanager
def rows_alone() -> Iterator[IO[bytes]]:
    """Give standard output to rows; what anything else prints there goes to stderr meanwhile."""
    sys.stdout.flush()
    before = os.dup(1)
    try:
        os.dup2(2, 1)
        with os.fdopen(os.dup(before), "wb", buffering=0) as stream:
            yield stream
    finally:
        sys.stdout.flush()
        os.dup2(before, 1)
        os.close(before)
