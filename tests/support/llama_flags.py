"""How is the language model's own code compiled for the host, so that it computes what the guest computes?"""

from __future__ import annotations

AS_THE_GUEST = (
    "-ffreestanding",
    "-fno-builtin",
    "-fno-math-errno",
    "-ffp-contract=off",
    "-nostdlib",
    "-static",
    "-fuse-ld=lld",
)
