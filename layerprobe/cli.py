"""The command line: parse, call the library, print.

stdout carries the result, stderr everything else. All errors of layerprobe are caught in one place
and end with their own exit code. Text from model files is printed escaped and never as markup.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from contextlib import suppress
from typing import IO, Any

import click

import layerprobe
from layerprobe import interrupts
from layerprobe.errors import LayerprobeError
from layerprobe.screen import print_engines, printable, waiting

_INPUT_OUTPUT, _BROKEN_PIPE = 74, 141

# \b keeps click from refilling the lines.
_EXAMPLES = """\b
Examples:
  layerprobe list-layers model.keras
  layerprobe extract model.keras --layer 3 --input images.npy -o features.h5
"""
_BACKENDS_EXAMPLES = """\b
Examples:
  layerprobe backends
  layerprobe backends --json | jq '.engines[] | select(.available).name'
"""

# Commands that have a file of their own, loaded when they are asked for.
_ELSEWHERE = {
    "audit": "layerprobe.commands.audit",
    "convert": "layerprobe.commands.convert",
    "doctor": "layerprobe.commands.doctor",
    "extract": "layerprobe.commands.extract",
    "list-layers": "layerprobe.commands.list_layers",
    "merge": "layerprobe.commands.merge",
    "resume": "layerprobe.commands.resume",
    "show": "layerprobe.commands.show",
    "train": "layerprobe.commands.train",
    "verify": "layerprobe.commands.verify",
}


class _Group(click.Group):
    """The commands, with all errors of layerprobe turned into words and exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *_ELSEWHERE})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in _ELSEWHERE and cmd_name not in self.commands:
            self.add_command(importlib.import_module(_ELSEWHERE[cmd_name]).command)
        return super().get_command(ctx, cmd_name)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta["layerprobe.arguments"] = [*args]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        _open_streams()
        try:
            return super().invoke(ctx)
        except LayerprobeError as error:
            _fail(ctx, "\n".join([str(error), *_notes(error)]), error.exit_code)
        except KeyboardInterrupt as error:
            kept = " ".join(_notes(error))
            message = f"interrupted; {kept}" if kept else interrupts.MESSAGE
            _fail(ctx, message, getattr(error, "exit_code", interrupts.EXIT_CODE))
        except BrokenPipeError:
            # The reader of our stdout has gone, as in `| head`; there is nobody left to tell.
            _drop_unwritten(sys.stdout)
            _fail(ctx, "", _BROKEN_PIPE)
        except OSError as error:
            _drop_unwritten(sys.stdout)
            place = error.filename or "standard output"
            _fail(ctx, f"{place}: {error.strerror}.", _INPUT_OUTPUT)


def _open_streams() -> None:
    """Let closed standard streams lead nowhere.

    Their numbers would go to the next files that are opened, and a framework's words for stderr
    into the dump.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            setattr(sys, name, os.fdopen(number, "w" if number else "r"))


def _notes(error: BaseException) -> list[str]:
    return list(getattr(error, "__notes__", ()))


def _fail(ctx: click.Context, message: str, exit_code: int) -> None:
    try:
        if ctx.params.get("debug"):
            traceback.print_exc()
        if message:
            click.echo(printable(f"layerprobe: {message}"), err=True)
    except OSError:  # a stderr that takes no words must not change the exit code
        _drop_unwritten(sys.stderr)
    ctx.exit(exit_code)


def _drop_unwritten(stream: IO[str]) -> None:
    """Let what a broken stream still holds go nowhere, or Python fails once more when it ends."""
    with suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


@click.group(cls=_Group, epilog=_EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(layerprobe.__version__, "-V", "--version", prog_name="layerprobe")
@click.option("--debug", is_flag=True, help="Show a traceback with every error.")
def main(*, debug: bool) -> None:
    """Turn saved neural-network models into activations on disk, and train parts of them."""


@main.command(epilog=_BACKENDS_EXAMPLES)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def backends(*, as_json: bool) -> None:
    """List the engines, their devices, and what each can do.

    Each installed engine is tried in a process of its own, all at the same time; one that does not
    start within a minute counts as unavailable. For an unavailable one the reason is given.
    """
    with waiting("trying the engines"):
        engines = layerprobe.list_backends()
    default: str | None = None
    try:
        default = layerprobe.backend.engine_name()
    except LayerprobeError as error:
        click.echo(printable(f"warning: {error}"), err=True)
    if as_json:
        found = {"default": default, "engines": [engine.to_json() for engine in engines]}
        click.echo(json.dumps(found, indent=1))
    else:
        print_engines(engines, default)
