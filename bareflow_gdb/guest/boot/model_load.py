"""What became of the language model on the guest's second disk? The end of the boot record says it, since 1.4."""

from __future__ import annotations

from typing import Any

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.base.values import word

_RUN = "`bareflow run` gives a machine enough for the model on its disk, --memory as much as you like"


def model_words(raw: Any) -> tuple[str, str]:
    """How it stands with the model, "" = this kernel does not tell, or has no disk; and what is wrong, "" = nothing."""
    if raw.size < layouts.size("bf_boot_record"):
        return "", ""
    base = f"0x{layouts.const('BF_WEIGHTS_BASE'):08x}"
    transfer = word("bf_transfer", raw.model_transfer).upper()
    of_it = f"{raw.model_loaded:,} of {raw.model_bytes:,} bytes at {base} by {transfer}"
    state = word("bf_model_state", raw.model_state)
    known = {
        "none": ("", ""),
        "no_file": ("none: the second disk has no file NAME.BFM", ""),
        "loading": (f"being loaded: {of_it}", ""),
        "loaded": (f"{raw.model_bytes:,} bytes at {base} by {transfer}, every CRC right", ""),
        "no_ram": (
            "not loaded: too little RAM",
            f"the model has {raw.model_bytes:,} bytes, which do not fit into RAM from {base} on; {_RUN}",
        ),
        "disk_error": (
            f"not loaded: {of_it}",
            f"the disk could not be read after {raw.model_loaded:,} of {raw.model_bytes:,} bytes of the model; "
            "`log` says which sectors",
        ),
        "damaged": (
            "not used: it is damaged",
            f"the model of {raw.model_bytes:,} bytes is damaged; `log` says where, `bareflow model verify FILE` "
            "checks the file",
        ),
    }
    unknown = f"the boot record has model state {raw.model_state}, which is none: was it overwritten?"
    return known.get(state, ("unknown", unknown))
