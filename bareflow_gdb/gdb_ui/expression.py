"""Which address does an expression mean? Numbers, registers, symbols, `$` variables, and arithmetic of these.

Not gdb's whole language: what a guest names its functions may end up here by completion, and gdb's expressions
call functions, also those of the host (`$_shell`), and assign. gdb is asked for one operand at a time.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping

import gdb

from bareflow_gdb.errors import UsageError
from bareflow_gdb.guest.base.values import checked_address

_OPERAND = r"0[xX][0-9a-fA-F]+\b|\d+\b|\$[A-Za-z_]\w*|\$\$?\d*|[A-Za-z_]\w*(?:::[A-Za-z_]\w*)*"
_TOKEN = re.compile(rf"\s*(?:(?P<operand>{_OPERAND})|(?P<operator><<|>>|[-+*/%&|^~()]))")
_SYMBOL = re.compile(r"[A-Za-z_].*")
_FURTHEST = 64
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
"""gdb 18 colours words of its errors."""


def _shift(value: int, bits: int) -> int:
    return value << min(bits, _FURTHEST)


_BINARY: tuple[Mapping[str, Callable[[int, int], int]], ...] = (
    {"|": operator.or_},
    {"^": operator.xor},
    {"&": operator.and_},
    {"<<": _shift, ">>": operator.rshift},
    {"+": operator.add, "-": operator.sub},
    {"*": operator.mul, "/": operator.floordiv, "%": operator.mod},
)
"""As in C, the loosest first."""
_UNARY: Mapping[str, Callable[[int], int]] = {"-": operator.neg, "+": operator.pos, "~": operator.invert}

LANGUAGE = "numbers, registers, symbols and + - * / % << >> & | ^ ~ ( ) of them"


def evaluate(expression: str) -> int:
    """A 32-bit address; raises UsageError, also for a value of more bits: nothing is cut off."""
    try:
        value = _Reader(_tokens(expression)).whole()
    except (gdb.error, ValueError, TypeError, ArithmeticError, RecursionError) as error:
        words = COLOUR.sub("", str(error))
        raise UsageError(f"{expression} is not an address ({words}); try 0x200010 or $eip") from error
    # -4 and ~15 mean what they mean in 32 bits.
    return checked_address(value & 0xFFFFFFFF if -(1 << 32) <= value < 0 else value)


def symbol(name: str) -> int | None:
    """The address of a symbol of the ELF that gdb has; None without one."""
    try:
        return _address_of(name)
    except gdb.error:
        return None


def _tokens(text: str) -> list[str]:
    found, at = [], 0
    text = text.rstrip()
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            raise ValueError(f"an address is made of {LANGUAGE}; `print` takes any expression, and $ is its result")
        found.append(token["operand"] or token["operator"])
        at = token.end()
    return found


class _Reader:
    """Reads tokens from the front, by precedence climbing."""

    def __init__(self, tokens: list[str]) -> None:
        self._left = tokens

    def whole(self) -> int:
        value = self._binary(0)
        if self._left:
            raise ValueError(f"{self._left[0]} stands where an operator should be; calls and assignments are not made")
        return value

    def _take(self) -> str:
        if not self._left:
            raise ValueError("it ends too early")
        return self._left.pop(0)

    def _binary(self, level: int) -> int:
        if level == len(_BINARY):
            return self._unary()
        value = self._binary(level + 1)
        while self._left and (operate := _BINARY[level].get(self._left[0])) is not None:
            self._take()
            value = operate(value, self._binary(level + 1))
        return value

    def _unary(self) -> int:
        token = self._take()
        if token in _UNARY:
            return _UNARY[token](self._unary())
        if token == "(":
            value = self._binary(0)
            if self._take() != ")":
                raise ValueError("a bracket is not closed")
            return value
        if token == "&" and self._left and _SYMBOL.fullmatch(self._left[0]):
            return _address_of(self._take())
        if not re.fullmatch(_OPERAND, token):
            raise ValueError(f"{token} stands where a value should be")
        return _value_of(token)


def _value_of(operand: str) -> int:
    """Of one operand, which is no more than a word: gdb calls nothing to know it."""
    try:
        value = gdb.parse_and_eval(operand)
        kind = value.type.strip_typedefs()
    except gdb.error:
        # The word at a symbol of which gdb knows no type.
        return int(gdb.parse_and_eval(f"(unsigned long) {operand}"))
    if kind.code in (gdb.TYPE_CODE_FUNC, gdb.TYPE_CODE_ARRAY) and value.address is not None:
        return int(value.address)
    # A register of 32 bits is a signed number to gdb; one of 64 is seen to be too wide.
    return int(value) & (0xFFFFFFFF if kind.sizeof <= 4 else 0xFFFFFFFFFFFFFFFF)


def _address_of(name: str) -> int:
    return int(gdb.parse_and_eval(f"(unsigned long) &{name}"))
