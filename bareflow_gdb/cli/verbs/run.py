"""`bareflow run`: starts a machine and leaves it running."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bareflow_gdb.errors import NotReached, Unreachable, UsageError
from bareflow_gdb.guest.scenario import NAMES, number

if TYPE_CHECKING:
    from bareflow_gdb.qemu.machine import Machine

GROUP = "do"
HELP = "start a machine (QEMU with the BareFlow image), detached"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", help="name to find it by (default: vm1, vm2, …)")
    parser.add_argument(
        "--image", type=Path, help="boot disk image (default: the one built here, else the packaged one)"
    )
    parser.add_argument(
        "--disk",
        type=Path,
        help="second disk: a FAT16 image with modules (default: fat16.img beside the image; with --icount none)",
    )
    parser.add_argument("--no-disk", action="store_true", help="no second disk")
    parser.add_argument("--floppy", action="store_true", help="boot the image as a 1.44 MB floppy (CHS path)")
    parser.add_argument("--hold", action="store_true", help="let the guest wait before its run, for `bareflow release`")
    parser.add_argument("--thresholds", metavar="A,B,C", help="calls for O1, O2, O3 (default 100,1000,10000)")
    parser.add_argument("--scenario", choices=NAMES, help="what the run does (default run: every function)")
    parser.add_argument("--paused", action="store_true", help="do not start the CPU; gdb or `cont` does")
    parser.add_argument(
        "--icount",
        type=int,
        metavar="N",
        help="time = instructions, 2^N ns each: the same in every run; keeps a host CPU busy",
    )
    parser.add_argument(
        "--cpu",
        default="",
        metavar="NAME",
        help="QEMU's name of a CPU, as max or pentium3 (default qemu32, without AVX)",
    )
    parser.add_argument(
        "--memory", type=int, metavar="MIB", help="RAM in MiB (default 64, and more when the disk holds a model)"
    )
    parser.add_argument("--wait", metavar="STAGE", help="return when this boot stage is reached, for instance idle")
    parser.add_argument("--timeout", type=float, default=60.0, metavar="S", help="seconds that --wait waits (60)")
    parser.epilog = "Exit code 1 when --wait's stage was not reached; the machine is kept then."


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.guest.boot.boot import stage_number
    from bareflow_gdb.guest.boot.wait import wait_for_stage
    from bareflow_gdb.guest.machine.needed_ram import needed_mib
    from bareflow_gdb.qemu.default import default_image
    from bareflow_gdb.qemu.directory import SHARED_MEMORY
    from bareflow_gdb.qemu.image import RootSettings
    from bareflow_gdb.qemu.launch import launch, second_disk

    settings = None
    if options.hold or options.thresholds or options.scenario:
        thresholds = parse_thresholds(options.thresholds) if options.thresholds else (100, 1000, 10000)
        scenario = number(options.scenario or "run")
        settings = RootSettings(thresholds=thresholds, hold=int(options.hold), scenario=scenario)
    wanted = stage_number(options.wait) if options.wait else None
    image = options.image or default_image()
    disk = second_disk(image, options.disk, with_disk=not options.no_disk, icount=options.icount)
    memory, model = (options.memory, "") if options.memory is not None else needed_mib(disk)
    machine = launch(
        image,
        name=options.name,
        memory_mib=memory,
        icount=options.icount,
        paused=options.paused,
        settings=settings,
        disk=options.disk,
        with_disk=not options.no_disk,
        floppy=options.floppy,
        cpu=options.cpu,
    )
    if machine.ram_path.parent != SHARED_MEMORY:
        # Slower when that disk is: the guest's RAM is a file there.
        print(f"bareflow run: {SHARED_MEMORY} has no room for {memory} MiB; RAM is {machine.ram_path}", file=sys.stderr)
    if wanted is not None:
        try:
            wait_for_stage(machine, wanted, options.timeout)
        except (NotReached, Unreachable) as error:
            # The machine and its logs are the evidence.
            print(f"bareflow run: {error}", file=sys.stderr)
            print(_what_is_left(machine), file=sys.stderr)
            return 1
        except BaseException:
            # Interrupted, or not a machine to be waited for: one that nobody was told of must not stay behind.
            machine.stop()
            raise
    if options.json:
        print(json.dumps(machine.record(), indent=2))
    else:
        print(f"machine {machine.name} runs (process {machine.pid})")
        print(f"  image    {machine.image}")
        if model:
            print(f"  memory   {memory} MiB, for the model {model} of {disk}")
        print(f"  serial   {machine.serial_path}")
        print(f"  gdb      bareflow gdb {machine.name}, or `target remote {machine.gdb_socket}` in yours")
        print(f"  stop     bareflow stop {machine.name}")
    return 0


def _what_is_left(machine: Machine) -> str:
    name = machine.name
    if machine.alive():
        return (
            f"machine {name} was kept: `bareflow status {name}` and `bareflow serial {name}` show what happened, "
            f"`bareflow stop {name}` ends it"
        )
    return f"what it printed is in {machine.serial_path}; `bareflow stop {name}` removes it"


def parse_thresholds(text: str) -> tuple[int, int, int]:
    """Three growing call counts; raises UsageError."""
    try:
        numbers = tuple(int(word) for word in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != 3 or not 0 < numbers[0] < numbers[1] < numbers[2] < 1 << 32:
        raise UsageError(f"{text!r} are not thresholds; write three growing numbers, for instance 7,70,700")
    return numbers[0], numbers[1], numbers[2]
