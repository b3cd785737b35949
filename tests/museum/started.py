"""Which defects are on a disk: in the loader, the kernel, the modules? Each is started by `bareflow diagnose`."""

from __future__ import annotations

import re
import struct
import subprocess

from bareflow_gdb.abi import layouts
from bareflow_gdb.build.fat_image import parse_file, write_image
from bareflow_gdb.guest.code.bitcode import PAYLOAD_MAGIC
from bareflow_gdb.model.packed_file import SMALL
from bareflow_gdb.qemu.image import SECTOR
from museum.exhibit import OURS, STOCK, Wing
from museum.images import KERNEL, Hall, of_another_llvm

WING: Wing[Hall] = Wing()
OUR_ELF, STOCK_ELF = "kernel.elf", "stock/stock.elf"
A20_OFF = (bytes.fromhex("b80024cd15c3"), bytes.fromhex("e49224fde692c3"))
"""mov ax, 2400h; int 15h; ret. in al, 92h; and al, FDh; out 92h, al; ret."""
ENABLE = re.compile(rb"\x80\x3e..\0\x74.\xb8\0\x24", re.DOTALL)
"""How a20_enable begins: cmp byte [a20_test], 0; je; mov ax, 2400h."""
CALLS_ITSELF = bytes.fromhex("e8fbffffff")


def prepared(name: str, *, with_disk: bool = False):  # type: ignore[no-untyped-def]
    """The image, then the change."""

    def kept(make):  # type: ignore[no-untyped-def]
        def both(hall: Hall, place: int) -> None:
            hall.take(name, with_disk=with_disk)
            make(hall, place)

        return both

    return kept


def built(row: str, defect: str, variant: str, says: str, *names: str, with_disk: bool = True) -> None:
    """What is built so needs no change: one image for each place."""

    def make(hall: Hall, place: int) -> None:
        hall.take(names[place % len(names)], with_disk=with_disk and variant == OURS)

    WING.add(row, defect, variant, says)(make)


# Stock kernels as they are in the field.
built(
    "1", "the loader reads too few sectors", STOCK, "the load is cut off", "stock/field_cut.img", "stock/field_page.img"
)
built(
    "2",
    "linked at 0x1000, loaded at 0x10000",
    STOCK,
    "is linked at 0x1000, but loaded at 0x10000",
    "stock/field_moved.img",
)
built("4", "no IDT at all", STOCK, "no IDT is loaded", "stock/field_bare.img", "stock/field_demo1.img")
built("9", "a stub runs instead of a module", STOCK, "is a stub", "stock/field_modules.img", "stock/field_low.img")
built(
    "14",
    "JIT code clobbers EBX",
    STOCK,
    "overwrites EBX, which belongs",
    "stock/field_microjit.img",
    "stock/field_turned.img",
)
built(
    "15", "O1 is the same code as O0", STOCK, "are the same code", "stock/field_microjit.img", "stock/field_turned.img"
)
built("", "the stack lies in .bss", STOCK, "lies over its stack", "stock/field_wide.img", "stock/field_over.img")


# The loader.


@WING.add(
    "1", "the loader reads too few sectors", OURS, r"could not read the disk|end of the kernel is missing|cut off"
)
@prepared("fluid.img")
def _cut(hall: Hall, place: int) -> None:
    disk = hall.image.read_bytes()
    if place:
        hall.image.write_bytes(disk[: KERNEL + 80 * SECTOR])
    else:
        # As if the image had 128 sectors: its CRC is right for so many.
        hall.patch(KERNEL + layouts.offset("bf_image_header", "image_bytes"), struct.pack("<I", 128 * SECTOR))


def a20_off(hall: Hall, place: int) -> None:
    """What should turn it on turns it off: through the BIOS, or by port 0x92."""
    enable = ENABLE.search(hall.image.read_bytes(), SECTOR)
    assert enable is not None
    hall.patch(enable.start(), A20_OFF[place])


for _name, _variant in (("fluid.img", OURS), ("stock/stock.img", STOCK)):
    WING.add("", "A20 is off", _variant, r"address line A20 is off|no method turned the A20 line on")(
        prepared(_name)(a20_off)
    )


@WING.add("", "there is no kernel on the disk", STOCK, r"FATAL ERROR: 0x(E0|51)")
@prepared("stock/stock.img")
def _no_kernel(hall: Hall, place: int) -> None:
    hall.patch(KERNEL, (bytes(512), b"FLUX")[place])


@WING.add("", "there is no kernel on the disk", OURS, r"FATAL ERROR: 0x(E0|51)")
@prepared("fluid.img")
def _none_of_ours(hall: Hall, place: int) -> None:
    disk = bytearray(hall.image.read_bytes())
    disk[KERNEL : KERNEL + 4] = (bytes(4), b"FLUX")[place]
    hall.image.write_bytes(disk)


@WING.add("", "the image is damaged", OURS, r"FATAL ERROR: 0xD2")
@prepared("fluid.img")
def _damaged(hall: Hall, place: int) -> None:
    disk = bytearray(hall.image.read_bytes())
    disk[KERNEL + (5000, 40000)[place]] ^= 0x40
    hall.image.write_bytes(disk)


