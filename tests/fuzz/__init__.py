"""Do the suite's readers hold out against anything? Damaged inputs, seeded, by the thousand.

`make fuzz` runs them for an hour, `make test` a few seconds of them; tests/README.md tells how to add a reader.
"""
