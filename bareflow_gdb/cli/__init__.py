"""Floor 6: the host program `bareflow`."""
