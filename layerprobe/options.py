"""The options of an extraction, checked as far as they can be without a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from layerprobe.errors import DataError, OutputError
from layerprobe.reductions import Reductions
from layerprobe.shards import shard_of
from layerprobe.sources import SourceOptions, names_in, sizes

PHASES = ("test", "train")
AUTO = "auto"
DTYPES = ("float16", "bfloat16", "float32", "int8")


@dataclass(frozen=True)
class InputOptions:
    """What is said of the data; see `layerprobe.extract` for the meanings."""

    input_dtype: str | None = None
    input_shape: str | Sequence[int] | None = None
    columns: str | Sequence[str] | None = None
    id_column: str | None = None
    header: bool | None = None
    preprocess: str | None = None
    allow_trailing: bool = False

    @property
    def sources(self) -> SourceOptions:
        """The same, checked, for those who read the data.

        Raises:
            DataError: It is not understood (exit code 2).
        """
        return SourceOptions(
            dtype=self.input_dtype,
            row_shape=sizes(self.input_shape),
            columns=names_in(self.columns),
            id_column=self.id_column,
            header=self.header,
            preprocess=self.preprocess,
            allow_trailing=self.allow_trailing,
        )


@dataclass(frozen=True)
class Options(InputOptions):
    """How to extract, apart from what and where; see `layerprobe.extract` for the meanings."""

    batch_size: int | str = 32
    rows: tuple[int | None, int | None] | None = None
    shard: str | Sequence[int] | None = None
    dtype: str | None = None
    compress: str | None = None
    device: str | None = None
    backend: str | None = None
    threads: int | None = None
    start: tuple[str, ...] = ()
    phase: str | None = None
    seed: int = 0
    mc_samples: int = 0
    select: str | None = None
    reduce: str | None = None
    project: int = 0
    topk: int = 0
    source_backend: str | None = None
    source_data_format: str | None = None
    lambdas: tuple[tuple[str, str], ...] = ()
    custom_objects: str | None = None
    architecture: str | None = None
    trust: str | None = None
    max_memory: int | None = None
    max_disk: int | None = None
    pass_number: int | None = None
    strict_dtype: bool = False
    fail_on_nan: bool = False
    overwrite: bool = False
    resume: bool = False
    quiet: bool = False

    @property
    def training(self) -> bool:
        """Whether layers behave as in training."""
        return self.phase == "train" or self.mc_samples > 0

    @property
    def reductions(self) -> Reductions:
        """What is done to each output before it leaves the device."""
        return Reductions(self.select, self.reduce, self.project, self.topk, self.seed)

    @property
    def part(self) -> tuple[int, int] | None:
        """Which shard is to be computed, and of how many; None for all rows."""
        return shard_of(self.shard)

    def __post_init__(self) -> None:
        self._check_batches()
        self._check_samples()
        self._check_passes()
        if self.phase not in (None, *PHASES):
            raise DataError(
                f"The phase {self.phase!r} is not known.",
                expected=" or ".join(PHASES),
                exit_code=2,
            )
        if self.seed < 0 or self.mc_samples < 0:
            raise DataError(
                f"The seed is {self.seed}, the number of samples {self.mc_samples}.",
                expected="whole numbers from 0",
                exit_code=2,
            )
        if self.dtype not in (None, *DTYPES):
            raise OutputError(
                f"The dtype {self.dtype!r} is not known.",
                expected=f"one of {', '.join(DTYPES)}",
                exit_code=2,
            )

    def _check_batches(self) -> None:
        automatic = self.batch_size == AUTO
        if not automatic and (isinstance(self.batch_size, str) or self.batch_size < 1):
            raise DataError(
                f"The batch size is {self.batch_size}.",
                expected=f"1 or more, or {AUTO}",
                exit_code=2,
            )
        if shard_of(self.shard) and self.batch_size == AUTO:
            raise DataError(
                "Shards of one extraction need one batch size, and each would find its own.",
                fix=f"Give a number in place of --batch-size {AUTO}.",
                exit_code=2,
            )
        if shard_of(self.shard) and self.dtype == "int8":
            raise DataError(
                "Shards of one extraction need the same scales, and each would find its own.",
                expected="floating numbers for --shard",
                fix="Leave out --dtype int8, or take --dtype float16.",
                exit_code=2,
            )

    def _check_passes(self) -> None:
        if self.pass_number is not None and (self.max_disk is None or self.pass_number < 1):
            raise DataError(
                f"Pass {self.pass_number} was asked for"
                f"{', and nothing to divide the layers by' if self.max_disk is None else ''}.",
                expected="a number from 1, and --max-disk",
                exit_code=2,
            )

    def _check_samples(self) -> None:
        """Make sure that what else is asked for makes sense for means of samples."""
        if self.reductions.topk and self.mc_samples:
            raise DataError(
                "The largest values of samples are at other places in each.",
                fix="Leave out --topk, or --mc-samples.",
                exit_code=2,
            )
        if self.dtype == "int8" and self.mc_samples:
            raise DataError(
                "Mean and variance of samples are not quantised.",
                expected="floating numbers for --mc-samples",
                fix="Leave out --dtype int8, or take --dtype float16.",
                exit_code=2,
            )
        if self.mc_samples and self.phase == "test":
            raise DataError(
                "Samples were asked for in the test phase, where every pass gives the same.",
                expected="the training phase, for passes that differ",
                fix="Leave out --phase test, or --mc-samples.",
                exit_code=2,
            )


@dataclass(frozen=True)
class TrainingOptions(InputOptions):
    """How to train, apart from what and on what; see `layerprobe.train` for the meanings."""

    loss: str | None = None
    loss_expr: str | None = None
    optimizer: str = "adam"
    learning_rate: float | None = None
    epochs: int = 1
    params: tuple[str, ...] = ()
    batch_size: int = 32
    shuffle: bool = True
    seed: int = 0
    phase: str = "train"
    device: str | None = None
    backend: str | None = None
    trust: str | None = None
    overwrite: bool = False
    quiet: bool = False

    @property
    def sources(self) -> SourceOptions:
        """What is said of the data, which epochs read again and again."""
        return replace(super().sources, again=True)

    def __post_init__(self) -> None:
        checked = Options(batch_size=self.batch_size, phase=self.phase, seed=self.seed)
        if checked.batch_size == AUTO:
            raise DataError(
                f"The batch size is {AUTO}.",
                expected="1 or more: what is learned depends on how many rows a step takes",
                exit_code=2,
            )
        if (self.loss is None) == (self.loss_expr is None):
            both = self.loss is not None
            raise DataError(
                "Two losses are given." if both else "No loss is given.",
                expected="a loss by name (--loss), or an expression (--loss-expr)",
                exit_code=2,
            )
        if self.epochs < 1:
            raise DataError(
                f"The number of epochs is {self.epochs}.", expected="1 or more", exit_code=2
            )
        rate = self.learning_rate
        if rate is not None and not 0 < rate < float("inf"):
            raise DataError(
                f"The learning rate is {rate}.", expected="a number above 0", exit_code=2
            )
