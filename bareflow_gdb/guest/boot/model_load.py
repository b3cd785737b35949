"""What became of the language model on the guest's second disk? The record behind the boot record says it, since 1.4.

Read budget: 1 packet.
"""

from __future__ import annotations

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import ReadError
from bareflow_gdb.guest.base.reading import one
from bareflow_gdb.guest.base.root import Root
from bareflow_gdb.guest.base.values import word
from bareflow_gdb.memory.protocol import Memory

_RUN = "`bareflow run` gives a machine enough for the model on its disk, --memory as much as you like"


def model_words(memory: Memory, root: Root | None) -> tuple[str, str]:
    """How it stands with the model, "" = this kernel does not tell, or has no disk; and what is wrong, "" = nothing."""
    if root is None or not root.tells(4):
        return "", ""
    try:
        raw = one(memory, "bf_model_record", layouts.const("BF_MODEL_RECORD_ADDRESS"), "model record")
    except ReadError:
        return "", ""
    if raw.magic != layouts.const("BF_MODEL_RECORD_MAGIC"):
        return "", ""
    base = f"0x{layouts.const('BF_WEIGHTS_BASE'):08x}"
    transfer = word("bf_transfer", raw.transfer).upper()
    of_it = f"{raw.loaded:,} of {raw.bytes:,} bytes at {base} by {transfer}"
    state = word("bf_model_state", raw.state)
    known = {
        "none": ("", ""),
        "no_file": ("none: the second disk has no file NAME.BFM", ""),
        "loading": (f"being loaded: {of_it}", ""),
        "loaded": (f"{raw.bytes:,} bytes at {base} by {transfer}, every CRC right", ""),
        "no_ram": (
            "not loaded: too little RAM",
            f"the model has {raw.bytes:,} bytes, which do not fit into RAM from {base} on; {_RUN}",
        ),
        "disk_error": (
            f"not loaded: {of_it}",
            f"the disk could not be read after {raw.loaded:,} of {raw.bytes:,} bytes of the model; "
            "`log` says which sectors",
        ),
        "damaged": (
            "not used: it is damaged",
            f"the model of {raw.bytes:,} bytes is damaged; `log` says where, `bareflow model verify FILE` "
            "checks the file",
        ),
    }
    unknown = f"the model record has the state {raw.state}, which is none: was it overwritten?"
    return known.get(state, ("unknown", unknown))
