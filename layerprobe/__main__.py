"""The program `layerprobe`, also as `python -m layerprobe`."""

import io
import re
import sys

from layerprobe.confinement.places import leave_current_folder
from layerprobe.errors import LayerprobeError


def run() -> None:
    """Run the command line as all that this process is for."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None where it is closed
            stream.reconfigure(errors="backslashreplace")  # what a locale lacks is shown as escapes
    leave_current_folder()  # before anything is imported that the folder may have a name of
    try:
        from layerprobe.cli import main
        from layerprobe.commands.confined import OWN_PROCESS

        main(prog_name="layerprobe", obj=OWN_PROCESS)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        wanted = _requirement(package)
        if not wanted:
            raise
        lacking = LayerprobeError(
            f"The package {package} is not installed.",
            expected="all packages that layerprobe needs",
            fix=f"Install it with: pip install '{wanted}'",
        )
        print(f"layerprobe: {lacking}", file=sys.stderr)  # noqa: T201 - click may be what is missing
        sys.exit(lacking.exit_code)


def _requirement(package: str) -> str:
    """Return how layerprobe's own metadata name a package that it needs; "" if it needs it not."""
    from importlib import metadata  # which takes a while, and is not needed when all is well

    try:
        listed = metadata.requires("layerprobe") or []
    except metadata.PackageNotFoundError:  # run from a folder that is not installed
        return package
    known = re.compile(rf"{re.escape(package)}[<>=~!][^;]*")
    return next((one for one in listed if known.fullmatch(one)), "")


if __name__ == "__main__":
    run()
