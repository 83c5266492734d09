"""From a model file and an engine to a live model, and to what cannot be computed of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from layerprobe.backend import engine as engines
from layerprobe.errors import ModelError, TrustError
from layerprobe.layers import LayerOutput
from layerprobe.loss_reader import LAMBDA_NAMES, read_formula
from layerprobe.modelfile import ModelFile
from layerprobe.modelfile.audit.rules import LAMBDAS, REFUSE
from layerprobe.modelfile.reading import Reading
from layerprobe.modelfile.upgrade import AS_SAVED, upgrade
from layerprobe.modelfile.upgrade.keras2 import HARD_SIGMOID_PACKAGE
from layerprobe.options import Options

if TYPE_CHECKING:
    from layerprobe.backend.model import Model


def reading_of(options: Options) -> Reading:
    """Return what the options say about the file.

    Raises:
        LayerprobeError: A formula is wrong, or an engine or a data format is not known.
    """
    if options.trust is not None and options.architecture is not None:
        raise TrustError(
            f"--trust names the file of weights, and {options.architecture} describes its layers.",
            expected="code in the very file that is trusted",
            fix="Leave --trust out, and say what a Lambda layer computes: --lambda NAME=FORMULA.",
        )
    for _, formula in options.lambdas:
        read_formula(formula, LAMBDA_NAMES)
    return Reading(
        options.source_backend,
        options.source_data_format,
        dict(options.lambdas),
        trust=options.trust,
    )


def refuse_untrusted(file: ModelFile, reading: Reading) -> None:
    """Refuse a file that the audit refuses, or that needs trust which was not given.

    Layers with code of their own are left: what does not depend on them can be computed, and
    `upgrade` replaces them.

    Raises:
        TrustError: It is one; or trust was given to other bytes.
    """
    if reading.trust is not None and reading.trust.lower() != file.sha256:
        raise TrustError(
            f"--trust names {reading.trust[:80]}, but {file.path} is {file.sha256}.",
            expected="the SHA-256 of the very file that was looked at",
            fix=f"Look at it again: layerprobe audit {file.path}",
            path=str(file.path),
            sha256=file.sha256,
        )
    findings = file.audit.findings
    refused = [one for one in findings if one.rule.verdict == REFUSE]
    if refused:
        raise file.audit.error(refused)
    wanting = [one for one in findings if one.rule.trust and one.rule_id not in LAMBDAS]
    if wanting and reading.trust is None:
        raise file.audit.error(wanting)


def refuse_unrun(
    file: ModelFile,
    wanted: Sequence[LayerOutput],
    begin: Sequence[LayerOutput],
    options: Options,
) -> None:
    """Refuse outputs that depend on layers which cannot be computed, and files the audit refuses.

    Raises:
        TrustError: There is one.
        ModelError: The file is of a kind that is not known to be read rightly.
    """
    refuse_untrusted(file, reading_of(options))
    _ = file.sha256  # before `build` sees whether the file is still the same: the manifest has it
    if options.custom_objects is not None:
        return  # what that file brings along only the live model tells
    unrun = upgrade(file.contents, reading_of(options)).unrun
    for row in file.table.needed(wanted, begin) if unrun else ():
        error = unrun.get(tuple(name for name, _ in row.path))
        if error is not None:
            raise error


def refuse_unsavable(file: ModelFile, reading: Reading) -> None:
    """Refuse a model that could not be saved whole, so that Keras alone opens it again.

    Raises:
        TrustError: The audit refuses it, or a layer needs code that is not trusted.
        ModelError: It needs code of layerprobe.
    """
    refuse_untrusted(file, reading)
    upgraded = upgrade(file.contents, reading)
    for error in upgraded.unrun.values():
        told = str(error)
        raise TrustError(
            told.partition("\n")[0],
            expected="layers that Keras alone builds, as the whole model is saved",
            fix=f"If you trust the file to run it: --trust {file.sha256}"
            if "--trust" in told
            else "layerprobe.load builds the rest, and layerprobe.backend.get_updates trains it.",
            path=str(file.path),
        )
    if f"{HARD_SIGMOID_PACKAGE}>" in str(upgraded.config):
        raise ModelError(
            f"{file.path} needs code of layerprobe, which a .keras file cannot hold.",
            fix="layerprobe.load builds it, and layerprobe.backend.get_updates trains it.",
            path=str(file.path),
        )


def build(
    file: ModelFile,
    selected: engines.Selected,
    reading: Reading = AS_SAVED,
    custom_objects: str | None = None,
) -> Model:
    """Return the live model of a model file on the chosen engine.

    Raises:
        TrustError: It must not be built, or is not the file any more that was judged.
        ModelError: It cannot be read rightly.
    """
    # Imports Keras, so not before the engine is chosen.
    from layerprobe.backend.finite import nonfinite_weights
    from layerprobe.backend.loading import build as build_model

    refuse_untrusted(file, reading)
    file.judged.check()
    first = selected.engine.RUNS_CHANNELS_FIRST
    try:
        model = build_model(
            file, runs_channels_first=first, reading=reading, custom_objects=custom_objects
        )
    finally:
        file.judged.check()  # weights are read by name; and a change is why they do not fit
    model.notes = (*model.notes, *nonfinite_weights(model.keras))
    return model
