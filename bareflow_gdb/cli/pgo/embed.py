"""`bareflow pgo embed`: builds a kernel that carries the cache, boots it, and sees that it took each module."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from bareflow_gdb.cli import pgo_words as words
from bareflow_gdb.errors import BareflowError

HELP = "build a kernel that carries the cache, and boot it"
OUT = Path("pgo-kernel")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("cache", nargs="?", type=Path, default=words.CACHE, metavar="CACHE", help="from `pgo apply`")
    words.add_image(parser)
    parser.add_argument("--out", type=Path, default=OUT, metavar="DIR", help=f"for fluid.img, kernel.elf ({OUT})")


def main(options: argparse.Namespace) -> int:
    from tempfile import TemporaryDirectory

    from bareflow_gdb.pgo import cache, kernel, measure
    from bareflow_gdb.pgo.compiling import Compiler
    from bareflow_gdb.render.suggest import shell

    firmware = words.firmware(options)
    images = cache.read(options.cache, Compiler(firmware))
    with TemporaryDirectory(prefix="bfp-") as folder:
        work = Path(folder) / "work"
        kernel.prepare(firmware, work)
        run = measure.count(kernel.with_cache(work, options.cache))
        missing = sorted(set(images) - set(measure.taken_from_cache(run.log)))
        if missing:
            raise BareflowError(f"the kernel took no {', '.join(missing)} from its cache; `bareflow pgo apply` again")
        image = kernel.install(work, options.out)
    found = {cost.name: cost.least for cost in run.modules.costs}
    if options.json:
        print(json.dumps({"image": str(image), "modules": sorted(images), "instructions": found}))
    else:
        print(f"{image}: a kernel with {len(images)} modules of {options.cache}, each taken at boot, each result right")
        print(f"  run it   {shell('bareflow', 'run', '--image', image)}")
    return 0
