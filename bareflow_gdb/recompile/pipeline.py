"""Which passes does a pipeline name? LLVM's text, as `opt -passes=` takes it: `sroa,instcombine,default<O2>`.

Of LLVM's passes these are the ones that llvmlite offers and that change code. `function(…)`, `cgscc(…)`, `loop(…)` and
`module(…)` may be written, and mean what stands in them: each pass is given the module.
"""

from __future__ import annotations

import difflib
import re

from bareflow_gdb.errors import UsageError

PASSES = {
    "adce": "aggressive_dce",
    "aggressive-instcombine": "aggressive_instcombine",
    "always-inline": "always_inliner",
    "argpromotion": "argument_promotion",
    "break-crit-edges": "break_critical_edges",
    "constmerge": "constant_merge",
    "dce": "dead_code_elimination",
    "deadargelim": "dead_arg_elimination",
    "dse": "dead_store_elimination",
    "function-attrs": "post_order_function_attributes",
    "globaldce": "global_dead_code_eliminate",
    "globalopt": "global_opt",
    "instcombine": "instruction_combine",
    "ipsccp": "ipsccp",
    "jump-threading": "jump_threading",
    "lcssa": "lcssa",
    "loop-deletion": "loop_deletion",
    "loop-reduce": "loop_strength_reduce",
    "loop-rotate": "loop_rotate",
    "loop-simplify": "loop_simplify",
    "loop-unroll": "loop_unroll",
    "loop-unroll-and-jam": "loop_unroll_and_jam",
    "lower-switch": "lower_switch",
    "memcpyopt": "mem_copy_opt",
    "mergefunc": "merge_functions",
    "mergereturn": "unify_function_exit_nodes",
    "newgvn": "new_gvn",
    "partial-inliner": "partial_inliner",
    "reassociate": "reassociate",
    "reg2mem": "register_to_memory",
    "rpo-function-attrs": "rpo_function_attrs",
    "sccp": "sccp",
    "simplifycfg": "simplify_cfg",
    "sink": "sinking",
    "sroa": "sroa",
    "tailcallelim": "tail_call_elimination",
}
"""LLVM's name: of llvmlite's `add_…_pass`."""

MOST_PASSES = 64
_MOST_CHARACTERS = 4096
_GROUPS = ("module", "cgscc", "function", "loop", "loop-mssa")
_TOKEN = re.compile(r"\s*(?:(?P<word>[\w.-]+(?:<[^<>]*>)?)|(?P<sign>[(),]))")
_LEVEL = re.compile(r"default<O(?P<level>[0-3])>")


def parse(text: str) -> list[str | int]:
    """The passes in their order: names of PASSES, or the level of a `default<…>`. Raises UsageError."""
    if len(text) > _MOST_CHARACTERS:
        raise UsageError(f"the pipeline has more than {_MOST_CHARACTERS:,} characters; shorten it")
    found: list[str | int] = []
    depth, at, expects = 0, 0, True
    text = text.strip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise _wrong(text, at)
        word, sign, begin = match["word"], match["sign"], match.start()
        at = match.end()
        if word and expects:
            if word in _GROUPS and text[at : at + 1] == "(":
                depth, at = depth + 1, at + 1
            else:
                found.append(_pass(word))
                expects = False
        elif sign == "," and not expects:
            expects = True
        elif sign == ")" and depth and not expects:
            depth -= 1
        else:
            raise _wrong(text, begin)
    if expects or depth:
        raise _wrong(text, len(text))
    if len(found) > MOST_PASSES:
        raise UsageError(f"the pipeline has {len(found)} passes, at most {MOST_PASSES} are taken; leave some out")
    return found


def _pass(word: str) -> str | int:
    level = _LEVEL.fullmatch(word)
    if level:
        return int(level["level"])
    if word in PASSES:
        return word
    near = difflib.get_close_matches(word, PASSES, 1)
    advice = f"did you mean {near[0]}?" if near else f"there are default<O0> to default<O3>, {', '.join(PASSES)}"
    raise UsageError(f"{word} is not a pass that can be named here; {advice}")


def _wrong(text: str, at: int) -> UsageError:
    what = f"at {text[at : at + 20]!r}" if at < len(text) else "at its end"
    return UsageError(f"the pipeline {text!r} is wrong {what}; write passes with commas: sroa,instcombine,simplifycfg")
