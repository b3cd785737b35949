"""Runs inside gdb for test_memory_readers.py: reads through InferiorMemory, prints what came at what cost."""

import json
import os
import sys
import zlib

import gdb

sys.path.append(os.environ["REPOSITORY"])

from bareflow_gdb.errors import BareflowError
from bareflow_gdb.memory.inferior import InferiorMemory

try:
    InferiorMemory().read(0x10000, 4, "image header")
    REFUSED = ""
except BareflowError as error:
    REFUSED = str(error)

gdb.execute("set architecture i386", to_string=True)
gdb.execute(f"set remotelogfile {os.environ['PACKETS']}")
gdb.execute(f"target remote {os.environ['GDB_SOCKET']}", to_string=True)
memory = InferiorMemory()
counts = []


def counted(address: int, size: int) -> bytes:
    start = memory.packets
    data = memory.read(address, size, "test bytes")
    counts.append(memory.packets - start)
    return data


result = {
    "header": counted(0x10000, 32).hex(),
    "again": counted(0x10000, 64).hex(),
    "heap": zlib.crc32(counted(0x100000, 1 << 17)),
    "screen": zlib.crc32(memory.screen()),
}
memory.write(0x700000, b"0123456789" * 1000, "test bytes")
memory.write(0x700000, b"9876543210" * 1000, "test bytes")
result |= {"written": zlib.crc32(counted(0x700000, 10000)), "counts": counts, "refused": REFUSED}
result["packets"] = memory.packets
print("RESULT" + json.dumps(result))
gdb.execute("disconnect", to_string=True)
