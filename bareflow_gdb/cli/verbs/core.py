"""`bareflow core`: writes an ELF core of a running machine, for later."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from bareflow_gdb.cli.arguments import add_machine, add_shared
from bareflow_gdb.cli.targets import open_target
from bareflow_gdb.errors import UsageError
from bareflow_gdb.files import share
from bareflow_gdb.render.suggest import shell

GROUP = "do"
HELP = "write an ELF core (RAM and registers) of a running machine"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="where the core goes")
    add_machine(parser)
    add_shared(parser, "the core")


def main(options: argparse.Namespace) -> int:
    target = open_target(options.target)
    if target.machine is None:
        raise UsageError(f"{target.description} is not a running machine; `bareflow list` shows them")
    left = target.machine.dump_core(options.out)
    if options.shared:
        share(options.out)
    size = options.out.stat().st_size
    if options.json:
        record = {"core": str(options.out), "bytes": size, "machine": target.machine.name, "left_out": left}
        print(json.dumps(record))
    else:
        print(f"{options.out}: {size:,} bytes of machine {target.machine.name}")
        if left is not None:
            print(f"  without  the model's weights, {left[1] - left[0]:,} bytes at 0x{left[0]:08x}: its file has them")
        print(f"  ask it   {shell('bareflow', 'status', options.out)}")
    return 0
