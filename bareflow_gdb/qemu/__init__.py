"""Floor 2: how to start, control and stop the machine."""
