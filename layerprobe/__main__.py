"""The program `layerprobe`, also as `python -m layerprobe`."""

import io
import sys

from layerprobe.confinement.places import leave_current_folder


def run() -> None:
    """Run the command line as all that this process is for."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None where it is closed
            stream.reconfigure(errors="backslashreplace")  # what a locale lacks is shown as escapes
    leave_current_folder()  # before anything is imported that the folder may have a name of
    from layerprobe.cli import main
    from layerprobe.commands.confined import OWN_PROCESS

    main(prog_name="layerprobe", obj=OWN_PROCESS)


if __name__ == "__main__":
    run()
