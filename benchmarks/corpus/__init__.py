"""What opens of the real model files beside the project, and whether the numbers are right."""
