"""Which facts and tables do the records about the machine show: CPU, interrupts, stack, disk, serial port?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bareflow_gdb.render.hexdump import hexdump
from bareflow_gdb.render.view import Cell, Table, View, address, facts, table, yes

if TYPE_CHECKING:
    from bareflow_gdb.guest.machine.cpu import Cpu
    from bareflow_gdb.guest.machine.disk import Disk
    from bareflow_gdb.guest.machine.fat16 import FatContent
    from bareflow_gdb.guest.machine.irq import Irq, Line
    from bareflow_gdb.guest.machine.serial import Serial
    from bareflow_gdb.guest.machine.stack import Stack


def cpu_view(record: Cpu) -> View:
    """Mode and registers, segments, GDT, IDT."""
    parts: list[Table | str] = []
    if record.segments:
        segments = [
            (s.name.upper(), f"0x{s.selector:04x}", _hex(s.base), _hex(s.limit)) for s in record.segments
        ]
        parts.append(table("register|selector|base|limit", segments, "Segments"))
    if record.gdt:
        rows = [
            (f"0x{d.selector:04x}", d.kind, _hex(d.base), _hex(d.limit), str(d.ring), yes(d.present))
            for d in record.gdt
        ]
        title = f"GDT at 0x{record.gdt_base:08x}, {record.gdt_bytes} bytes"
        parts.append(table("selector|kind|base|limit|>ring|present", rows, title))
    if record.gates:
        gates = [
            (
                f"0x{g.vector:02x}",
                g.meaning,
                g.kind,
                f"0x{g.selector:04x}",
                address(g.handler),
                Cell(g.problem, "bad") if g.problem else g.name,
            )
            for g in record.gates
        ]
        title = (
            f"IDT at 0x{record.idt_base:08x} (by {record.idt_found_by}), {record.gates_absent} gates absent"
        )
        parts.append(table("vector|meaning|~kind|~selector|handler|name", gates, title))
    return View("CPU", _cpu_facts(record), tuple(parts), record.problems, record.notes)


def _cpu_facts(record: Cpu) -> tuple[tuple[str, Cell], ...]:
    exception = (
        Cell(record.exception, "bad") if record.exception else "none" if record.exception == "" else None
    )
    r = record.registers
    if r is None:
        return facts(("mode", record.mode), ("exception", exception))
    where = f" ({record.place.text})" if record.place is not None else ""
    return facts(
        ("mode", Cell(record.mode, "strong")),
        ("at", f"EIP 0x{r.eip:08x}{where}"),
        ("registers", f"EAX 0x{r.eax:08x}  ECX 0x{r.ecx:08x}  EDX 0x{r.edx:08x}  EBX 0x{r.ebx:08x}"),
        ("", f"ESP 0x{r.esp:08x}  EBP 0x{r.ebp:08x}  ESI 0x{r.esi:08x}  EDI 0x{r.edi:08x}"),
        ("EFLAGS", f"0x{r.eflags:08x}  {' '.join(record.eflags)}"),
        ("CR0", f"0x{r.cr0:08x}  {' '.join(record.cr0)}"),
        ("CR2, CR3", f"0x{r.cr2:08x}, 0x{r.cr3:08x}"),
        ("CR4", f"0x{r.cr4:08x}  {' '.join(record.cr4)}"),
        ("exception", exception),
    )


def irq_view(record: Irq) -> View:
    """The lines of both PICs."""
    on = record.interrupts_on
    head = facts(
        ("interrupts", "not known" if on is None else yes(on, "on (EFLAGS.IF)", "off (EFLAGS.IF)")),
        ("timer ticks", record.ticks),
        ("PICs", "8259 pair" if record.pics_known else Cell("masks not known", "dim")),
    )
    rows = [
        (
            str(line.line),
            line.device,
            f"0x{line.vector:02x}",
            address(line.handler),
            line.name or "-",
            _mask(line),
            _flag(line.requested),
            _flag(line.in_service),
        )
        for line in record.lines
    ]
    columns = ">line|device|vector|handler|name|mask|requested|in service"
    return View("Interrupts", head, (table(columns, rows),), record.problems, record.notes)


def stack_view(record: Stack) -> View:
    """Frames, the innermost first."""
    rows = [(str(f.number), address(f.ebp), address(f.code), f.place.text) for f in record.frames]
    size = record.top - record.bottom
    sure = "" if record.deepest_sure else " at least"
    head = facts(
        ("from", record.source),
        ("ESP, EBP", f"0x{record.esp:08x}, 0x{record.ebp:08x}"),
        ("used", f"{record.used:,} of {size:,} bytes below 0x{record.top:08x}"),
        ("deepest ever", f"{record.deepest_used:,} bytes{sure}, down to 0x{record.deepest:08x}"),
    )
    notes = (f"end of the chain: {record.end}",)
    return View("Stack", head, (table(">#|EBP|code|place", rows, empty="no frames"),), record.problems, notes)


def disk_view(record: Disk) -> View:
    """The volume, then its files."""
    volume, mounted = record.volume, record.mounted
    head = facts(
        ("image", volume.image if volume else None),
        ("volume", f"{volume.label} {volume.volume_id}" if volume else None),
        (
            "clusters",
            f"{volume.clusters:,} of {volume.cluster_bytes:,} bytes, {volume.clusters_free:,} free"
            if volume
            else None,
        ),
        (
            "guest",
            f"mounted {mounted.label!r}: {mounted.total:,} sectors, data from sector {mounted.data_start}"
            if mounted
            else None,
        ),
    )
    shown = tuple((label, value) for label, value in head if value.text != "-")
    parts: tuple[Table | str, ...] = ()
    if volume is not None:
        rows = [
            (
                f.name,
                "directory" if f.directory else f.size,
                f.clusters,
                f.first_cluster or None,
                f.date or None,
                Cell("damaged", "bad") if f.problem else "",
            )
            for f in volume.files
        ]
        parts = (table("file|>bytes|>clusters|>~first|~changed|", rows, empty="no files"),)
    return View("FAT16 disk", shown, parts, record.problems, record.notes)


def fat_content_view(record: FatContent) -> View:
    """A file: its text, else its bytes."""
    if record.text or not record.size:
        return View("", parts=(record.text.rstrip("\n"),))
    notes = (f"{record.name}: {record.size:,} bytes, SHA-256 {record.sha256}",)
    return View("", parts=(hexdump(bytes.fromhex(record.data)),), notes=notes)


def serial_view(record: Serial) -> View:
    """The text itself; what is left out is said after it."""
    notes = []
    if record.source != "file":
        notes.append("from the kernel's own log buffer: this target has no serial log")
    if record.lost:
        notes.append(f"{record.lost:,} earlier bytes are not shown")
    return View("", parts=(record.text,), notes=tuple(notes))


def _hex(value: int) -> str:
    return f"0x{value:08x}"


def _mask(line: Line) -> Cell:
    if line.masked is None:
        return Cell("-", "dim")
    return Cell("masked", "dim") if line.masked else Cell("open", "good")


def _flag(value: bool | None) -> Cell:
    return Cell("-", "dim") if not value else Cell("yes", "strong")
