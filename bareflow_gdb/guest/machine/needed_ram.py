"""How much RAM does a machine need for what is on its second disk?"""

from __future__ import annotations

from pathlib import Path

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.machine.disk import read_image

USUAL_MIB = 64
MODEL_ENDING = ".BFM"
_BESIDE_MODEL = 64 << 20
"""Keys and values of a text of 1,024 positions, activations, logits (SmolLM2-135M: 48 MB)."""
_STEP_MIB = 64


def needed_mib(disk: Path | None) -> tuple[int, str]:
    """MiB, and the model for which it is more than usual; "" = there is none. A disk that is damaged needs nothing."""
    try:
        volume = read_image(disk).volume if disk is not None else None
    except BareflowError:
        volume = None
    # The guest takes the first one.
    model = next((file for file in (volume.files if volume else ()) if file.name.endswith(MODEL_ENDING)), None)
    if model is None:
        return USUAL_MIB, ""
    end = layouts.const("BF_WEIGHTS_BASE") + model.size + _BESIDE_MODEL
    most = max(USUAL_MIB, -(-end // (_STEP_MIB << 20)) * _STEP_MIB)
    return most, model.name
