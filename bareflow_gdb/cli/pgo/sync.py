"""`bareflow pgo sync`: puts the cache's modules onto a FAT16 disk, reads them back and compares."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from bareflow_gdb.cli import pgo_words as words

HELP = "put the cache's modules onto a FAT16 disk, read back and compared"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("disk", type=Path, metavar="DISK", help="a disk of `bareflow build disk`; new when not there")
    parser.add_argument("--cache", type=Path, default=words.CACHE, metavar="DIR", help=f"default {words.CACHE}")
    words.add_image(parser)


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.pgo import cache, disk
    from bareflow_gdb.pgo.compiling import Compiler

    images = cache.read(options.cache, Compiler(words.firmware(options)))
    written = disk.sync(options.disk, images)
    if options.json:
        print(json.dumps({"disk": str(options.disk), "written": written}))
    else:
        print(f"{options.disk}: {len(written)} modules written, read back and equal: {', '.join(written)}")
    return 0
