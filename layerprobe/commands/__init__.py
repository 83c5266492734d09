"""Commands that have a file of their own; `layerprobe.cli` imports one when it is asked for."""
