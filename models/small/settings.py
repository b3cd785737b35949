"""Which sizes and seeds has the small model, and how long does it learn?"""

from __future__ import annotations

from bareflow_gdb.model.dims import Dims

DIMS = Dims(
    dim=96,
    hidden=256,
    layers=5,
    heads=6,
    kv_heads=2,
    head_size=16,
    vocabulary=512,
    context=256,
    rope_base=10000.0,
    epsilon=1e-5,
    tied=True,
).checked()
SEED, OTHER_SEED = 20260101, 20260102
"""Of what is learnt from, and of what it is measured with."""
LEARNT_TEXTS, TEXTS, OTHER_TEXTS = 1000, 16_000, 300
"""Texts that give the tokens, that are learnt from, that are measured with."""
STEPS, BATCH = 2600, 8
RATE, WARM_UP, FALLING = 3e-3, 100, 0.3
"""Of the optimiser: at its highest; steps until then; the share of all steps in which it falls to nothing."""
