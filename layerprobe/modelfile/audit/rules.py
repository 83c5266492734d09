"""What an audit can find: one rule a danger, with a stable id, what it means and what to do.

The ids are part of what users see (JSON, SARIF, filters in CI), so they are never renamed.
"""

from __future__ import annotations

from dataclasses import dataclass

OK, NEEDS_TRUST, REFUSE = "ok", "needs trust", "refuse"


@dataclass(frozen=True)
class Rule:
    """A kind of finding.

    Attributes:
        id: Its stable name.
        verdict: What one finding of it makes of a file.
        risk: From 0 to 10, as code hosts rank findings.
        means: What an attacker gains by it, or what is wrong.
        fix: What to do about it.
        closed: Whether such a file is not even read: to read it would already be harmful, or two
            readers could see two different models in it.
        exit_code: What a command that stops at it ends with.
        trust: Whether `--trust` lets the file be computed with.
    """

    id: str
    verdict: str
    risk: float
    means: str
    fix: str
    closed: bool = False
    exit_code: int = 77
    trust: bool = False


_NEW_COPY = "Get the file again from a source you trust."
_PLAIN = "Have it saved anew by model.save('model.keras') where it was made."

_CODE = (
    Rule("lambda-bytecode", NEEDS_TRUST, 9.0,
         "A Lambda layer holds Python bytecode, which does whatever its author wanted.",
         "Say what it computes: --lambda 'NAME=FORMULA'.", trust=True),
    Rule("lambda-function", NEEDS_TRUST, 8.0,
         "A Lambda layer calls a function by its name, with arguments from the file.",
         "Say what it computes: --lambda 'NAME=FORMULA'.", trust=True),
    Rule("custom-class", NEEDS_TRUST, 5.0,
         "A class that is not Keras' own has to be imported or given.",
         "Give it from a file of your own that you trust: --custom-objects FILE.py."),
    Rule("custom-function", NEEDS_TRUST, 5.0,
         "A function that is not Keras' own has to be imported or given.",
         "Give it from a file of your own that you trust: --custom-objects FILE.py."),
    Rule("external-model", NEEDS_TRUST, 8.5,
         "A layer loads a program from another place: a SavedModel, a PyTorch or a JAX module.",
         "Begin after it: extract --from LAYER."),
    Rule("foreign-module", REFUSE, 9.5,
         "The config names a module that no layer lives in, so that a loader imports or calls it.",
         "Do not load this file with anything."),
    Rule("yaml-code", REFUSE, 9.8,
         "The YAML asks its reader to import and call Python functions.",
         "Do not load this file with anything.", closed=True),
    Rule("keras-function", REFUSE, 9.0,
         "The config names a function or class of Keras that is no part of a model, such as one "
         "that fetches or writes files.",
         "Do not load this file with anything."),
    Rule("unsafe-setting", REFUSE, 9.0,
         "The config asks a loader to switch its protection off.",
         "Do not load this file with anything."),
    Rule("vocabulary-path", NEEDS_TRUST, 7.0,
         "A layer reads its vocabulary from a path that the file names.",
         "Have the model saved with its vocabulary inside.", trust=True),
    Rule("tf-operation", NEEDS_TRUST, 7.0,
         "A layer is an operation of TensorFlow that is not among those that only compute.",
         "Begin after it: extract --from LAYER."),
    Rule("subclassed-model", NEEDS_TRUST, 5.0,
         "The model is a class of its author's: code says how its layers are called.",
         "Have its sub-models saved one by one."),
)  # fmt: skip
_PICKLES = (
    Rule("pickle", REFUSE, 9.8,
         "A pickle is a program; opening it runs it.", "Have it saved as .npy, .npz or HDF5."),
    Rule("pickle-inside", REFUSE, 9.5,
         "An archive holds pickled objects; a loader that allows pickles runs them.",
         "Have it saved without objects."),
)  # fmt: skip
_HDF5 = (
    Rule("hdf5-link", REFUSE, 8.0,
         "An entry is a link, so that a reader opens another file or another place.",
         _PLAIN, closed=True),
    Rule("hdf5-storage", REFUSE, 8.0,
         "A dataset keeps its numbers in other files, whose bytes would be read as weights.",
         _PLAIN, closed=True),
    Rule("hdf5-twice", REFUSE, 5.0,
         "A group is linked twice, so that a reader can walk in circles.", _PLAIN, closed=True),
    Rule("hdf5-filter", REFUSE, 7.0,
         "A dataset needs a filter plugin, which HDF5 would load as a program.",
         _PLAIN, closed=True),
    Rule("hdf5-bomb", REFUSE, 7.5,
         "The file declares far more than it stores; a reader allocates what is declared.",
         _NEW_COPY, closed=True),
)  # fmt: skip
_ARCHIVES = (
    Rule("zip-duplicate", REFUSE, 7.0,
         "Two members have one name, so that two readers see two models.", _PLAIN, closed=True),
    Rule("zip-path", REFUSE, 8.5,
         "A member's name leads out of the folder it is unpacked into.", _PLAIN, closed=True),
    Rule("zip-link", REFUSE, 8.5, "A member is a link or a device.", _PLAIN, closed=True),
    Rule("zip-bomb", REFUSE, 7.5,
         "Unpacked, the archive is out of all proportion.", _NEW_COPY, closed=True),
    Rule("zip-contradiction", REFUSE, 7.0,
         "The archive's table of contents and its members disagree, so that two readers see two "
         "models.", _PLAIN, closed=True),
)  # fmt: skip
_TEXT = (
    Rule("config-size", REFUSE, 6.0,
         "The config is larger than the text of any model.", _NEW_COPY, closed=True, exit_code=65),
    Rule("config-depth", REFUSE, 6.0,
         "The config is nested deeper than any model, which overflows readers.",
         _NEW_COPY, closed=True, exit_code=65),
    Rule("duplicate-keys", REFUSE, 7.0,
         "The config has one key twice, so that two readers see two models.",
         _PLAIN, closed=True, exit_code=65),
    Rule("not-a-number", REFUSE, 3.0,
         "The config holds NaN, which is not JSON and compares with nothing.",
         _PLAIN, closed=True, exit_code=65),
)  # fmt: skip
_SIZES = (
    Rule("weights-bomb", REFUSE, 7.0,
         "The layers ask for far more weights than the file holds; a loader allocates them.",
         _NEW_COPY),
    Rule("activation-bomb", REFUSE, 7.0,
         "One row makes a layer output of many gigabytes.", _NEW_COPY),
    Rule("too-many-layers", REFUSE, 6.0,
         "There are more layers than in any model; building them takes hours.",
         _NEW_COPY, closed=True),
)  # fmt: skip
_GRAPHS = (
    Rule("graph-io", NEEDS_TRUST, 9.0,
         "The graph reads or writes files, loads data or sends it away.",
         "TensorFlow runs it when it loads or calls the model; layerprobe runs no graph of a file.",
         trust=True),
    Rule("graph-python", NEEDS_TRUST, 9.0,
         "The graph calls Python functions.",
         "layerprobe runs no graph of a file.", trust=True),
    Rule("graph-operation", NEEDS_TRUST, 5.0,
         "The graph holds operations that are not among those known to compute only.",
         "layerprobe runs no graph of a file.", trust=True),
    Rule("graph-bomb", REFUSE, 7.0,
         "A constant of the graph declares far more than it stores.", _NEW_COPY),
    Rule("graph-asset", REFUSE, 8.0,
         "An asset's name leads out of the model's folder.", _PLAIN, closed=True),
)  # fmt: skip
_FILES = (
    Rule("folder-link", REFUSE, 8.5,
         "A file of the folder is a link, so that a reader opens what it points to.",
         "Replace the link by the file.", closed=True),
    Rule("folder-bomb", REFUSE, 6.0, "The folder holds more files than any model.", _NEW_COPY),
    Rule("damaged", REFUSE, 1.0,
         "The file cannot be read as what it seems to be.", _NEW_COPY, exit_code=65),
    Rule("not-a-model", REFUSE, 1.0,
         "The file is no model.", "Is it the right file?", exit_code=65),
)  # fmt: skip

# Found in layers that `upgrade.foreign` takes out one by one.
LAMBDAS = frozenset({"lambda-bytecode", "lambda-function"})
RULES: dict[str, Rule] = {
    rule.id: rule
    for rule in (*_CODE, *_PICKLES, *_HDF5, *_ARCHIVES, *_TEXT, *_SIZES, *_GRAPHS, *_FILES)
}
