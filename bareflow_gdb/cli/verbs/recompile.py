"""`bareflow recompile`: has LLVM compile a function again and the guest install and call it, now."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bareflow_gdb.cli.completers import COMPLETERS, completed
from bareflow_gdb.errors import UsageError
from bareflow_gdb.guest.base.values import TIERS, tier_of_level
from bareflow_gdb.guest.code.outcome import ANSWER_SECONDS
from bareflow_gdb.questions.question import FUNCTIONS
from bareflow_gdb.recompile.recipe import CPU, CPUS, Recipe

if TYPE_CHECKING:
    from bareflow_gdb.cli.target import Target
    from bareflow_gdb.guest.code.outcome import Outcome
    from bareflow_gdb.pgo.live import Counting
    from bareflow_gdb.recompile.compilers import Compilers
    from bareflow_gdb.recompile.service import Service

GROUP = "do"
HELP = "compile a function of a running guest with the host's LLVM, and swap it in"


def configure(parser: argparse.ArgumentParser) -> None:
    from bareflow_gdb.cli.arguments import add_target

    function = parser.add_argument("function", metavar="FUNCTION", help="its name, for instance fibonacci")
    completed(function, COMPLETERS[FUNCTIONS])
    parser.add_argument("--tier", choices=TIERS, default="O3", help="how far it is optimised (O3)")
    # As it was called before.
    parser.add_argument("--level", dest="tier", type=tier_of_level, help=argparse.SUPPRESS)
    parser.add_argument("--timeout", type=float, default=ANSWER_SECONDS, metavar="S", help="seconds to wait (15)")
    parser.add_argument("--remarks", action="store_true", help="show what LLVM says about its optimisations")
    parser.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="FILE",
        help="compile this C file, or bitcode, instead of the function's own bitcode: fix it and go on",
    )
    parser.add_argument("--entry", default="", metavar="NAME", help="the function that FILE starts with")
    parser.add_argument(
        "--passes", default="", metavar="PIPELINE", help="LLVM's passes, as sroa,instcombine,default<O2>"
    )
    for_cpu = f"compile for this one ({CPU}); nehalem, haswell and guest with its vector instructions"
    parser.add_argument("--cpu", choices=CPUS, default=CPU, help=for_cpu)
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="keep bitcode, object, remarks and the times of passes there"
    )
    parser.add_argument(
        "--profile",
        action="store_true",
        help="count first how often each of its blocks runs in this guest, and use that",
    )
    parser.add_argument(
        "--specialise",
        action="store_true",
        help="count first with which arguments this guest calls it, make a version for those that most calls have, "
        "and keep it if it measures faster",
    )
    parser.add_argument("--calls", type=int, metavar="N", help="count so many calls (--profile: 1, --specialise: 64)")
    parser.add_argument(
        "--seconds", type=float, metavar="S", help="with --profile or --specialise: count, or measure, no longer (10)"
    )
    add_no_verify(parser)
    add_target(parser)
    parser.epilog = "Exit code 1 when it was rejected, or the new code's result is not the expected one."


def add_no_verify(parser: argparse.ArgumentParser) -> None:
    """For each verb that hands code over."""
    parser.add_argument(
        "--no-verify",
        dest="verify",
        action="store_false",
        help="hand new code over without having run it on the host beside the published code",
    )


def recipe_of(source: Path | None, entry: str, passes: str, cpu: str) -> tuple[Recipe, tuple[str, ...]]:
    """How it is to be compiled, and what clang warned of; raises UsageError, DoesNotCompile, Unreachable."""
    from bareflow_gdb.recompile import pipeline
    from bareflow_gdb.recompile.source import read_source

    if passes:
        pipeline.parse(passes)
    if cpu not in CPUS:
        raise UsageError(f"{cpu} is not a CPU that code can be laid out for; there are {', '.join(CPUS)}")
    if source is None:
        if entry:
            raise UsageError("--entry names a function of the file that --from gives; give both")
        return Recipe(cpu, passes), ()
    made, warnings = read_source(source, entry)
    return Recipe(cpu, passes, made), warnings


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.cli.progress import told
    from bareflow_gdb.cli.targets import open_target
    from bareflow_gdb.render.jsonable import to_json
    from bareflow_gdb.render.outcome import outcome

    recipe = _recipe(options)
    counting = counting_of(options.calls, options.seconds, profile=options.profile, specialise=options.specialise)
    target = open_target(options.target)
    level = TIERS.index(options.tier)
    with told() as progress:
        record = recompiled(
            target,
            options.function,
            level,
            recipe,
            timeout=options.timeout,
            verify=options.verify,
            keep=options.keep,
            counting=counting,
            progress=progress,
        )
    if options.json:
        print(json.dumps(to_json(record), indent=2))
    elif record.installed:
        print(outcome(record, remarks=options.remarks))
    else:
        print(f"bareflow recompile: {outcome(record)}", file=sys.stderr)
    return 0 if record.right else 1


def counting_of(calls: int | None, seconds: float | None, *, profile: bool, specialise: bool) -> Counting | None:
    """For how long its blocks, or its arguments, are counted first; None = not at all. Raises UsageError."""
    from bareflow_gdb.pgo.live import BLOCKS_USUALLY, Counting
    from bareflow_gdb.pgo.specialised import ARGUMENTS_USUALLY

    if profile and specialise:
        raise UsageError("--profile and --specialise count different things; give one, and the other one afterwards")
    if not profile and not specialise:
        if calls is not None or seconds is not None:
            raise UsageError("--calls and --seconds say for how long --profile or --specialise counts; give one, too")
        return None
    usual = ARGUMENTS_USUALLY if specialise else BLOCKS_USUALLY
    counting = Counting(
        usual.calls if calls is None else calls, usual.seconds if seconds is None else seconds, usual.arguments
    )
    if counting.calls < 1 or counting.seconds <= 0:
        raise UsageError("at least one call has to be counted, in some time; give larger numbers")
    return counting


def _recipe(options: argparse.Namespace) -> Recipe:
    """What clang said is shown in its place: above the answer, or above the sentence about its end."""
    from bareflow_gdb.recompile.source import DoesNotCompile

    said: tuple[str, ...] = ()
    try:
        recipe, said = recipe_of(options.source, options.entry, options.passes, options.cpu)
    except DoesNotCompile as error:
        said = error.lines
        raise
    finally:
        for line in said:
            print(line, file=sys.stderr)
    return recipe


def recompiled(
    target: Target,
    function: str,
    level: int,
    recipe: Recipe,
    *,
    timeout: float = ANSWER_SECONDS,
    called: bool = True,
    verify: bool = True,
    compilers: Compilers | None = None,
    keep: Path | None = None,
    counting: Counting | None = None,
    progress: Callable[[str, float], None] = lambda _what, _share: None,
) -> Outcome:
    """What became of one function: by the guest's mailbox, or from outside where a kernel has none.

    counting: its blocks or its arguments are counted first, and it is compiled by that; `progress` is told how far
    that is.
    """
    from bareflow_gdb.cli.kernel_without_mailbox import installer, is_stock

    if is_stock(target):
        if counting is not None:
            raise UsageError(
                "a kernel without a mailbox takes no version that counts; leave --profile and --specialise out"
            )
        with installer(target, compilers, verify=verify) as install:
            return install.request(function, level, timeout, recipe, keep)
    with open_service(target, compilers=compilers, verify=verify) as service:
        if counting is not None and counting.arguments:
            from bareflow_gdb.pgo.specialised import specialise

            return specialise(service, function, level, recipe, counting, timeout, progress, keep)
        if counting is not None:
            from bareflow_gdb.pgo.live import by_counts

            recipe = by_counts(service, function, level, recipe, counting, timeout, progress)
        return service.request(function, level, timeout, called=called, recipe=recipe, keep=keep)


def open_service(
    target: Target,
    progress: Callable[[str], None] = lambda _: None,
    compilers: Compilers | None = None,
    *,
    verify: bool = True,
) -> Service:
    """A service for a running guest; raises UsageError for a target that cannot answer."""
    from bareflow_gdb.recompile.cache import ObjectCache, usual_folder
    from bareflow_gdb.recompile.service import Service

    if not target.memory.live:
        raise UsageError(f"{target.description} does not run; recompile a function of a running machine")
    directory = target.machine.directory if target.machine is not None else None
    return Service(target.memory, directory, progress, compilers, verify=verify, cache=ObjectCache(usual_folder()))
