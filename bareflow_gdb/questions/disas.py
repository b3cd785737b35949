"""What are the instructions of a tier, of an address; how do two tiers differ?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bareflow_gdb.errors import UsageError
from bareflow_gdb.guest.base.values import TIERS
from bareflow_gdb.questions.question import FUNCTIONS, MEMORY, NAME_OR_ADDRESS, Context, Options, Question, argument

if TYPE_CHECKING:
    from bareflow_gdb.guest.disas import Difference, Listing


def _ask(context: Context, options: Options) -> Listing | Difference:
    from bareflow_gdb.guest.code.jit_code import CodeName, code_name_of
    from bareflow_gdb.guest.disas import compare, disassemble

    if options.diff and (options.remarks or options.source):
        raise UsageError("--remarks belongs to one version's code; leave --diff out")
    if options.diff:
        if isinstance(options.place, int):
            raise UsageError("--diff compares two tiers of a function; give the function's name")
        old, new = (TIERS.index(tier) for tier in options.diff)
        return compare(context.kernel, code_name_of(options.place).function, old, new, context.symbol)
    place: CodeName | int = options.place if isinstance(options.place, int) else code_name_of(options.place)
    if options.tier and isinstance(place, int):
        raise UsageError("a tier belongs to a function's name; give the name, or leave the tier out")
    if options.tier and isinstance(place, CodeName):
        place = CodeName(place.function, TIERS.index(options.tier))
    # JIT code is 32-bit code; asking for the mode may cost packets.
    bits = options.bits or (context.bits() if isinstance(place, int) else 32)
    listing = disassemble(context.kernel, place, bits, options.bytes, context.symbol)
    if not options.remarks and options.source is None:
        return listing
    from bareflow_gdb.guest.remarked import remarked

    if context.machine is None:
        raise UsageError("what LLVM said of a version is kept in the folder of its machine; name a running machine")
    source = Path(options.source).expanduser() if options.source is not None else None
    return remarked(listing, context.machine.directory, source)


def _draw(record: Listing | Difference, width: int, color: bool) -> str:
    from bareflow_gdb.guest.disas import Difference
    from bareflow_gdb.render.disas import difference, listing

    return difference(record, width, color) if isinstance(record, Difference) else listing(record, width, color)


QUESTION = Question(
    name="disas",
    help="the code of a JIT function by tier, or at an address, with names; two tiers side by side",
    details="Calls of exported functions, code pointers, shared data and other JIT code are named, and in gdb "
    "whatever its ELF knows. In real mode code is decoded as 16-bit code, which gdb 13 itself does not do.",
    example="disas primes@O2",
    arguments=(
        argument(
            "place",
            kind=NAME_OR_ADDRESS,
            names=FUNCTIONS,
            metavar="FUNCTION[@TIER]|ADDRESS",
            help="a JIT function, by default the code that runs now; or an address",
        ),
        argument("--tier", choices=TIERS, help="the code of this tier, as in primes@O2"),
        argument("--diff", nargs=2, choices=TIERS, metavar=("OLD", "NEW"), help="two tiers side by side, aligned"),
        argument("--bits", type=int, choices=(16, 32), help="how to decode (default: by CR0.PE)"),
        argument("--remarks", action="store_true", help="of a version from the host: source lines, LLVM's remarks"),
        argument("--source", metavar="FILE", help="the same, with the text of this source file"),
        argument("--bytes", type=int, metavar="N", help="of an address: how much (default 64)"),
    ),
    needs=(MEMORY,),
    ask=_ask,
    draw=_draw,
)
