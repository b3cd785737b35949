"""How does a module's bitcode become its image at a level, with counters in it, or by what they counted?

The compiler and its flags are those of firmware/modules/modules.mk, so that the same level gives the same code.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

from bareflow_gdb.build.module import link_module, require_same_data
from bareflow_gdb.errors import BareflowError, UsageError
from bareflow_gdb.pgo.arguments import Constants
from bareflow_gdb.pgo.counts import FunctionCounts, profdata
from bareflow_gdb.pgo.entries import guarded
from bareflow_gdb.pgo.firmware import Firmware
from bareflow_gdb.pgo.flags import BY_COUNTS, FLAGS, UNROLL
from bareflow_gdb.pgo.plan import Choice
from bareflow_gdb.recompile.source import find_clang, run_clang
from bareflow_gdb.recompile.wrapped import Wrapped

_Key = tuple[str, int, tuple[FunctionCounts, ...], Constants | None, bool]


@dataclass
class Compiler:
    """Compiles the modules of one firmware, each choice once."""

    firmware: Firmware
    _made: dict[_Key, bytes] = field(default_factory=dict)

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
        key = (choice.name, choice.level, choice.counters, choice.constants, choice.unroll)
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
        source, entry = self.firmware.bitcode(choice.name), f"{choice.name}_main"
        flags = [*FLAGS, f"-O{choice.level}", "-c", *(UNROLL if choice.unroll else ())]
        with TemporaryDirectory(prefix="bfp-") as folder:
            if choice.constants is not None:
                # Counted was the function without a guard, so its bitcode takes the counts first.
                plain = with_counts(source, choice.level, choice.counters) if choice.counters else source.read_bytes()
                source = Path(folder) / f"{choice.name}.bc"
                source.write_bytes(guarded(Wrapped(entry, plain), choice.constants))
                flags += BY_COUNTS
            elif choice.counters:
                flags += _use(choice.counters, Path(folder))
            data, _ = run_clang(source, flags)
        image = link_module(data, choice.name, entry)
        require_same_data(image, self.firmware.image_of(choice.name), f"{choice.name}.O0.mod")
        return image


def with_counts(bitcode: Path, level: int, counters: Sequence[FunctionCounts]) -> bytes:
    """The bitcode, optimised, in which stands how often its blocks ran. Raises DoesNotCompile, BareflowError."""
    with TemporaryDirectory(prefix="bfp-") as folder:
        return run_clang(bitcode, [*FLAGS, f"-O{level}", *_use(counters, Path(folder)), "-emit-llvm", "-c"])[0]


def _use(counters: Sequence[FunctionCounts], folder: Path) -> list[str]:
    counted = folder / "counts.profdata"
    counted.write_bytes(profdata(counters))
    return [f"-fprofile-use={counted}", *BY_COUNTS]
