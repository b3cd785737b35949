"""Does the suite hold out when what it works with is killed, full, slow or wrong about the time?

`make soak` breaks things at random for ten minutes, `make test` each cheap one once; tests/README.md tells how to add a
fault.
"""
