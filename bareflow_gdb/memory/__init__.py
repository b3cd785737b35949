"""Floor 2: how to get bytes of guest memory, whatever they are read from."""
