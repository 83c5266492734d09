"""Where the rows of an extraction go, and whether they may."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

from layerprobe.batches import planned_bytes
from layerprobe.errors import OutputError
from layerprobe.feed import Feed
from layerprobe.inputs import check_distinct
from layerprobe.layers import LayerOutput
from layerprobe.modelfile import ModelFile
from layerprobe.options import Options
from layerprobe.shards import shard_name
from layerprobe.sinks import (
    Dataset,
    check_dtype,
    check_space,
    check_stream,
    check_streamed,
    check_target,
    complete,
    destination,
    free_space,
    unfinished,
)


def default_name(model: Path) -> Path:
    """Return what a dump of all rows is called where no name is given: after the model file."""
    return Path(f"{model.stem}-activations.h5")


@dataclass(frozen=True)
class Output:
    """A dump by its final name, or a stream.

    Attributes:
        path: The name; of a stream, what stands for it.
        stream: What takes the rows as one array; None for a dump.
        written: Whether rows will go there; if not, nothing is checked.
    """

    path: Path
    stream: IO[bytes] | None
    written: bool = True

    @classmethod
    def of(cls, given: str | Path | IO[bytes] | None, model: Path, options: Options) -> Self:
        """Return what was asked for; where nothing was, a file that is called after the model."""
        default = shard_name(default_name(model), options.part)
        # The dumps that layers are divided into have names of their own.
        return cls(*destination(given, str(default)), written=options.max_disk is None)

    @property
    def free(self) -> int | None:
        """The bytes that are free for a dump."""
        return None if self.stream is not None else free_space(self.path)

    def check(
        self,
        wanted: Sequence[LayerOutput],
        file: ModelFile,
        feeds: Sequence[Feed],
        options: Options,
    ) -> dict[str, Any] | None:
        """Check that it may be written; return the manifest of a dump if nothing is left to do.

        Raises:
            OutputError: It must not be written, or cannot hold what was asked for.
        """
        if self.stream is not None:
            self._check_stream(self.stream, wanted, options)
            return None
        if not self.written:
            return None
        check_distinct(self.path, file, feeds)
        check_dtype(self.path, options.dtype)
        if options.resume and unfinished(self.path) is None:
            finished = complete(self.path)
            if finished is not None:
                return finished
        check_target(
            self.path,
            overwrite=options.overwrite,
            resume=options.resume,
            compress=options.compress,
        )
        return None

    def begun(self, finished: Mapping[str, Any] | None, options: Options) -> Mapping[str, Any]:
        """Return what a dump that is gone on with was begun with: its manifest, or its plan.

        Args:
            finished: The manifest, if it is complete.
            options: What was asked for; of a run that begins anew there is nothing to tell.
        """
        if finished is not None or not options.resume or not self.written:
            return finished or {}
        found = unfinished(self.path)
        return {} if found is None else found.plan.get("plan", {})

    def check_room(self, datasets: Sequence[Dataset], options: Options) -> None:
        """Check that there is room for it.

        Raises:
            OutputError: There is not (exit code 74), or a stream would get several arrays (2).
        """
        if self.stream is not None:
            check_streamed(datasets)
        elif self.written and not (options.resume or options.compress):
            # What is gone on with has its room; how much is compressed away nobody knows.
            check_space(self.path, planned_bytes(datasets))

    @staticmethod
    def _check_stream(stream: IO[bytes], wanted: Sequence[LayerOutput], options: Options) -> None:
        names = ("resume", "overwrite", "compress", "max_disk")
        asked = {name.replace("_", "-"): getattr(options, name) for name in names}
        check_stream(stream, [row.address for row in wanted], **asked)
        if options.dtype in ("bfloat16", "int8"):
            raise OutputError(
                f"An .npy has no {options.dtype}, or no place for its scale.",
                expected="float16 or float32 for standard output",
                fix="Take one of them, or give -o NAME.h5.",
                exit_code=2,
            )
