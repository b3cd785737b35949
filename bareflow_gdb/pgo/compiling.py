"""How does a module's bitcode become its image at a level, with counters in it, or by what they counted?

The compiler and its flags are those of firmware/modules/modules.mk, so that the same level gives the same code.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

from bareflow_gdb.build.module import link_module, require_same_data
from bareflow_gdb.errors import BareflowError, UsageError
from bareflow_gdb.pgo.counts import FunctionCounts, profdata
from bareflow_gdb.pgo.firmware import Firmware
from bareflow_gdb.pgo.plan import Choice
from bareflow_gdb.recompile.source import find_clang, run_clang

CPU = "i686"
TARGET = (f"--target={CPU}-unknown-none-elf", f"-march={CPU}", "-mno-sse", "-mno-mmx", "-fno-pic")
FLAGS = (*TARGET, "-fno-omit-frame-pointer")
# clang's own limits are for code that is used by others too, and for no loop whose count it does not know.
UNROLL = ("-mllvm", "-unroll-runtime", "-mllvm", "-unroll-allow-partial", "-mllvm", "-unroll-threshold=1000")
# Blocks that were seldom executed would come before the frame; and what a profile says is cold is no warning here.
BY_COUNTS = ("-mllvm", "-enable-shrink-wrap=0", "-Wno-profile-instr-unprofiled", "-Wno-profile-instr-out-of-date")


@dataclass
class Compiler:
    """Compiles the modules of one firmware, each choice once."""

    firmware: Firmware
    _made: dict[tuple[str, int, tuple[FunctionCounts, ...], bool], bytes] = field(default_factory=dict)

    @cached_property
    def version(self) -> str:
        """Of the compiler, in its own words."""
        clang = find_clang(self.firmware.folder)
        try:
            told = subprocess.run([clang, "--version"], capture_output=True, timeout=60, check=True).stdout
        except (OSError, subprocess.SubprocessError) as error:
            raise BareflowError(f"{clang} does not say its version ({error}); install it again") from error
        return told.decode("utf-8", "replace").partition("\n")[0]

    def image(self, choice: Choice) -> bytes:
        """The image of a module as the plan has it. Raises UsageError, DoesNotCompile, LinkError."""
        self.check(choice)
        key = (choice.name, choice.level, choice.counters, choice.unroll)
        if key not in self._made:
            self._made[key] = self._compiled(choice)
        return self._made[key]

    def check(self, choice: Choice) -> None:
        """Raises UsageError when the plan was made for another module of that name, or for none of these."""
        if choice.bitcode and choice.bitcode != self.firmware.digest(choice.name):
            raise UsageError(
                f"module {choice.name} was changed since it was measured; take a new profile (`bareflow pgo profile`)"
            )

    def _compiled(self, choice: Choice) -> bytes:
        source = self.firmware.bitcode(choice.name)
        flags = [*FLAGS, f"-O{choice.level}", "-c", *(UNROLL if choice.unroll else ())]
        with TemporaryDirectory(prefix="bfp-") as folder:
            if choice.counters:
                counted = Path(folder) / "counts.profdata"
                counted.write_bytes(profdata(choice.counters))
                flags += [f"-fprofile-use={counted}", *BY_COUNTS]
            data, _ = run_clang(source, flags)
        image = link_module(data, choice.name, f"{choice.name}_main")
        require_same_data(image, self.firmware.image_of(choice.name), f"{choice.name}.O0.mod")
        return image
