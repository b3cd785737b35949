"""Which file of another kind is this, and what makes one of it that can be read here?"""

from __future__ import annotations

from pathlib import Path
from shlex import quote

_DUMP_ANEW = "if the guest still runs, dump it anew with `dump-guest-memory` and no format (not -z, -l, -s, -w)"
_DISK = "is a disk, not memory; `qemu-img convert -O raw {0} disk.img` makes one that `bareflow fat` and `run` read"
_STATE = (
    "holds a machine's state in QEMU's own form; restore it with `-incoming` or `loadvm`, and dump it there with"
    " `dump-guest-memory`"
)
_HEX = "is a dump as text; `objcopy -I {1} -O binary {0} dump` makes bytes of it, and --base says where they begin"

# Offset, first bytes there, what the file is, what to do; {0} is its path. Most are in file(1)'s magic.
_KNOWN = (
    (0, b"makedumpfile\0", "a kdump file in flattened form", f"`makedumpfile -R vmcore < {{0}}`, or {_DUMP_ANEW}"),
    (0, b"KDUMP   ", "a compressed kdump file", _DUMP_ANEW),
    (0, b"DISKDUMP", "a compressed diskdump file", _DUMP_ANEW),
    (0, b"EMiL", "a LiME memory dump", "dump it anew in LiME's raw format, and give --base"),
    (0, b"PAGEDU64", "a Windows crash dump", _DUMP_ANEW),
    (0, b"PAGEDUMP", "a Windows crash dump", _DUMP_ANEW),
    (0, b"MDMP", "a minidump of a Windows program", "it holds a program's memory, not a guest's: make a core"),
    (0, b"\xd2\xbe\xd2\xbe", "a VMware snapshot", "its .vmem beside it is the raw memory: give that"),
    (0, b"\xd1\xbe\xd2\xbe", "a VMware snapshot", "its .vmem beside it is the raw memory: give that"),
    (0, b"QEVM", "a QEMU migration stream", f"it {_STATE}"),
    (0, b"LibvirtQemudSave", "a guest saved by libvirt", f"it {_STATE}"),
    (0, b"LibvirtQemudPart", "a guest saved by libvirt", f"it {_STATE}"),
    (0, b"QFI\xfb", "a qcow2 disk image", f"it {_DISK}; a snapshot in it is restored with `loadvm`"),
    (0, b"KDMV", "a VMDK disk image", f"it {_DISK}"),
    (0, b"COWD", "a VMDK disk image", f"it {_DISK}"),
    (0, b"# Disk DescriptorFile", "a VMDK disk's description", f"it {_DISK}"),
    (0, b"vhdxfile", "a VHDX disk image", f"it {_DISK}"),
    (0, b"conectix", "a VHD disk image", f"it {_DISK}"),
    (64, b"\x7f\x10\xda\xbe", "a VDI disk image", f"it {_DISK}"),
    (0, b"QED\0", "a QED disk image", f"it {_DISK}"),
    (0, b"\xfd7zXZ\0", "compressed with xz", "`xz -dk {0}`, then give the unpacked file"),
    (0, b"BZh", "compressed with bzip2", "`bzip2 -dk {0}`, then give the unpacked file"),
    (0, b"\x04\x22\x4d\x18", "compressed with lz4", "`lz4 -d {0}`, then give the unpacked file"),
    (0, b"\x89LZO\0", "compressed with lzop", "`lzop -d {0}`, then give the unpacked file"),
    (0, b"LZIP", "compressed with lzip", "`lzip -dk {0}`, then give the unpacked file"),
    (0, b"\x5d\0\0\x80\0", "compressed with lzma", "`unlzma -k {0}`, then give the unpacked file"),
    (0, b"\x1f\x8b", "compressed once more with gzip", "`gunzip -k {0}` first"),
    (0, b"\x28\xb5\x2f\xfd", "compressed once more with zstd", "`zstd -d {0}` first"),
    (0, b"PK\x03\x04", "a zip archive", "`unzip {0}`, then give the file that was in it"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", "`7z x {0}`, then give the file that was in it"),
    (0, b"Rar!", "a rar archive", "`unrar x {0}`, then give the file that was in it"),
    (257, b"ustar", "a tar archive", "`tar -xf {0}`, then give the file or directory that was in it"),
    (0, b"07070", "a cpio archive", "`cpio -id < {0}`, then give the file that was in it"),
    (0, b"!<arch>\n", "a library of object files", "give the kernel that was linked with it"),
    (0, b"BC\xc0\xde", "LLVM bitcode", "`bareflow build wrap` makes it a module's"),
    (0, b"PAR1", "a part of a trace", "give the directory that it is in"),
    (0, b"hsqs", "a squashfs image", "`unsquashfs {0}`, then give the file that was in it"),
    (0x8001, b"CD001", "a CD image", "give what is on it: a boot image, a core or a dump"),
    (0, b"UF2\n", "a UF2 firmware file", "it is a program, not memory; give a core or a dump"),
    (0, b":10", "Intel hex", "it " + _HEX.replace("{1}", "ihex")),
    (0, b"S00", "Motorola S-records", "it " + _HEX.replace("{1}", "srec")),
)


def neighbour(path: Path, head: bytes) -> str:
    """One sentence about a file of another kind, with the next step; "" when it is none that is known."""
    for offset, magic, what, step in _KNOWN:
        if head[offset : offset + len(magic)] == magic:
            return f"{path} is {what}; {step.format(quote(str(path)))}"
    return ""
