"""The JIT pools: statistics, blocks, their owners."""
