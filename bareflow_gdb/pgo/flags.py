"""With which flags is everything compiled that runs in the guest, as its own modules are?"""

from __future__ import annotations

CPU = "i686"
TARGET = (f"--target={CPU}-unknown-none-elf", f"-march={CPU}", "-mno-sse", "-mno-mmx", "-fno-pic")
FLAGS = (*TARGET, "-fno-omit-frame-pointer")
# clang's own limits are for code that is used by others too, and for no loop whose count it does not know.
UNROLL = ("-mllvm", "-unroll-runtime", "-mllvm", "-unroll-allow-partial", "-mllvm", "-unroll-threshold=1000")
# Blocks that were seldom executed would come before the frame; and what a profile says is cold is no warning here.
BY_COUNTS = ("-mllvm", "-enable-shrink-wrap=0", "-Wno-profile-instr-unprofiled", "-Wno-profile-instr-out-of-date")
