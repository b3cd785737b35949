"""Does new code do what the published code does? Both are run on the host, over a copy of guest memory."""
