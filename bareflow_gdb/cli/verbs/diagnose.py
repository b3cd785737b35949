"""`bareflow diagnose IMAGE`: starts a boot disk, watches it, and asks why. Adds to the question `diagnose`.

`--bisect GOOD BAD` compares two images instead.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from bareflow_gdb.cli import ask
from bareflow_gdb.errors import UsageError
from bareflow_gdb.questions.diagnose import QUESTION

GROUP = "look"
HELP = QUESTION.help
SECONDS = 20.0


def configure(parser: argparse.ArgumentParser) -> None:
    ask.configure(QUESTION, parser)
    parser.add_argument(
        "--bisect", nargs=2, type=Path, metavar=("GOOD", "BAD"), help="the first difference of two images that matters"
    )
    words = parser.add_argument_group("when TARGET is a boot disk")
    words.add_argument("--no-start", action="store_true", help="only look at the file; a stock kernel's can be asked")
    words.add_argument("--disk", type=Path, metavar="FILE", help="second disk, as with `bareflow run`")
    words.add_argument("--timeout", type=float, default=SECONDS, metavar="S", help=f"watch so long ({SECONDS:g})")
    words.add_argument("--keep", action="store_true", help="leave the machine as it is then, for gdb")


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.cli.targets import asked_target

    if options.bisect is not None:
        good, bad = options.bisect
        return _compared(good, bad, options)
    target = asked_target(options, QUESTION.file_kind)
    if target.kind != "disk" or target.path is None or options.no_start:
        return ask.asked_at(target, QUESTION, options)
    if "FAT16" in target.description:
        context = ask.TargetContext(target)
        context.module_disk = target.path
        print(f"bareflow diagnose: {target.path} is a disk of modules, which alone is looked at", file=sys.stderr)
        return ask.asked_of(context, QUESTION, options)
    return _started(target.path, options)


def _compared(good: Path, bad: Path, options: argparse.Namespace) -> int:
    from bareflow_gdb.analysis.image_differences import compare
    from bareflow_gdb.render.image_differences import view
    from bareflow_gdb.render.jsonable import dumps
    from bareflow_gdb.render.text import show

    if options.target is not None:
        raise UsageError("--bisect compares two files; give no TARGET with it")
    found = compare(good, bad)
    print(dumps(found) if options.json else show(view(found)))
    return 1 if found.differences else 0


def _started(image: Path, options: argparse.Namespace) -> int:
    from bareflow_gdb.cli.target import Target
    from bareflow_gdb.guest.boot.watch import watch
    from bareflow_gdb.qemu.launch import launch

    with ExitStack() as undo:
        folder = None if options.keep else Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="bareflow-")))
        machine = launch(image, paused=True, disk=options.disk, directory=folder and folder / "machine")
        if not options.keep:
            undo.callback(machine.stop)
        print(f"bareflow diagnose: {image} was started, watching it for up to {options.timeout:g} s", file=sys.stderr)
        target = Target("machine", f"{image}, started", machine=machine, source=machine.memory())
        context = ask.TargetContext(target, options.elf)
        context.watched = watch(machine, options.timeout)
        code = ask.asked_of(context, QUESTION, options)
        if options.keep:
            print(f"machine {machine.name} was kept: `bareflow gdb {machine.name}`, `bareflow stop {machine.name}`")
        return code
