"""Options of several commands: where rows are and how they are read, whose code may run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

_ROWS = (
    "Rows: a .npy, .npz, HDF5, CSV or Parquet file, file.h5::/dataset, a folder of images, "
    "'parts/*.npy' for several files as one, a file of plain numbers with --input-dtype, or - for "
    "an .npy on standard input. With several model inputs, NAME=DATA for each."
)

_READING = (
    click.option("--input-dtype", metavar="TYPE",
                 help="The input is nothing but numbers of this type, such as float32; >f4 is "
                 "big-endian."),
    click.option("--input-shape", metavar="SIZES",
                 help="The shape of a row of such a file: 224,224,3.  [default: as the model takes "
                 "it]"),
    click.option("--columns", metavar="NAMES",
                 help="Of a CSV or Parquet file: the columns that make a row, a,b,c, or one column "
                 "of lists.  [default: all]"),
    click.option("--id-column", metavar="NAME",
                 help="Of such a file: the column with the names of the rows; they are kept in the "
                 "dump."),
    click.option("--header/--no-header", default=None,
                 help="Whether the first line of a CSV file has the names of the columns.  "
                 "[default: it has; numbers alone are refused]"),
    click.option("--preprocess", metavar="NAME",
                 help="Scale the values of images as for this network of keras.applications "
                 "(resnet50, mobilenet_v2, …), or as caffe, tf, torch, unit (0 to 1) or none.  "
                 "[default: none]"),
    click.option("--allow-trailing", is_flag=True,
                 help="Take an .npy file without the bytes that come after its array."),
)  # fmt: skip


trust_option = click.option(
    "--trust", metavar="SHA256",
    help="Let the Lambda layers of the model with this hash run their own code, which can do all "
    "that you can.",
)  # fmt: skip


def data_options(*, required: bool = False, without: str = "") -> Callable[[F], F]:
    """Return a decorator that adds the options to a command, which gets `inputs` and the others.

    Args:
        required: Whether there have to be rows.
        without: A sentence on what happens without them.
    """
    given = click.option(
        "--input", "-i", "inputs", multiple=True, required=required, metavar="DATA",
        help=f"{_ROWS} {without}".strip(),
    )  # fmt: skip

    def decorate(function: F) -> F:
        for option in reversed((given, *_READING)):
            function = option(function)
        return function

    return decorate
