"""`python -m layerprobe`."""

from layerprobe.cli import main

if __name__ == "__main__":
    main()
