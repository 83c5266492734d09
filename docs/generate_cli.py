"""Write docs/cli.md from the commands themselves: `python docs/generate_cli.py`.

The page is made from what click knows of each command, so that it cannot say anything else than
`--help` does; a test checks that it was made anew after the last change.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import click

from layerprobe.cli import main

PAGE = Path(__file__).with_name("cli.md")

_HEAD = """\
# Commands

This page is made by `python docs/generate_cli.py`; `layerprobe COMMAND --help` says the same.

stdout carries the result, stderr everything else: progress (on a terminal only), notes, warnings
and errors. An error says what happened, what was expected and what to do next; `layerprobe --debug
COMMAND …` shows its traceback as well.
"""

_TAIL = """\
## Exit codes

| code | means |
|---|---|
| 0 | done |
| 2 | usage: an unknown option, layer or engine, rows out of range, an output that exists |
| 65 | the model, the data or the dump are damaged, ambiguous, misfit, or were changed meanwhile |
| 66 | the model or the data are not there, or nothing to go on with |
| 70 | an engine or a device is missing, failed, crashed, or went beyond a limit |
| 74 | reading or writing failed: no such folder, no room on the disk; rows before are kept |
| 75 | another process writes this output, or the data |
| 77 | the file wants code of its own to run, reaches out of itself, or is out of all proportion |
| 130 | stopped by Ctrl-C; `layerprobe resume OUT` goes on |
| 129 | the same by SIGHUP, when its terminal closes |
| 143 | the same by SIGTERM |
| 141 | the reader of a pipe has gone, as in `\\| head` |

Whatever the code, an output has its final name only when it is complete.

## Environment

| variable | means |
|---|---|
| `LAYERPROBE_BACKEND` | the engine, where `--backend` is not given |
| `KERAS_BACKEND` | the same, where that is not set either |
| `TMPDIR` | where the private folder of a run is made |
"""


def page() -> str:
    """Return the whole page."""
    context = click.Context(main)
    names = main.list_commands(context)
    commands = {name: found for name in names if (found := main.get_command(context, name))}
    parts = [_section(name, command) for name, command in commands.items()]
    return "\n".join([_HEAD, *parts, _TAIL])


def _section(name: str, command: click.Command) -> str:
    # As when it is run: click remembers what help is called where it first looked.
    above = click.Context(main, **main.context_settings)
    usage = " ".join(command.collect_usage_pieces(click.Context(command, parent=above)))
    lines = [f"## layerprobe {name}", "", f"`layerprobe {name} {usage}`", ""]
    lines += [inspect.cleandoc(command.help or ""), "", "| option | |", "|---|---|"]
    lines += [f"| {names} | {text} |" for names, text in _options(command)]
    examples = (command.epilog or "").splitlines()[2:]
    return "\n".join([*lines, "", "```sh", *(line.strip() for line in examples), "```", ""])


def _options(command: click.Command) -> Iterator[tuple[str, str]]:
    for option in command.params:
        if isinstance(option, click.Option):
            value = "" if option.is_flag else f" {option.metavar}"
            opts = [*option.opts, *option.secondary_opts]
            names = ", ".join(f"`{name}{value}`" for name in opts)
            default = f" [default: {option.default}]" if option.show_default else ""
            text = f"{option.help}{default}".replace("*", r"\*")
            yield names.replace("|", r"\|"), " ".join(text.replace("|", r"\|").split())


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
