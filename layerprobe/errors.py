"""The exceptions of layerprobe: one tree, one shape of message.

    LayerprobeError             exit 70  anything else we can name
    ├── ModelError              exit 65  the model file: missing (66), damaged, not readable rightly
    ├── LayerNotFound           exit  2  an address of none or several (also a KeyError)
    ├── DataError               exit 65  the input rows: missing (66), wrong shape, dtype, count
    ├── BackendError            exit 70  an engine: unknown (2), not installed, failed
    ├── OutputError             exit 74  the dump: exists (2), locked (75), cannot be written
    └── TrustError              exit 77  the file wants code to run that it brings along

Every message says what happened, what was expected and what to do next, and every exception carries
the values it speaks of as `fields`, so that no caller has to parse text. The command line catches
`LayerprobeError` in one place and ends with its `exit_code` (the numbers follow BSD's sysexits.h).
"""

from __future__ import annotations


class LayerprobeError(Exception):
    """Base of all errors that layerprobe raises on purpose.

    Args:
        what: What happened, as one sentence.
        expected: What was expected instead, if that is not obvious.
        fix: What to do next, in words or as a command to type.
        exit_code: Overrides the exit code of the class.
        **fields: The values the message speaks of, kept in `fields`.

    Example:
        >>> error = DataError("x.npy holds 0 rows.", expected="at least one row", path="x.npy")
        >>> print(error)
        x.npy holds 0 rows.
        Expected: at least one row.
        >>> error.fields["path"], error.exit_code
        ('x.npy', 65)
    """

    exit_code: int = 70

    def __init__(
        self,
        what: str,
        *,
        expected: str = "",
        fix: str = "",
        exit_code: int | None = None,
        **fields: object,
    ) -> None:
        lines = [what]
        if expected:
            lines.append(f"Expected: {expected}.")
        if fix:
            lines.append(fix)
        super().__init__("\n".join(lines))
        self.fields = fields
        if exit_code is not None:
            self.exit_code = exit_code

    def __str__(self) -> str:
        # KeyError would print the repr of its argument, escapes and all.
        return str(self.args[0])


class ModelError(LayerprobeError):
    """The model file is missing, damaged, or of a kind that cannot be read rightly."""

    exit_code = 65


class LayerNotFound(LayerprobeError, KeyError):  # noqa: N818 - the name the design fixes
    """An address names no layer output of this model, or more than one."""

    exit_code = 2


class DataError(LayerprobeError):
    """The input rows are missing or do not fit the model."""

    exit_code = 65


class BackendError(LayerprobeError):
    """An engine is unknown, not installed, already fixed to another one, or failed."""

    exit_code = 70


class OutputError(LayerprobeError):
    """The dump cannot be written, or must not be."""

    exit_code = 74


class TrustError(LayerprobeError):
    """The model needs code to run that only its file or its author has."""

    exit_code = 77
