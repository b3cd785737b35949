"""Profile-guided optimisation of the guest's modules: what to measure, plan, compile, build, compare."""
