"""Which assembler directives may stand in the assembly of a function's bitcode?

Those that make code and data. Others write the debugger's tables by hand, read files of the host (`.incbin`), or
build such words of pieces (`.macro`).
"""

from __future__ import annotations

import re

from bareflow_gdb.recompile.refusal import BadBitcode

_WORDS = """
    .text .data .bss .rodata .section .pushsection .popsection .previous .subsection
    .globl .global .local .weak .hidden .internal .protected .type .size .set .equ .ident
    .align .p2align .balign .skip .space .zero .org .fill
    .byte .2byte .4byte .8byte .short .value .hword .word .long .int .quad .ascii .asciz .string .float .single .double
    .code32 .att_syntax .intel_syntax
"""
_ALLOWED = frozenset(_WORDS.split())
_LABEL_OR_SECTION = re.compile(r"\.(?:L.*|(?:text|rodata|data|bss)(?:\.[\w.$]*)?)")
# Behind `@` and `%` it is the name of a symbol, a value or a type.
_DOTTED = re.compile(r"(?<![\w.$@%])\.(?:[A-Za-z_][\w.$]*|[$\\]+\w*)")
_ESCAPED = re.compile(r"\\([0-9A-Fa-f]{2})")
# LLVM's text for two assemblers, `$(one$|other$)`, could cut a word in two; it takes the first for AT&T.
_VARIANTS = re.compile(r"\$\(([^$]*)(?:\$\|[^$]*)*\$\)")
_SYMBOL = re.compile(r'^(?:@|define .*?@|declare .*?@)"?(?P<name>\.[^" (]+)"?(?P<rest>.*)')


def check(text: str) -> None:
    """Raises BadBitcode for a directive that is not allowed; `text` is a module as LLVM prints it."""
    has_assembly = False
    for line in text.split("\n"):
        if line.startswith("module asm ") or (line.startswith(" ") and " asm " in line):
            has_assembly = True
            _check_line(line)
    if has_assembly:
        _check_symbols(text)


def _check_line(line: str) -> None:
    plain = _VARIANTS.sub(r"\1", _ESCAPED.sub(lambda match: chr(int(match[1], 16)), line))
    for match in _DOTTED.finditer(plain):
        word = match[0].lower()
        if word not in _ALLOWED and not _LABEL_OR_SECTION.fullmatch(match[0]):
            raise BadBitcode(
                f"the assembly has the directive {match[0]}, and only those that make code and data are taken; "
                "leave it out"
            )


def _check_symbols(text: str) -> None:
    """An operand is printed as its name: no symbol of the module may be called like a directive."""
    for line in text.split("\n"):
        match = _SYMBOL.match(line)
        # Private names get a prefix.
        if match and not re.match(r" = (?:dso_local )?private ", match["rest"]):
            raise BadBitcode(f"{match['name']} is a name that the assembler takes for a directive; rename it")
