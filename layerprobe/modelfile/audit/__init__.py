"""The static audit of model files: rules, findings, and a judge for each kind of content."""
