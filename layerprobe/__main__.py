"""The program `layerprobe`, also as `python -m layerprobe`."""

from layerprobe.confinement.places import leave_current_folder


def run() -> None:
    """Run the command line as all that this process is for."""
    leave_current_folder()  # before anything is imported that the folder may have a name of
    from layerprobe.cli import main
    from layerprobe.commands.confined import OWN_PROCESS

    main(prog_name="layerprobe", obj=OWN_PROCESS)


if __name__ == "__main__":
    run()
