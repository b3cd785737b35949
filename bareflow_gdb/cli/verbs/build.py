"""`bareflow build`: the tools that make what a kernel carries and reads: bitcode, modules, registries, disks."""

from __future__ import annotations

import argparse
import importlib
from typing import Any

GROUP = "build"
HELP = "make wrapped bitcode, module images, registries, a module disk"
COULD_NOT = 2

# Word, module of bareflow_gdb.build with a `main`, what it does.
TOOLS = (
    ("wrap", "wrap", "put the kernel's header in front of LLVM bitcode"),
    ("module", "module", "link an object file into a module image"),
    ("embed", "embed", "write the assembly file that embeds modules in a kernel"),
    ("registry", "registry", "write the C file that embeds a cache of optimised modules"),
    ("disk", "fat_image", "make a FAT16 disk image with modules and other files"),
)


class ToolParser(argparse.ArgumentParser):
    """Leaves every word after the tool's name to the tool."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        namespace = namespace or argparse.Namespace()
        namespace.words = list(args)
        return namespace, []


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "`bareflow build TOOL --help` lists a tool's words."
    tools = parser.add_subparsers(dest="tool", metavar="TOOL", required=True, parser_class=ToolParser)
    for word, _, help_text in TOOLS:
        tools.add_parser(word, help=help_text, add_help=False)


def main(options: argparse.Namespace) -> int:
    name = next(module for word, module, _ in TOOLS if word == options.tool)
    tool = importlib.import_module(f"bareflow_gdb.build.{name}")
    return COULD_NOT if tool.main(options.words) else 0
