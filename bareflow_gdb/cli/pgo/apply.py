"""`bareflow pgo apply`: compiles the modules as the plan has it, into a cache; all of them or nothing."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from bareflow_gdb.cli import pgo_words as words

HELP = "compile the modules as planned, into cache/i686/PROFILE"


def configure(parser: argparse.ArgumentParser) -> None:
    text = f"from `pgo plan` (default {words.PLAN})"
    parser.add_argument("plan", nargs="?", type=Path, default=words.PLAN, metavar="PLAN", help=text)
    words.add_image(parser)
    parser.add_argument("--cache", type=Path, default=words.CACHE, metavar="DIR", help=f"default {words.CACHE}")


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.pgo import cache, plan
    from bareflow_gdb.pgo.compiling import Compiler
    from bareflow_gdb.render.pgo import applied_view

    made = plan.read(options.plan)
    compiler = Compiler(words.firmware(options))
    cache.check_place(options.cache)
    for choice in made.choices:
        compiler.check(choice)
    images = {choice.name: compiler.image(choice) for choice in made.choices}
    cache.write(options.cache, made, images, compiler)
    if options.json:
        print(json.dumps({"cache": str(options.cache), "bytes": {name: len(one) for name, one in images.items()}}))
    else:
        words.show(applied_view(made, images))
        words.tell(f"written to {options.cache}")
    return 0
