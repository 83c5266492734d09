"""One dataset as an `.npy` that leaves while it is computed: into a pipe, for the next program.

What has left cannot be called back: there is no manifest, no journal, and nothing to resume. A run
that ends early leaves an array that is cut short, which readers notice by its header.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, cast

import numpy as np

from layerprobe.errors import OutputError
from layerprobe.sinks.checks import check_rows, misuse
from layerprobe.sinks.npy import header
from layerprobe.sinks.numbers import Array, Dataset

NAME = Path("-")  # what stands for it where others have a path
_TITLE = "standard output"


class StreamSink:
    """A sink that writes rows as they come.

    Args:
        stream: Takes bytes; it is not closed.
        datasets: The one that will be written.

    Attributes:
        durable: 0: no row is safe in a stream.
        state: None.
        written: How many rows have left.

    Raises:
        OutputError: The stream fails (exit code 74).
        BrokenPipeError: Nobody reads it any more.

    Example:
        >>> import io
        >>> import numpy as np
        >>> with StreamSink(io.BytesIO(), [Dataset("a", (2, 3), np.dtype("float32"))]) as sink:
        ...     sink.write(0, [np.zeros((2, 3), "float32")])
        ...     sink.commit({})
    """

    def __init__(self, stream: IO[bytes], datasets: Sequence[Dataset]) -> None:
        check_streamed(datasets)
        self.durable = 0
        self.state: Any = None
        self.written = 0
        self._stream = stream
        self._datasets = tuple(datasets)
        self._rows = datasets[0].shape[0]
        self._put(header(datasets[0]))

    def write(
        self,
        start: int,
        arrays: Sequence[Array],
        state: Callable[[], object] | None = None,  # noqa: ARG002 - nobody goes on after it
        *,
        first: int | None = None,  # noqa: ARG002 - there is one dataset
        look: Callable[[int, Array], object] | None = None,
    ) -> None:
        """Write the next rows; see `Sink`."""
        check_rows(self._datasets, (self.written, self._rows), start, arrays)
        rows = np.ascontiguousarray(arrays[0], dtype=self._datasets[0].stored)
        if look is not None:
            look(0, rows)
        self._put(rows.reshape(-1).view(np.uint8).data)
        self.written += len(rows)

    def commit(self, manifest: Mapping[str, object]) -> None:  # noqa: ARG002 - an .npy has none
        """Make sure that all rows have left."""
        if self.written != self._rows:
            raise misuse(f"An .npy was to end after {self.written} rows.", f"all {self._rows} rows")
        with _failures():
            self._stream.flush()

    def suspend(self) -> None:
        """Do nothing: what has left is not ours any more."""

    def abort(self) -> None:
        """Do nothing: what has left is not ours any more."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.suspend()

    def _put(self, data: bytes | memoryview) -> None:
        waiting = memoryview(data)
        with _failures():
            while waiting:
                taken = cast("int | None", self._stream.write(waiting))
                if taken is None:  # a pipe that does not wait, and is full
                    select.select((), (self._stream,), ())
                waiting = waiting[taken or 0 :]


@contextmanager
def _failures() -> Iterator[None]:
    """Turn what the system says while a stream is written to into an OutputError."""
    try:
        yield
    except BrokenPipeError:
        raise  # the reader has had enough
    except OSError as error:
        raise OutputError(
            f"{_TITLE.capitalize()} cannot be written: {error.strerror or error}.",
            expected="a pipe or a file that takes all rows",
            fix="Free some space, or write to another disk.",
            errno=error.errno,
        ) from error


def destination(
    output: str | Path | IO[bytes] | None, default: str
) -> tuple[Path, IO[bytes] | None]:
    """Return what an output is called, and the stream if it is one."""
    if output is None or isinstance(output, str | Path):
        return Path(output or default), None
    return NAME, output


def place_of(path: Path) -> str:
    """Return what people call an output."""
    return _TITLE if path == NAME else str(path)


def check_stream(stream: IO[bytes], addresses: Sequence[str], **options: object) -> None:
    """Make sure that a stream can take what was asked for.

    Args:
        stream: The stream.
        addresses: The layer outputs.
        **options: Options that are for outputs with a name, and what they were given.

    Raises:
        OutputError: It cannot (exit code 2).
    """
    check_streamed(addresses)
    for name, value in options.items():
        if value:
            raise _refused(
                f"--{name} has no meaning for {_TITLE}", f"an output with a name for --{name}"
            )
    if stream.isatty():
        raise _refused(f"{_TITLE.capitalize()} is a terminal", "a pipe or a file", "… -o - > x.npy")


def check_streamed(datasets: Sequence[Dataset] | Sequence[str]) -> None:
    """Make sure that there is one dataset, as an .npy holds one array.

    Raises:
        OutputError: There are others (exit code 2).
    """
    if len(datasets) != 1:
        names = [d if isinstance(d, str) else d.address for d in datasets]
        more = ", …" if len(names) > 4 else ""
        raise _refused(
            f"{_TITLE.capitalize()} takes one array, and {len(names)} were asked for: "
            f"{', '.join(names[:4])}{more}",
            "one layer output",
            "Take one of them, or an output with a name, such as -o features.h5.",
        )


def _refused(what: str, expected: str, fix: str = "") -> OutputError:
    return OutputError(
        f"{what}.",
        expected=expected,
        fix=fix or "Leave it out, or give -o NAME.h5.",
        exit_code=2,
    )
