"""`bareflow pgo demo`: the whole way on the real guest, each command as a person would type it."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from bareflow_gdb.errors import BareflowError
from bareflow_gdb.files import writing
from bareflow_gdb.render.suggest import shell

HELP = "the whole way, narrated: profile, plan, apply, embed, sync, iterate"
OUT = Path("pgo-demo")
# -P: what lies in the current directory is not to be taken for the suite.
_BAREFLOW = (sys.executable, "-P", "-m", "bareflow_gdb.cli.main", "pgo")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--image", type=Path, metavar="FILE", help="boot image beside the built modules")
    parser.add_argument("--out", type=Path, default=OUT, metavar="DIR", help=f"for all that is made ({OUT})")


def main(options: argparse.Namespace) -> int:
    out: Path = options.out
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    image = ["--image", str(options.image)] if options.image else []
    profile, plan, cache = (str(out / name) for name in ("profile.json", "plan.json", "cache/i686/demo"))
    steps = (
        ("The kernel boots under -icount and tells what each module cost", "profile", *image, "--out", profile),
        ("Modules are put into classes", "plan", profile, "--out", plan),
        ("They are compiled as planned", "apply", plan, *image, "--cache", cache),
        ("A kernel that carries them is built and booted", "embed", cache, *image, "--out", str(out / "kernel")),
        ("They go onto a disk, too", "sync", str(out / "fat16.img"), *image, "--cache", cache),
        (
            "And again, by the counts of blocks, until little is gained; measured against O0, O2 and O3",
            *("iterate", *image, "--turns", "0", "--cache", cache, "--out", str(out)),
        ),
    )
    tell = sys.stderr if options.json else sys.stdout
    for number, (title, *step) in enumerate(steps, 1):
        command = shell("bareflow", "pgo", *step)
        print(f"\n== {number}. {title}\n$ {command}", file=tell, flush=True)
        done = subprocess.run([*_BAREFLOW, *step], stdin=subprocess.DEVNULL, stdout=tell, check=False)
        if done.returncode:
            raise BareflowError(f"`{command}` ended with exit code {done.returncode}")
    if options.json:
        print(json.dumps({"out": str(out), "report": str(out / "report.json")}))
    return 0
