"""How fast rows get from a file through a model to the disk, beside the limits and other ways."""