# The kernel.


@WING.add("3", "compiled for the host CPU", STOCK, r"#UD|vector 6")
@prepared("stock/field_bare.img")
def _sse(hall: Hall, place: int) -> None:
    # movaps xmm0, xmm1, or AVX's vaddps, where a function begins.
    hall.code(
        "stock/field_bare.elf",
        ("serial_init", "terminal_initialize")[place],
        (b"\x0f\x28\xc1", b"\xc5\xf4\x58\xc2")[place],
    )


@WING.add("4", "no IDT at all", OURS, r"no IDT is loaded|IDTR still has")
@prepared("fluid.img", with_disk=True)
def _no_idt(hall: Hall, place: int) -> None:
    disk = hall.image.read_bytes()
    start = disk.index(b"\x0f\x01", KERNEL)
    while disk[start + 2] & 0x38 != 0x18:
        start = disk.index(b"\x0f\x01", start + 1)
    mode = disk[start + 2]
    size = 7 if mode & 0xC7 == 5 else 4 if mode & 0xC0 == 0x40 else 3
    size += mode & 7 == 4
    # Nothing loads it; or what loads it stores it instead (sidt).
    hall.patch(start, b"\x90" * size if not place else bytes([0x0F, 0x01, mode & ~0x38 | 0x08]))


def _recursion(elf: str, names: tuple[str, str]):  # type: ignore[no-untyped-def]
    def make(hall: Hall, place: int) -> None:
        hall.code(elf, names[place], CALLS_ITSELF)

    return make


WING.add("", "a function calls itself without end", OURS, r"calls itself without end")(
    prepared("fluid.img", with_disk=True)(_recursion(OUR_ELF, ("module_execute", "event")))
)
WING.add("", "a function calls itself without end", STOCK, r"calls itself without end")(
    prepared("stock/stock.img")(_recursion(STOCK_ELF, ("module_find", "module_print_stats")))
)


@WING.add("20", "the exception handler gets no vector number", STOCK, r"contradicts the code")
@prepared("stock/stock.img")
def _no_vector(hall: Hall, place: int) -> None:
    hall.code(STOCK_ELF, ("module_find", "module_print_stats")[place], b"\x0f\x0b")
    disk = hall.image.read_bytes()
    # Stub 6: push 0; push 6. The number that it pushes is another one.
    stub = disk.index(b"\x6a\x00\x6a\x06", KERNEL)
    hall.patch(stub + 3, bytes([(13, 0)[place]]))


@WING.add("", "an interrupt storm", OURS, r"interrupt storm")
@prepared("fluid.img", with_disk=True)
def _storm(hall: Hall, place: int) -> None:
    disk = hall.image.read_bytes()
    # timer_init: mov al, 4773 & 0xFF … mov al, 4773 >> 8.
    at = disk.index(b"\xb0\xa5", KERNEL)
    hall.patch(at + 1, bytes([(8, 20)[place]]))
    high = hall.image.read_bytes().index(b"\xb0\x12", at)
    hall.patch(high + 1, b"\x00")


# The second disk.


@WING.add("9", "a module file without a header", OURS, r"refused a module of the disk|a module of the disk")
@prepared("fluid.img", with_disk=True)
def _no_header(hall: Hall, place: int) -> None:
    name = ("PRIMES.MOD", "COMPUTE.MOD")[place]
    hall.put_file(name, hall.file(name)[0x30:])


@WING.add("17", "the bitcode's header has another size", OURS, r"header is an old, shorter one|refused bitcode")
@prepared("fluid.img", with_disk=True)
def _short_header(hall: Hall, place: int) -> None:
    name, less = (("SUM.BC", 4), ("PRIMES.BC", 8))[place]
    data = hall.file(name)
    hall.put_file(name, data[: 128 - less] + data[128:])


@WING.add("", "bitcode of another target", OURS, r"is for another machine")
@prepared("fluid.img", with_disk=True)
def _target(hall: Hall, place: int) -> None:
    name, triple = (("SUM.BC", "x86_64-linux-gnu"), ("COMPUTE.BC", "aarch64-none-elf"))[place]
    source, out = hall.folder / "source.c", hall.folder / "made.bc"
    source.write_text("int f(int a) { return a + 1; }\n")
    words = ["clang-19", f"--target={triple}", "-ffreestanding", "-O1", "-emit-llvm", "-c", str(source), "-o", str(out)]
    subprocess.run(words, check=True)
    header = bytearray(hall.file(name)[:128])
    struct.pack_into("<I", header, layouts.offset("bitcode_header", "bitcode_size"), out.stat().st_size)
    hall.put_file(name, bytes(header) + out.read_bytes())
    source.unlink()
    out.unlink()


LATER = (("23", 1), ("31", 0))
"""Version and epoch."""


@WING.add("", "bitcode of a newer LLVM", OURS, r"the bitcode of \w+ is of (another LLVM|a newer LLVM)")
@prepared("fluid.img", with_disk=True)
def _newer(hall: Hall, place: int) -> None:
    name = ("SUM.BC", "PRIMES.BC")[place]
    data = hall.file(name)
    hall.put_file(name, data[:128] + of_another_llvm(data[128:], *LATER[place]))


