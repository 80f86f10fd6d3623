"""One module per page; each draws what its source gives."""
