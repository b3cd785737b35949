"""`bareflow check TARGET RULES`: does a trace, a machine or a core keep the rules of a file? For CI."""

from __future__ import annotations

import argparse
from pathlib import Path

from bareflow_gdb.cli.arguments import ELF_HELP, address
from bareflow_gdb.cli.completers import completed, targets

GROUP = "record"
HELP = "hold a trace, a machine or a core to rules: tiers, swaps, pools, exceptions, findings"

_RULES = """RULES is a TOML file with one of these tables, or more:

- `[reaches]`: `primes = { tier = 3, by_call = 10000 }`, `"*" = { tier = 1 }`: a function, or each, by that call
- `[at_most]`: `regretted_swaps`, `exceptions`, `findings`, `lost_events` = a number
- `[pool_below]`: `code`, `data`, `metadata` = percent of the pool in use at its peak

Exit code 0 when all are kept, 1 when one is broken, 2 when none is broken and one is not known."""


def configure(parser: argparse.ArgumentParser) -> None:
    completed(
        parser.add_argument(
            "target", metavar="TARGET", help="a trace, machine name, tcp:HOST:PORT, unix:PATH, core or dump"
        ),
        targets,
    )
    parser.add_argument("rules", type=Path, metavar="RULES", help="the file of rules")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="also write the verdicts as JUnit's XML")
    parser.add_argument("--base", type=address, metavar="ADDRESS", help="TARGET is a raw dump that begins there")
    parser.add_argument("--elf", type=Path, metavar="FILE", help=ELF_HELP)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _RULES


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.analysis.kept import judge
    from bareflow_gdb.analysis.rules import BROKEN, KEPT, read_rules
    from bareflow_gdb.cli.ask import TargetContext
    from bareflow_gdb.cli.targets import asked_target
    from bareflow_gdb.errors import UsageError
    from bareflow_gdb.files import BY_UMASK, write_atomically
    from bareflow_gdb.render.jsonable import dumps
    from bareflow_gdb.render.junit import junit
    from bareflow_gdb.render.text import show
    from bareflow_gdb.render.view import Cell, View, table

    rules = read_rules(options.rules)
    target = asked_target(options)
    if target.trace is None and target.source is None:
        raise UsageError(f"{target.description} tells nothing of a run; give a trace, a machine, a core or a dump")
    judged = judge(rules, TargetContext(target, options.elf).subject(), target.trace)
    if options.junit is not None:
        write_atomically(options.junit, junit(target.description, judged), BY_UMASK)
    broken = sum(1 for one in judged if one.verdict == BROKEN)
    unknown = sum(1 for one in judged if one.verdict not in (BROKEN, KEPT))
    if options.json:
        kept = len(judged) - broken - unknown
        print(
            dumps({"target": target.description, "kept": kept, "broken": broken, "not_known": unknown, "rules": judged})
        )
    else:
        styles = {KEPT: "good", BROKEN: "bad"}
        rows = [(one.rule, Cell(one.verdict, styles.get(one.verdict, "strong")), one.why) for one in judged]
        print(
            show(
                View(f"Rules of {options.rules.name} for {target.description}", parts=(table("rule||known by", rows),))
            )
        )
        print(_verdict(len(judged), broken, unknown))
    return 1 if broken else 2 if unknown else 0


def _verdict(rules: int, broken: int, unknown: int) -> str:
    if not broken and not unknown:
        return f"all {rules:,} rules are kept" if rules > 1 else "the rule is kept"
    told = [f"{broken:,} of {rules:,} rules broken"] if broken else []
    return ", ".join(told + ([f"{unknown:,} of {rules:,} not known"] if unknown else []))
