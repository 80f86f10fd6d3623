"""Ways for other tools to write into this log."""
