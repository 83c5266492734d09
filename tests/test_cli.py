"""The commands as they are typed: help, listing, errors, and what goes to which stream."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import pty
import re
import subprocess
from pathlib import Path

import click
import h5py
import pytest
from command import COMMAND, environment, shell, typed
from model_files import called, dense, functional, sequential, tensor, write_keras

from layerprobe.cli import main

FILES = ["digits_cnn.h5", "digits_cnn.keras", "places_lstm.keras", "digits_pairs.keras"]
COMMANDS = [[], *([name] for name in main.list_commands(click.Context(main)))]
MODEL_KEYS = ["path", "sha256", "format", "keras_version", "backend", "inputs", "outputs", "params"]
LAYER_KEYS = [
    *["index", "address", "name", "class_name", "output_shape", "dtype"],
    *["params", "trainable", "bytes_per_row", "inbound"],
]


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_every_command_has_help_with_an_example(capfd, path, flag):
    """Help ends with lines that can be typed, none of them refilled or wider than 90 columns."""
    done = typed(capfd, *path, flag)
    assert (done.code, done.stderr) == (0, "")
    assert done.stdout.startswith(" ".join(["Usage: layerprobe", *path]))
    examples = done.stdout.partition("Examples:\n")[2].splitlines()
    assert examples
    assert all(line.startswith("    layerprobe ") for line in examples)
    assert all(line.split()[1] in main.list_commands(click.Context(main)) for line in examples)
    assert "\\b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 90


def test_short_flags_are_unique():
    """No command has two options of one name, and every option but --help says what it does."""
    for command in [
        main,
        *(main.get_command(click.Context(main), name) for [name] in COMMANDS[1:]),
    ]:
        options = [p for p in command.params if isinstance(p, click.Option)]
        names = [name for option in options for name in option.opts] + ["-h", "--help"]
        assert len(names) == len(set(names))
        assert all(option.help for option in options)


def test_the_version_is_printed(capfd):
    """`-V` and `--version` print name and version on stdout."""
    import layerprobe

    for flag in ("-V", "--version"):
        done = typed(capfd, flag)
        assert done == (0, f"layerprobe, version {layerprobe.__version__}\n", "")


@pytest.mark.parametrize("file", FILES)
def test_the_listing_as_json(capfd, samples, file):
    """`--json` prints one object with exactly the promised keys, and true values."""
    done = typed(capfd, "list-layers", samples / file, "--json")
    assert (done.code, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert list(found) == ["model", "layers", "audit"]
    model, layers = found["model"], found["layers"]
    assert list(model) == MODEL_KEYS
    assert model["path"] == str(samples / file)
    assert model["sha256"] == hashlib.sha256((samples / file).read_bytes()).hexdigest()
    assert model["format"] == ("hdf5" if file.endswith("h5") else "keras")
    assert model["keras_version"] == "3.15.1"
    assert all(list(i) == ["name", "shape", "dtype"] for i in model["inputs"])
    assert all(list(o) == ["address", "shape", "dtype"] for o in model["outputs"])
    addresses = [layer["address"] for layer in layers]
    assert len(set(addresses)) == len(addresses)
    for layer in layers:
        assert list(layer) == LAYER_KEYS
        assert set(layer["inbound"]) <= set(addresses)
        assert isinstance(layer["trainable"], bool)
        assert isinstance(layer["output_shape"], list)
    assert {i["name"] for i in model["inputs"]} | {o["address"] for o in model["outputs"]} <= set(
        addresses
    )


def test_a_row_of_the_listing(capfd, samples):
    """A convolution's row, every value worked out by hand."""
    done = typed(capfd, "list-layers", samples / "digits_cnn.h5", "--json")
    found = json.loads(done.stdout)
    with h5py.File(samples / "digits_cnn.h5") as file:
        sizes: list[int] = []
        file["model_weights"].visititems(
            lambda _, item: sizes.append(item.size) if isinstance(item, h5py.Dataset) else None
        )
    assert found["model"]["params"] == sum(sizes)
    assert found["layers"][5] == {
        "index": 4,
        "address": "conv2",
        "name": "conv2",
        "class_name": "Conv2D",
        "output_shape": [None, 4, 4, 24],
        "dtype": "float32",
        "params": 3 * 3 * 16 * 24 + 24,
        "trainable": True,
        "bytes_per_row": 4 * 4 * 24 * 4,
        "inbound": ["pool1"],
    }