@WING.add("", "bitcode of a newer LLVM", STOCK, r"the bitcode of \w+ is of (another LLVM|a newer LLVM)")
@prepared("stock/stock.img")
def _newer_in_image(hall: Hall, place: int) -> None:
    disk = hall.image.read_bytes()
    at = disk.index(PAYLOAD_MAGIC, KERNEL)
    hall.patch(at, of_another_llvm(disk[at : at + 4096], *LATER[place]))


@WING.add("", "a chain of the FAT is a circle", OURS, r"chain of clusters runs in a circle")
@prepared("fluid.img", with_disk=True)
def _circle(hall: Hall, place: int) -> None:
    hall.circle(("FFT_1D.BC", "SHA256.BC")[place])


@WING.add("", "a chain of the FAT is a circle", STOCK, r"chain of clusters runs in a circle")
@prepared("stock/stock.img")
def _circle_of_stock(hall: Hall, place: int) -> None:
    hall.take_disk(hall.firmware / "stock" / "stock_disk.img")
    hall.circle("MATRIX_M.MOD", first=bool(place))


@WING.add("", "tier files are exchanged", OURS, r"refused (a tier|2 tiers|4 tiers)|refused \d tiers")
@prepared("fluid.img", with_disk=True)
def _exchanged(hall: Hall, place: int) -> None:
    one, other = (("FFT_1D.O1", "FFT_1D.O3"), ("PRIMES.O2", "COMPUTE.O2"))[place]
    first, second = hall.file(one), hall.file(other)
    hall.put_file(one, second)
    hall.put_file(other, first)


# What has to be compiled: firmware/museum/defects.toml.


def compiled(row: str, defect: str, variant: str, says: str, name: str, *, disk: str = "") -> None:
    """The images that `make -C firmware museum` leaves of it."""

    def make(hall: Hall, place: int) -> None:
        hall.take(f"{name}.{place}.img", with_disk=variant == OURS)
        if disk:
            hall.take_disk(hall.firmware / disk)

    WING.add(row, defect, variant, says)(make)


LATE, TOLD, FEW = (
    "COM1 is used before it is set up",
    "the system information names a wrong address",
    "the statistics count too few calls",
)
compiled("19", LATE, OURS, "prints on COM1 before COM1 is set up", "serial_before_set_up")
compiled("19", LATE, STOCK, "prints on COM1 before COM1 is set up", "stock_serial_before_set_up")
compiled("21", TOLD, OURS, "the kernel says that it is at 0x", "wrong_load_address")
compiled("21", TOLD, STOCK, "the kernel says that it is at 0x", "stock_wrong_load_address")
compiled("22", FEW, OURS, "the statistics count", "too_few_calls")
compiled("22", FEW, STOCK, "the statistics count", "stock_statistics")
compiled("", "blocks leak", OURS, r"blocks of the \w+ pool leaked", "leaked_blocks")
compiled("", "blocks leak", STOCK, r"blocks of the \w+ pool leaked", "stock_leaked_blocks")
compiled("", "a block is freed by who does not own it", OURS, "to free a block twice", "freed_twice")
compiled("12", "the fourth function has no code buffer", OURS, "CODE pool allocation failed", "code_pool_too_small")
compiled("11", "pools reach into each other", OURS, "reaches into the|no CRC|has magic", "pool_over_its_neighbour")
compiled("11", "a pool is larger than the heap", STOCK, "has no memory", "stock_pool_larger_than_heap")
compiled("10", "the FAT16 driver reads the master", OURS, "reads another drive", "master_drive")
compiled(
    "10",
    "the FAT16 driver reads the master",
    STOCK,
    "reads another drive",
    "stock_master_drive",
    disk="stock/stock_disk.img",
)
# The kernel switches SSE on where the CPU has it: then its handlers are what is wrong.
compiled(
    "3",
    "compiled for the host CPU",
    OURS,
    "compiled with (SSE|AVX)|an interrupt handler changes x87 and vector state",
    "compiled_for_the_host",
)
compiled("", "the baud divisor is wrong", OURS, "COM1 runs at", "baud")
compiled("", "the baud divisor is wrong", STOCK, "COM1 runs at", "stock_baud")
compiled("", "an interrupt storm", STOCK, "interrupt storm", "stock_interrupt_storm")
compiled("17", "the bitcode's header has another size", STOCK, "headers of different sizes", "stock_bitcode_header")


@WING.add("", "weights are damaged in memory", OURS, r"the tensor blk\.\S+ of the language model is damaged")
def _weights(hall: Hall, place: int) -> None:
    hall.take(f"weights.{place}.img")
    hall.disk = hall.folder / "model.img"
    write_image([parse_file(str(SMALL))], hall.disk)


@WING.add("6", ".bss of a module is not in its image", STOCK, r"uses memory at 0x\w+, which is not its own")
@prepared("stock/stock.img")
def _no_bss(hall: Hall, place: int) -> None:
    hall.take_disk(hall.museum / f"stock_bss_left_out.{place}.img")
