"""The dashboard and the `tierwise` command: what an analyst sees of the call log."""
