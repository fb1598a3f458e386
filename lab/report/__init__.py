"""Facts to people."""
