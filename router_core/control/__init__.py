"""Control state: the config on disk, and what limits have left."""