def test_a_piped_table_is_plain(samples):
    """In a pipe nothing is coloured, whatever the environment says, and no row is cut or folded."""
    model = samples / "digits_pairs.keras"
    done = shell("list-layers", model, cwd=samples, COLUMNS="40", FORCE_COLOR="1")
    assert (done.code, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    heading, *rows, total = done.stdout.splitlines()
    assert re.split(" {2,}", heading) == (
        ["index", "address", "class", "output shape", "dtype", "params", "bytes/row"]
    )
    assert total == "30 layer outputs, 5,913 params, keras file by Keras 3.15.1"
    listed = json.loads(shell("list-layers", model, "--json", cwd=samples).stdout)["layers"]
    column = heading.index("address")
    assert [row[column:].split()[0] for row in rows] == [layer["address"] for layer in listed]
    inside = next(row for row in rows if "encoder@1/conv2" in row)
    assert inside[: column + 2].isspace()
    assert re.split(" {2,}", inside.strip()) == (
        ["encoder@1/conv2", "Conv2D", "(None, 4, 4, 24)", "float32", "2,616", "1,536"]
    )


@pytest.mark.parametrize("colours", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_table_on_a_terminal_keeps_addresses_whole(samples, colours):
    """However narrow the terminal, an address can be copied; colours are never used."""
    done = on_terminal("list-layers", samples / "digits_pairs.keras", columns="40", **colours)
    assert re.search(r"\n +encoder@1/conv2 +Conv2D ", done)
    assert not re.search(r"\x1b\[[0-9;]*[34][0-9]", done)
    assert ("\x1b[1m" in done) == ("TERM" not in colours)


def on_terminal(*arguments, columns, **more):
    """Return what the command shows on a terminal."""
    master, slave = pty.openpty()
    env = environment(**{"COLUMNS": columns, "TERM": "xterm-256color"} | more)
    with subprocess.Popen([*COMMAND, *map(str, arguments)], stdout=slave, env=env) as process:
        os.close(slave)
        shown = b""
        while chunk := _read(master):
            shown += chunk
        assert process.wait(60) == 0
    os.close(master)
    return shown.decode()


def _read(master):
    try:
        return os.read(master, 65536)
    except OSError:  # Linux's way to say that the other end has closed
        return b""


def test_names_from_files_are_never_markup(capfd, tmp_path):
    """A layer name with markup or terminal codes is shown as text, with those codes escaped."""
    names = ["[red]x[/red]", "[/nothing]", "a\x1b[31mb", "line\nbreak", "ünï"]
    layers = [called(dense(names[0]), tensor("rows"))]
    layers += [called(dense(name), tensor(before)) for before, name in itertools.pairwise(names)]
    path = write_keras(tmp_path / "odd.keras", functional(*layers, outputs=[[names[-1], 0, 0]]))
    done = typed(capfd, "list-layers", path)
    assert done.code == 0
    for shown in ["%5Bred%5Dx%5B%2Fred%5D", "%5B%2Fnothing%5D", "a%1B%5B31mb", "line%0Abreak"]:
        assert shown in done.stdout
    assert "ünï" in done.stdout
    assert "\x1b" not in done.stdout
    assert len(done.stdout.splitlines()) == 2 + 1 + len(names)
    odd = write_keras(tmp_path / "class.keras", sequential(dense() | {"class_name": "[b]\x1b[1m"}))
    done = typed(capfd, "list-layers", odd)
    assert "[b]\\x1b[1m" in done.stdout
    assert "\x1b" not in done.stdout


def test_an_error_is_words_and_debug_adds_the_traceback(capfd, samples):
    """Errors go to stderr after `layerprobe:`; only --debug shows where they come from."""
    for flags in ([], ["--debug"]):
        done = typed(capfd, *flags, "list-layers", samples / "nothing.keras")
        assert (done.code, done.stdout) == (66, "")
        assert ("Traceback (most recent call last)" in done.stderr) == bool(flags)
        assert f"layerprobe: There is no file {samples / 'nothing.keras'}." in done.stderr


@pytest.mark.parametrize("arguments", [["list-layers"], ["nonsense"], ["extract", "m", "--nope"]])
def test_usage_errors_say_how_to_get_help(capfd, arguments):
    """What click finds wrong ends with exit code 2 and at most five lines on stderr."""
    done = typed(capfd, *arguments)
    assert (done.code, done.stdout) == (2, "")
    assert "--help' for help" in done.stderr
    assert len(done.stderr.splitlines()) <= 5


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_reader_that_goes_away_is_no_error(samples, flags):
    """With `| head -1` the rest is dropped: no traceback and no words."""
    command = [*COMMAND, "list-layers", str(samples / "digits_pairs.keras"), *flags]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 141


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_stdout_that_takes_nothing_is_an_input_output_error(samples, flags):
    """A full disk behind stdout ends with exit code 74 and one line."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, "list-layers", samples / "digits_cnn.h5", *flags],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
            check=False,
        )
    assert done.returncode == 74
    assert done.stderr == "layerprobe: standard output: No space left on device.\n"


@pytest.mark.parametrize("closed", ["2>&-", "2>/dev/full"])
def test_a_stderr_that_takes_nothing_changes_no_exit_code(samples, closed):
    """The exit code of an error is the same where nobody can read its message."""
    line = f'"$@" {closed}'
    command = [*COMMAND, "list-layers", "nothing.keras"]
    done = subprocess.run(
        ["sh", "-c", line, "sh", *command], cwd=samples, env=environment(), check=False
    )
    assert done.returncode == 66
