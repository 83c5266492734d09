"""The Python door: `list_layers`, `load`, `train`, `list_backends`; the rest is `extraction`.

What `list_layers` does not need is imported by the functions that do: listing is to be instant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerprobe.loss_reader import LAMBDA_NAMES, read_formula
from layerprobe.modelfile import ModelFile, open_model
from layerprobe.modelfile.reading import Reading

if TYPE_CHECKING:
    from layerprobe.backend.model import Model
    from layerprobe.backend.survey import EngineReport
    from layerprobe.conversion import Conversion
    from layerprobe.feed import Given
    from layerprobe.targets import TargetGiven
    from layerprobe.training import Epoch, TrainingReport


def list_layers(path: str | Path, *, architecture: str | Path | None = None) -> ModelFile:
    """Describe a saved model without loading a framework.

    Args:
        path: A model file: HDF5 (.h5, .hdf5), a .keras archive, the JSON or YAML of an
            architecture, whatever its name; or a SavedModel folder.
        architecture: For a file of weights alone: where its layers are described.

    Returns:
        The description; its `table` holds one row for each output of each call of each layer.

    Raises:
        ModelError: The file is missing, damaged, or not a model.
        TrustError: It reaches out of itself.

    Example:
        >>> model = list_layers("samples/digits_cnn.keras")
        >>> row = model.table.find("conv1")
        >>> row.class_name, row.output_shape, row.bytes_per_row
        ('Conv2D', (None, 8, 8, 16), 4096)
    """
    return open_model(path, architecture)


def list_backends(timeout: float = 60.0) -> list[EngineReport]:
    """Try all engines, each in a process of its own, and say what each can do.

    Args:
        timeout: Seconds after which an engine that has not started counts as unavailable.

    Returns:
        A report for each engine: name, version, devices, capabilities, or why it is unavailable.

    Example:
        >>> engines = {engine.name: engine for engine in list_backends()}
        >>> "cpu" in engines["tensorflow"].devices
        True
    """
    from layerprobe.backend.survey import survey

    return survey(timeout)


def load(  # noqa: PLR0913 - what a file does not say has many sides
    path: str | Path,
    *,
    backend: str | None = None,
    device: str | None = None,
    source_backend: str | None = None,
    source_data_format: str | None = None,
    lambdas: Mapping[str, str] | None = None,
    custom_objects: str | Path | None = None,
    architecture: str | Path | None = None,
    trust: str | None = None,
) -> Model:
    """Build a saved model on an engine.

    Args:
        path: A model file.
        backend: "tensorflow", "jax", "torch", or another engine that is installed; by default
            `LAYERPROBE_BACKEND`, then `KERAS_BACKEND`, then TensorFlow. One process can use one.
        device: "auto" (a GPU if the engine sees one), "cpu", "gpu" or "gpu:N".
        source_backend: "tensorflow", "theano" or "cntk": read a file of Keras 1 or 2 as one made on
            that engine, whatever it says; they computed convolutions and padding differently.
        source_data_format: "channels_first" or "channels_last", for layers of Keras 1 that do not
            say where their channels are.
        lambdas: Formulas of `x`, such as "x/127.5 - 1", for Lambda layers by name: no code of the
            file is run.
        custom_objects: A Python file of your own, which is run, with classes the model needs.
        architecture: For a file of weights alone: where its layers are described.
        trust: The SHA-256 of the file, if you trust these bytes to run code of their own: their
            Lambda layers are then run, which can do all that you can.

    Returns:
        The model; `model["address"]` is the symbolic tensor of a layer output, for
        `layerprobe.backend.function`.

    Raises:
        ModelError: The file is missing, damaged, or cannot be read rightly.
        TrustError: It needs code that is not Keras' own.
        BackendError: The engine or the device is not there.

    Example:
        >>> model = load("samples/digits_cnn.keras")
        >>> model.inputs[0].shape
        (None, 8, 8, 1)
    """
    from layerprobe.backend import select
    from layerprobe.live import build

    file = open_model(path, architecture)
    given = dict(lambdas or {})
    for formula in given.values():
        read_formula(formula, LAMBDA_NAMES)
    reading = Reading(source_backend, source_data_format, given, trust=trust)
    custom = None if custom_objects is None else str(custom_objects)
    return build(file, select(backend, device=device), reading, custom)


def convert(model: str | Path, output: str | Path, **options: Any) -> Conversion:
    """Write a saved model as a .keras file that plain Keras 3 loads, with the same numbers.

    Both are run on made-up rows before the new file appears.

    Args:
        model: The model, as for `load`.
        output: The new file, NEW.keras.
        **options: architecture, source_backend, source_data_format, lambdas, custom_objects,
            trust, backend, device (see `load`), overwrite, quiet.

    Returns:
        What was changed, how many layer outputs were compared, and the largest difference.

    Raises:
        ModelError: Plain Keras has no layers that compute the same, or the file cannot be read.
        TrustError: It needs code that is not Keras' own.
        OutputError: The new file exists or cannot be written.

    Example:
        >>> found = convert("samples/digits_cnn.h5", "digits.keras", overwrite=True)
        >>> found.error < 1e-5
        True
    """
    from layerprobe.conversion import convert as run
    from layerprobe.options import Options

    return run(model, output, Options(**options))


def train(
    model: str | Path,
    to: str | int,
    input: Given,  # noqa: A002 - the word the command line uses
    target: TargetGiven | None,
    output: str | Path,
    *,
    params: str | int | Sequence[str | int] = (),
    progress: Epoch | None = None,
    **options: Any,
) -> TrainingReport:
    """Train a part of a saved model and save the whole model anew.

    Rows are streamed batch by batch. Only the named layers learn; all others are frozen, as
    `layer.trainable = False` means it, and keep every bit of their weights and statistics. The new
    file appears under its name when it is complete.

    Args:
        model: A model file.
        to: The address of the layer output that the loss is of; what comes after it does not run.
        input: Rows: a file (.npy, .npz, HDF5; `file.h5::/dataset`), an array, or for several
            inputs a mapping of names to these.
        target: One row for each row of the input: a file or an array; floats are taken as float32,
            integers as int32. None if the loss expression holds no target.
        output: `NAME.keras`.
        params: Addresses, or patterns of addresses, of the layers whose weights move; by default
            all trainable ones that the output depends on.
        progress: Called with the number of an epoch, how many there are, and its loss: with 0 and
            None when all is loaded, and after each epoch.
        **options: The fields of `layerprobe.options.TrainingOptions`: loss (one of Keras' own by
            name), or loss_expr (a formula of `target` and `output` in functions of keras.ops);
            optimizer (one of Keras' own by name, "adam"), learning_rate (by default the
            optimizer's), epochs (1), batch_size (32), shuffle (True; rows in another order each
            epoch), seed (of that order and of the layers' random numbers, 0), phase ("train", or
            "test": nothing is dropped, and batches are normalised by the statistics), device,
            backend, trust (see `load`), overwrite (replace a .keras file), quiet (keep what
            frameworks print at their start off stderr).

    Returns:
        The loss of each epoch, and what was saved.

    Raises:
        LayerprobeError: Something is wrong with the model, an address, the data, the loss, the
            engine or the output, or the loss became NaN; nothing is left under the output's name.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     report = train(
        ...         "samples/digits_cnn.keras",
        ...         "digit",
        ...         "samples/data/digits.npy",
        ...         "samples/data/digits_labels.npy",
        ...         f"{folder}/tuned.keras",
        ...         params="logits",
        ...         loss="sparse_categorical_crossentropy",
        ...         epochs=2,
        ...     )
        >>> report.weights, report.losses[1] < report.losses[0]
        (('logits/kernel', 'logits/bias'), True)
    """
    from layerprobe.options import TrainingOptions
    from layerprobe.training import plan_training, run_training

    wanted = (params,) if isinstance(params, (str, int)) else params
    given = TrainingOptions(params=tuple(str(address) for address in wanted), **options)
    with plan_training(model, str(to), input, target, output, given) as planned:
        return run_training(planned, progress)
