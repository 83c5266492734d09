"""From a model file, rows and targets to a trained model: `plan_training` checks, `run_training`.

    plan_training(...)  the model described, addresses selected, data opened, output checked, the
                        engine chosen, the model built, the step compiled; nothing is written
    run_training(plan)  epoch by epoch and batch by batch: a step of the optimizer, while the next
                        rows are read; then the model is saved, under its name when it is whole

The last batch of an epoch holds what is left, and an epoch's loss is the mean over its rows.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from layerprobe.backend import engine as engines
from layerprobe.epochs import in_order, mixed
from layerprobe.errors import DataError, LayerprobeError
from layerprobe.feed import Feed, Given, close_feeds
from layerprobe.inputs import check_distinct, open_inputs
from layerprobe.layers import LayerOutput, Shape
from layerprobe.live import build, refuse_unsavable
from layerprobe.loss_expression import LossExpression
from layerprobe.loss_reader import read_loss
from layerprobe.modelfile import open_model
from layerprobe.modelfile.reading import Reading
from layerprobe.options import TrainingOptions
from layerprobe.sinks import check_model_target, check_space, write_model
from layerprobe.targets import TargetGiven, check_target_given, loss_of, target_feed

if TYPE_CHECKING:
    from layerprobe.backend.model import Model
    from layerprobe.backend.trainer import Trainer

Epoch = Callable[[int, int, "float | None"], None]


@dataclass(frozen=True)
class TrainingReport:
    """What a training did.

    Attributes:
        path: The saved model.
        to: The address of the output that was trained.
        losses: The mean loss over the rows of each epoch, in order; each batch's is the loss before
            its step.
        rows: Rows an epoch.
        batch_size: Rows a step.
        weights: The names of the variables that the optimizer moved.
        engine: Name of the engine.
        device: The device it used.
        seconds: Duration of reading, training and saving.
        notes: What the user should know: casts, upgrades.
    """

    path: Path
    to: str
    losses: tuple[float, ...]
    rows: int
    batch_size: int
    weights: tuple[str, ...]
    engine: str
    device: str
    seconds: float
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """Return what `train --json` prints."""
        return {
            "path": str(self.path),
            "to": self.to,
            "losses": list(self.losses),
            "epochs": len(self.losses),
            "rows": self.rows,
            "batch_size": self.batch_size,
            "weights": list(self.weights),
            "engine": self.engine,
            "device": self.device,
            "seconds": round(self.seconds, 3),
            "notes": list(self.notes),
        }

    def summary(self) -> str:
        """Return the result for people, in one line."""
        count, epochs = len(self.weights), len(self.losses)
        what = f"{count} weight{'s' * (count != 1)} moved in {epochs} epoch{'s' * (epochs != 1)}"
        took = f"{self.seconds:.2f} s, {self.engine} on {self.device}"
        return f"wrote {self.path}: {what}, loss {self.losses[-1]:.6g} ({took})"


@dataclass
class TrainingPlan:
    """A training with everything checked and nothing written; a context manager.

    Attributes:
        model: The live model.
        to: The output the loss is of.
        trainer: What makes a step.
        feeds: The inputs' rows, then the target's if there is one.
        batch_size: Rows a step.
        selected: The engine.
        output: Where the model goes.
        options: How to train.
        notes: What the user should know.
    """

    model: Model
    to: LayerOutput
    trainer: Trainer
    feeds: list[Feed]
    batch_size: int
    selected: engines.Selected
    output: Path
    options: TrainingOptions
    notes: tuple[str, ...]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.trainer.release()
        close_feeds(self.feeds)


def plan_training(
    model: str | Path,
    to: str,
    given: Given,
    target: TargetGiven | None,
    output: str | Path,
    options: TrainingOptions,
) -> TrainingPlan:
    """Check a training from end to end without writing anything.

    The arguments are those of `layerprobe.train`.

    Raises:
        LayerprobeError: Something is wrong with the model, an address, the data, the loss, the
            engine or the output.
    """
    expression = None if options.loss_expr is None else read_loss(options.loss_expr)
    check_target_given(target, expression)
    engines.check_installed(engines.engine_name(options.backend))
    engines.check_device(options.device or "auto")
    file, path = open_model(model), Path(output)
    row = file.table.find(to)
    params = [(pattern, file.table.select([pattern])) for pattern in options.params]
    check_model_target(path, overwrite=options.overwrite)
    reading = Reading(trust=options.trust)
    refuse_unsavable(file, reading)
    with ExitStack() as undo:
        feeds, _ = open_inputs(file, [row], [], given, options)
        undo.callback(lambda: close_feeds(feeds))
        if target is not None:
            feeds.append(target_feed(target, feeds[0].rows))
        check_distinct(path, file, feeds)
        check_space(path, 2 * file.path.stat().st_size)
        selected = engines.select(options.backend, device=options.device, quiet=options.quiet)
        built = build(file, selected, reading)
        trainer = _trainer(built, feeds, row, params)
        undo.callback(trainer.release)
        batch_size = _batch_size(trainer.inputs, options.batch_size, feeds[0].rows)
        taught = feeds[-1] if target is not None else None
        _compile(trainer, taught, expression, row, options, selected)
        undo.pop_all()
    notes = (*built.notes, *(note for feed in feeds for note in feed.notes))
    return TrainingPlan(built, row, trainer, feeds, batch_size, selected, path, options, notes)


def run_training(planned: TrainingPlan, progress: Epoch | None = None) -> TrainingReport:
    """Carry out a plan.

    Args:
        planned: The plan; it can be run once.
        progress: Called with the number of an epoch, how many there are, and its loss: first with
            0 and None before the first one, then after each.

    Raises:
        LayerprobeError: A row cannot be read, a loss or a weight became NaN or infinite, or the
            model cannot be saved; nothing is left under the output's name.
    """
    began = time.perf_counter()
    options, trainer = planned.options, planned.trainer
    losses: list[float] = []
    if progress is not None:
        progress(0, options.epochs, None)
    for epoch in range(1, options.epochs + 1):
        losses.append(_epoch(planned, epoch))
        if progress is not None:
            progress(epoch, options.epochs, losses[-1])
    trainer.check_finite()
    trainer.release()
    from layerprobe.backend.compat import save_archive

    def write(file: Any) -> None:
        save_archive(planned.model.keras, file)

    write_model(planned.output, write, overwrite=options.overwrite)
    return TrainingReport(
        path=planned.output,
        to=planned.to.address,
        losses=tuple(losses),
        rows=planned.feeds[0].rows,
        batch_size=planned.batch_size,
        weights=tuple(trainer.names),
        engine=planned.selected.name,
        device=planned.selected.device,
        seconds=time.perf_counter() - began,
        notes=planned.notes,
    )


def _epoch(planned: TrainingPlan, epoch: int) -> float:
    """Train on all rows once; return the mean loss over them."""
    feeds, size = planned.feeds, planned.batch_size
    batches = in_order(feeds, size)
    if planned.options.shuffle:
        batches = mixed(feeds, size, np.random.default_rng((planned.options.seed, epoch)))
    total = 0.0
    for number, batch in enumerate(batches, 1):
        loss = planned.trainer(batch)
        if not math.isfinite(loss):
            raise _not_finite(loss, epoch, number, feeds)
        total += loss * len(batch[0])
    return total / feeds[0].rows


def _not_finite(loss: float, epoch: int, batch: int, feeds: Sequence[Feed]) -> LayerprobeError:
    holding = [feed.source.location for feed in feeds if feed.nan]
    what = f" NaN values are in {', '.join(holding)}." if holding else ""
    return LayerprobeError(
        f"The loss became {loss} in epoch {epoch}, batch {batch}.{what}",
        expected="finite losses",
        fix="Nothing was saved. Take a smaller --learning-rate, or look for what makes the loss "
        "infinite: a logarithm of 0, a division by 0.",
        epoch=epoch,
        batch=batch,
    )


def _trainer(
    model: Model,
    feeds: Sequence[Feed],
    to: LayerOutput,
    params: Sequence[tuple[str, Sequence[LayerOutput]]],
) -> Trainer:
    from layerprobe.backend.trainer import Trainer

    names = [feed.spec.name for feed in feeds]
    sources = {symbol.address: symbol for symbol in model.inputs}
    return Trainer(model, [sources[n] for n in names if n in sources], to, params or None)


def _compile(
    trainer: Trainer,
    target: Feed | None,
    expression: LossExpression | None,
    to: LayerOutput,
    options: TrainingOptions,
    selected: engines.Selected,
) -> None:
    spec = None if target is None else (target.spec.shape or (), target.spec.dtype or "float32")
    trainer.compile(
        loss_of(options.loss, expression, target, trainer.shape, to.address),
        spec,
        (options.optimizer, options.learning_rate),
        selected.engine,
        training=options.phase == "train",
        seed=options.seed,
    )


def _batch_size(inputs: Sequence[Shape], asked: int, rows: int) -> int:
    """Return the rows a step: what was asked for, unless the model fixes it."""
    fixed = next((shape[0] for shape in inputs if shape[0] is not None), None)
    if fixed is not None and rows % fixed:
        raise DataError(
            f"The model takes {fixed} rows at a time, and there are {rows}.",
            expected=f"a multiple of {fixed}",
            fix="Leave rows out, or add some.",
        )
    return asked if fixed is None else fixed
