"""`bareflow completion SHELL`: what does a shell evaluate to complete verbs, options, machines and functions?"""

from __future__ import annotations

import argparse

GROUP = "build"
HELP = "print what makes bash, zsh or fish complete bareflow's words"
SHELLS = ("bash", "zsh", "fish")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run_verb=main)
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help="bash, zsh or fish")
    parser.epilog = 'Example: eval "$(bareflow completion bash)", in ~/.bashrc'


def main(options: argparse.Namespace) -> int:
    from argcomplete.shell_integration import shellcode

    print(shellcode(["bareflow"], shell=options.shell))
    return 0
