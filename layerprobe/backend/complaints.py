"""What Keras and the engines say when they fail, cut down to the sentence that helps."""

from __future__ import annotations

import re

from layerprobe.errors import BackendError

# Paragraphs around the sentence: where it happened, and with what arguments, often by the page.
_AROUND = (
    "Graph execution error",
    "Detected at node",
    "Exception encountered",
    "Arguments rec",
    'File "',
)
_REBUILT, _CAUSE = "could not be deserialized properly", "Exception encountered: "
# TensorFlow and JAX (XLA), PyTorch on a GPU, PyTorch on a CPU, oneDNN.
_OUT_OF_MEMORY = re.compile(
    r"RESOURCE_EXHAUSTED|OOM when allocating|out of memory|can't allocate memory", re.IGNORECASE
)
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
_PLACES = re.compile(
    r"\[\[\{\{node .*?\}\}\]\]|\{\{function_node [^}]*\}\}|\[Op:[^\]]*\]| name: *$"
)


def in_one_line(error: BaseException, limit: int = 300) -> str:
    r"""Return the message of an exception as one line.

    Example:
        >>> in_one_line(ValueError("Graph execution error:\n\nToo small.\n\t [[{{node c}}]]"))
        'Too small.'
    """
    text = _PLACES.sub("", _ESCAPES.sub("", str(error)))
    if _REBUILT in text:  # the whole config, once for each level, and then what is the matter
        text = text.rpartition(_CAUSE)[2]
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", text)]
    said = [part for part in paragraphs if part and not part.startswith(_AROUND)]
    line = " ".join(said) or " ".join(paragraphs).strip() or type(error).__name__
    return line if len(line) <= limit else f"{line[:limit]}…"


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an engine failed because a device had not enough memory.

    Example:
        >>> is_out_of_memory(RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes"))
        True
    """
    kinds = {kind.__name__ for kind in type(error).__mro__}
    known = {"MemoryError", "ResourceExhaustedError", "OutOfMemoryError"}
    return bool(kinds & known) or _OUT_OF_MEMORY.search(str(error)) is not None


def engine_error(doing: str, error: Exception) -> BackendError:
    """Return what an engine says in one line; its own messages print graphs and arrays.

    Args:
        doing: What it was doing, and of which outputs.
        error: What it raised.
    """
    if is_out_of_memory(error):
        return BackendError(
            f"The engine ran out of memory while {doing}.",
            fix="Take a smaller batch (--batch-size), fewer layers, or a device with more memory.",
            out_of_memory=True,
        )
    return BackendError(
        f"The engine failed while {doing}: {in_one_line(error)}",
        fix="If a size the model leaves open is too small or too large, give data of another size.",
    )
