"""What `extract` and `resume` share: progress, signals, and what is printed at the end."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from layerprobe import interrupts
from layerprobe.confinement.worker import loaded
from layerprobe.interrupts import EndOnInterrupt, StopOnSignal
from layerprobe.screen import printable, progress_bar

if TYPE_CHECKING:
    from layerprobe.report import Report


def carry_out(work: Callable[..., Report], *, as_json: bool) -> None:
    """Run an extraction and print its report.

    Args:
        work: Takes `progress`, to be called with the rows done and the rows in all, and
            `announce`, to be called with the report of what will be written.
        as_json: Whether to print one JSON object.
    """
    from layerprobe.summary import outlook, remarks, summary

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

        report = work(progress=progress, announce=announce)
    for line in remarks(report):
        click.echo(printable(line), err=True)
    click.echo(json.dumps(report.to_json(), indent=1) if as_json else printable(summary(report)))
