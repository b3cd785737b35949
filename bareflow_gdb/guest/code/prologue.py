"""How does each function begin and end, so that frame walks find its caller?"""

from __future__ import annotations

PUSH_EBP = b"\x55"
FRAME_SET_UP = PUSH_EBP + b"\x89\xe5"
"""push ebp; mov ebp, esp: every tier begins so, or the host's linker refuses it."""
RET = b"\xc3"
