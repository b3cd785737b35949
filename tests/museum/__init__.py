"""A museum of real defects: each is made, at two places, and diagnosed blind. `make museum` shows all of it."""
