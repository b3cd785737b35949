"""Do the libraries work here? Each does a small job: one that imports may still be another version, or broken."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

from bareflow_gdb import libraries
from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.code.code_diff import disassemble
from bareflow_gdb.guest.doctor import FAILS, LIMITED, WORKS, Check


@dataclass(frozen=True)
class Library:
    """One library; `job` is true when it has done it."""

    name: str
    purpose: str
    job: Callable[[], bool]
    needed: bool = True
    """Does anything fail without it?"""
    inside_gdb: bool = False


def check_libraries(*, inside_gdb: bool) -> list[Check]:
    """What each of them can do: of those that gdb imports, or of those that the program does."""
    return [_check(library) for library in LIBRARIES if library.inside_gdb or not inside_gdb]


def _check(library: Library) -> Check:
    bad = FAILS if library.needed else LIMITED
    try:
        module = libraries.load(library.name)
        done = library.job()
    except BareflowError as error:
        reason, _, advice = str(error).rpartition("; ")
        return Check(library.name, bad, f"{library.purpose} cannot work: {reason}", advice)
    except Exception as error:  # noqa: BLE001 - a broken library raises what it likes
        return Check(library.name, bad, f"{library.purpose} cannot work: {type(error).__name__}: {error}", _ADVICE)
    found = f"{libraries.version(module)} in {libraries.place(module)}"
    if not done:
        return Check(library.name, bad, f"{library.purpose} cannot work: {found} does it wrong", _ADVICE)
    return Check(library.name, WORKS, f"for {library.purpose}: {found}")


_ADVICE = libraries.ADVICE


def _parse() -> bool:
    return layouts.size("bf_image_header") > 0


def _disassemble() -> bool:
    return [item.text for item in disassemble(b"\x55\x89\xe5", 0)] == ["push ebp", "mov ebp, esp"]


def _read_elf() -> bool:
    from elftools.elf.elffile import ELFFile

    header = b"\x7fELF\1\1\1".ljust(16, b"\0") + b"\1\0\3\0\1\0\0\0" + bytes(16) + b"\x34\0" + bytes(10)
    return bool(ELFFile(io.BytesIO(header))["e_machine"] == "EM_386")


def _draw() -> bool:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    out, grid = io.StringIO(), Table(box=None)
    grid.add_row(Text("green", style="green"))
    Console(file=out, force_terminal=True, legacy_windows=False).print(grid)
    return "green" in out.getvalue() and "\x1b[" in out.getvalue()


def _talk() -> bool:
    from qemu.qmp import QMPClient

    return bool(QMPClient("doctor").runstate.name == "IDLE")


def _count() -> bool:
    import numpy

    return int(numpy.frombuffer(b"\1\0\0\0\2\0\0\0", "<u4").sum()) == 3


def _store() -> bool:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pa.BufferOutputStream()
    pq.write_table(pa.table({"a": [1, 2]}), file)
    return bool(pq.read_table(pa.BufferReader(file.getvalue()))["a"].to_pylist() == [1, 2])


def _query() -> bool:
    import duckdb

    with duckdb.connect() as connection:
        return bool(connection.execute("select 1 + 2").fetchone() == (3,))


def _emulate() -> bool:
    from unicorn import UC_ARCH_X86, UC_MODE_32, Uc
    from unicorn.x86_const import UC_X86_REG_EAX

    engine = Uc(UC_ARCH_X86, UC_MODE_32)
    engine.mem_map(0, 4096)
    engine.mem_write(0, b"\x40")  # inc eax
    engine.emu_start(0, 1)
    return bool(engine.reg_read(UC_X86_REG_EAX) == 1)


def _complete() -> bool:
    from argcomplete.shell_integration import shellcode

    return "bareflow" in shellcode(["bareflow"])


LIBRARIES = (
    Library("dissect.cstruct", "every decoder", _parse, inside_gdb=True),
    Library("capstone", "disassembly", _disassemble, inside_gdb=True),
    Library("elftools", "names from ELF files, cores", _read_elf, inside_gdb=True),
    Library("rich", "colours and tables on a terminal", _draw, needed=False, inside_gdb=True),
    Library("qemu.qmp", "starting and ending machines", _talk),
    Library("numpy", "event rings", _count),
    Library("pyarrow", "traces", _store),
    Library("duckdb", "questions to traces", _query),
    Library("unicorn", "verifying new code", _emulate, needed=False),
    Library("argcomplete", "completion in a shell", _complete, needed=False),
)
