"""Side-by-side runs that print ratios; see README.md. Nothing here is installed or a test."""
