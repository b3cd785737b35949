"""Which facts and tables does each record show, in which order and how are they meant?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bareflow_gdb.render.pool_map import pool_map
from bareflow_gdb.render.view import Cell, Table, View, address, facts, number, table, yes

if TYPE_CHECKING:
    from bareflow_gdb.guest.boot.boot import Boot
    from bareflow_gdb.guest.code.jit import Jit, JitFunction
    from bareflow_gdb.guest.code.profiler import Profile
    from bareflow_gdb.guest.code.swaps import Swap, Swaps
    from bareflow_gdb.guest.machine.exception import ExceptionRecord
    from bareflow_gdb.guest.machine.log import Log
    from bareflow_gdb.guest.modules.modules import Module, Modules
    from bareflow_gdb.guest.names.identify import Identity
    from bareflow_gdb.guest.pools.pools import Pool, Pools
    from bareflow_gdb.guest.status import Status


def status_view(record: Status) -> View:
    """One screen."""
    build = f"{record.variant}, debug interface {record.abi}, build {record.build_id[:12]}"
    head = facts(
        ("stage", Cell(record.stage + (" (held)" if record.held else ""), "good" if record.ok else "bad")),
        ("kernel", build if record.abi else _without_interface(record)),
        ("thresholds", " / ".join(f"{n:,}" for n in record.thresholds) if record.thresholds else None),
        ("swaps", f"{record.swap_count:,} published, {record.version_count:,} versions made"),
        ("pools", ", ".join(f"{p.kind} {_share(p.used, p.size)}" for p in record.pools) or None),
        ("rings", ", ".join(f"{r.index}: {r.events:,} events, {r.mode}" for r in record.rings) or None),
        ("mailbox", (", ".join(record.mail) or "nothing open") if record.abi else None),
        (
            "exception",
            Cell(f"{record.exception} at 0x{record.exception_eip:08x}", "bad")
            if record.exception
            else "none"
            if record.abi
            else None,
        ),
    )
    rows = [
        (
            f.name,
            f"O{f.level}",
            _version(f.version),
            _result(f.last_result, f.expected),
            f.expected,
        )
        for f in record.functions
    ]
    parts = (table("function|level|version|>last result|>expected", rows),) if rows else ()
    return View("Status", head, parts, record.problems, (f"next: {record.next_step}",))


def boot_view(record: Boot) -> View:
    """Stages, then what was loaded."""
    rows = [
        (
            str(stage.number),
            stage.name,
            _reached(record, stage.number, stage.reached),
            number(stage.ms, 3),
            stage.tsc or None,
            Cell(stage.meaning, "" if stage.reached else "dim"),
        )
        for stage in record.stages
    ]
    right = record.crc_expected == record.crc_computed
    head = facts(
        ("reached", Cell(record.stage, "good" if record.ok else "bad")),
        ("fatal", Cell(f"0x{record.fatal_code:02X} {record.fatal}", "bad") if record.fatal_code else "none"),
        ("disk", f"drive 0x{record.drive:02x} by {record.disk_method.upper()}"),
        (
            "sectors",
            f"{record.sectors_needed} needed, {record.sectors_asked} asked, {record.sectors_read} read",
        ),
        ("loaded at", address(record.load_address)),
        ("signature", f"0x{record.signature:08x}"),
        ("CRC", Cell(_crc(record), "good" if right else "bad")),
        ("A20", record.a20_method.replace("_", " ")),
        ("memory", f"{record.memory_kib:,} KiB above 1 MiB"),
        ("clock", f"{record.tsc_hz / 1e6:,.1f} MHz TSC" if record.tsc_hz else "not measured yet"),
    )
    return View("Boot", head, (table(">#|stage|reached|>ms|>~TSC|meaning", rows),), record.problems)


def modules_view(record: Modules) -> View:
    """One line per module."""
    rows = [
        (
            str(m.index),
            m.name,
            "-" if m.level is None else f"O{m.level}",
            m.source or "-",
            address(m.code),
            m.code_size,
            _header(m),
            m.digest,
            m.calls,
            m.total_cycles,
            m.min_cycles,
            number(m.mean_cycles),
            m.max_cycles,
        )
        for m in record.modules
    ]
    head = facts(
        ("modules", f"{record.count} of at most {record.capacity}"),
        ("calls", record.total_calls),
    )
    columns = ">~#|module|tier|~source|code|>bytes|header|~SHA-256|>calls|>~cycles|>~min|>mean|>~max"
    return View("Modules", head, (table(columns, rows),), tuple(record.all_problems()))


def pools_view(record: Pools) -> View:
    """Statistics, pictures, blocks."""
    rows = [
        (
            pool.kind,
            address(pool.base),
            pool.size,
            Cell(f"{pool.used:,}", "strong"),
            pool.free,
            pool.largest_free,
            f"{pool.fragmentation}%",
            pool.allocations,
            pool.frees,
            pool.peak,
        )
        for pool in record.pools
    ]
    columns = "pool|~base|>size|>used|>free|>~largest free|>~fragmented|>~allocs|>~frees|>~peak"
    parts: list[Table | str] = [table(columns, rows)]
    for pool in record.pools:
        parts += _pool_parts(pool)
    holds = (
        f"the block table holds {record.block_capacity:,}" if record.block_capacity is not None else "walked"
    )
    notes = [f"{record.block_count:,} blocks, {holds}"]
    return View("JIT pools", (), tuple(parts), tuple(record.all_problems()), tuple(notes))


def profile_view(record: Profile) -> View:
    """The hottest first."""
    rows = [
        (
            str(f.id),
            f.name,
            f.module or "-",
            f"O{f.level}",
            f.calls,
            f.total_cycles,
            f.min_cycles,
            number(f.mean_cycles),
            f.max_cycles,
            Cell("hot", "bad") if f.hot else "-",
            "asked for" if f.needs_recompile else "-",
            address(f.address),
        )
        for f in record.functions
    ]
    head = facts(
        ("functions", f"{record.count} of at most {record.capacity}"),
        ("calls", record.total_calls),
        ("thresholds", " / ".join(f"{n:,}" for n in record.thresholds) if record.thresholds else None),
        ("adaptive JIT", yes(record.jit_enabled, "on", "off")),
    )
    columns = ">~#|function|~module|tier|>calls|>cycles|>~min|>mean|>~max|hot|~recompile|~code"
    return View("Function profile", head, (table(columns, rows),), record.problems)


def jit_view(record: Jit) -> View:
    """Functions, then every version."""
    rows = [_jit_row(f) for f in record.functions]
    head = facts(
        ("adaptive JIT", yes(record.enabled, "on", "off")),
        ("functions", f"{record.count} of at most {record.capacity}"),
        ("thresholds", " / ".join(f"{n:,}" for n in record.thresholds)),
        ("swaps", f"{record.swap_count:,} published, {record.version_count:,} versions made"),
        *_unread(record.unread),
    )
    versions = [
        (
            f.name,
            f"v{v.number}",
            f"O{v.level}",
            Cell(v.state, "good" if v.state == "published" else ""),
            v.reason,
            v.provider,
            address(v.code),
            v.code_size,
            address(v.entry),
            f"equals v{v.same_as}" if v.same_as else "-",
        )
        for f in record.functions
        for v in f.versions
    ]
    columns = (
        ">~#|function|level|version|>calls|>~next at|~slot|current code|table|~control|~mailbox|>last result"
    )
    if record.functions and not versions:
        second = table("function|O0|O1|O2|O3", [_level_row(f) for f in record.functions], "Compiled code")
    else:
        names = "function|version|tier|state|reason|~provider|code|>bytes|~entry|~same code"
        second = table(names, versions, "Versions")
    return View("Adaptive JIT", head, (table(columns, rows), second), record.problems)


def swaps_view(record: Swaps) -> View:
    """One line per swap, in the order of time."""
    rows = [_swap_row(index, swap) for index, swap in enumerate(record.swaps, start=1)]
    head = facts(
        ("swaps", f"{record.swap_count:,} by the guest's own count, {record.forgotten:,} of them forgotten"),
        *_unread(record.unread),
    )
    columns = (
        ">~#|function|from|to|>at call|reason|version|~old code|~new code|>~bytes"
        "|>~threshold to publish us|>~publish to first us"
    )
    return View("Swaps", head, (table(columns, rows, empty="no swap yet"),))


def identity_view(record: Identity) -> View:
    """One address."""
    place = f"{record.name or record.region} + 0x{record.offset:x}" if record.offset else record.name
    head = facts(
        ("region", record.region),
        ("object", Cell(place or record.region, "strong")),
        ("begins at", address(record.start)),
        ("bytes", record.size or None),
        ("function", f"{record.function}" if record.function else None),
        ("version", f"v{record.version} O{record.level}" if record.version is not None else None),
    )
    shown = tuple((label, value) for label, value in head if value.text != "-")
    notes = (record.detail,) if record.detail else ()
    return View(f"0x{record.address:08x}", shown, (), (), notes)


def exception_view(record: ExceptionRecord) -> View:
    """The last exception."""
    if not record.count:
        return View("Exception", notes=("the guest took no exception",))
    r = record.registers
    head = facts(
        ("exception", Cell(f"{record.name} (vector {record.vector})", "bad")),
        ("taken", f"{record.count:,} in all"),
        ("error code", f"0x{record.error_code:08x}"),
        ("at", f"EIP 0x{r.eip:08x}  CS 0x{r.cs:04x}  EFLAGS 0x{r.eflags:08x}  CR2 0x{r.cr2:08x}"),
        ("registers", f"EAX 0x{r.eax:08x}  ECX 0x{r.ecx:08x}  EDX 0x{r.edx:08x}  EBX 0x{r.ebx:08x}"),
        ("", f"ESP 0x{r.esp:08x}  EBP 0x{r.ebp:08x}  ESI 0x{r.esi:08x}  EDI 0x{r.edi:08x}"),
        ("code at EIP", " ".join(record.code[i : i + 2] for i in range(0, len(record.code), 2))),
    )
    return View("Exception", head)


def log_view(record: Log) -> View:
    """The text itself; what was lost is said after it."""
    notes = (f"{record.lost:,} earlier bytes are not shown",) if record.lost else ()
    return View("", parts=(record.text,), notes=notes)


def _share(used: int, size: int) -> str:
    return f"{used:,} of {size:,} ({100 * used // size}%)" if size else f"{used:,}"


def _without_interface(record: Status) -> Cell:
    if record.variant:
        return Cell(f"{record.variant}, no debug interface")
    return Cell("no root descriptor found", "bad")


def _version(number: int | None) -> Cell:
    return Cell(f"v{number}") if number else Cell("-", "dim")


def _result(last: int | None, expected: int | None) -> Cell:
    if last is None:
        return Cell("-", "dim")
    return Cell(f"{last:,}", "good" if last == expected else "bad")


def _reached(record: Boot, stage: int, reached: bool) -> Cell:
    if reached:
        return Cell("yes", "good")
    return Cell("skipped", "dim") if stage < record.stage_number else Cell("no", "dim")


def _crc(record: Boot) -> str:
    if record.crc_expected == record.crc_computed:
        return f"0x{record.crc_computed:08x}, as the header says"
    return f"0x{record.crc_computed:08x} computed, 0x{record.crc_expected:08x} expected"


def _header(module: Module) -> Cell:
    if module.header is None:
        return Cell("not kept", "dim")
    if module.problems:
        return Cell("wrong", "bad")
    return Cell(f"right, v{module.header.version}", "good")


def _pool_parts(pool: Pool) -> list[Table | str]:
    rows = [
        (
            address(block.address),
            block.size,
            Cell(block.state, "dim" if block.state == "free" else ""),
            block.owner_name or "-",
        )
        for block in pool.blocks
    ]
    title = f"{pool.kind} pool"
    blocks = table("payload|>bytes|state|owner", rows, "", "no blocks recorded")
    picture = pool_map(pool)
    return ["", f"{title}\n{picture}" if picture else title, blocks]


def _unread(versions: int) -> tuple[tuple[str, str], ...]:
    if not versions:
        return ()
    return (("not read", f"{versions:,} versions, which cost a packet for 31: --all reads them"),)


def _jit_row(f: JitFunction) -> tuple[str | int | Cell | None, ...]:
    control = "-" if f.control in ("", "allow") else f"{f.control} {f.control_argument}"
    return (
        str(f.index),
        f.name,
        f"O{f.level}",
        _version(f.version),
        f.calls,
        f.next_threshold,
        address(f.slot),
        address(f.current_code),
        yes(f.agrees, "agrees", "differs") if f.agrees is not None else "not read",
        control,
        f.mail_state or "-",
        _result(f.last_result, f.expected),
    )


def _level_row(f: JitFunction) -> tuple[str | Cell, ...]:
    return (f.name, *(address(code) for code in f.level_codes))


def _swap_row(index: int, swap: Swap) -> tuple[str | int | Cell | None, ...]:
    before = "-" if swap.from_level is None else f"O{swap.from_level}"
    same = Cell(f"O{swap.to_level} same code", "bad") if swap.same_code else f"O{swap.to_level}"
    return (
        str(index),
        swap.function,
        before,
        same,
        swap.call,
        swap.reason,
        _version(swap.to_version),
        address(swap.old_code),
        address(swap.new_code),
        swap.code_size,
        number(swap.threshold_to_publish_us),
        number(swap.publish_to_first_us),
    )
