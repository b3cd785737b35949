"""What can an expression ask of the guest? `$bf_module`, `$bf_func`, `$bf_pool`, `$bf_calls`, `$bf_tier`,
`$bf_tensor`.

Records are pointers of their own type where gdb has the kernel's debug information, else plain `void *`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gdb

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BareflowError, UsageError
from bareflow_gdb.foreign import sentence
from bareflow_gdb.gdb_ui.show import in_charset
from bareflow_gdb.guest.base.absent import if_it_has

if TYPE_CHECKING:
    from bareflow_gdb.gdb_ui.session import Session
    from bareflow_gdb.guest.guest import Guest

Answer = Callable[..., gdb.Value]

_MOST_WEIGHTS = 1 << 20
"""That are unpacked at once, in a second or so."""


class _Function(gdb.Function):
    """gdb's side: arguments become text, an error becomes the one sentence of the expression's failure."""

    def __init__(self, name: str, answer: Answer, current: Callable[[], Session]) -> None:
        self.__doc__ = answer.__doc__
        self._name = name
        self._answer = answer
        self._current = current
        super().__init__(name)

    def invoke(self, *arguments: gdb.Value) -> gdb.Value:
        try:
            words = [_plain(argument) for argument in arguments]
            return self._answer(self._current().guest, *words)
        except (BareflowError, gdb.error, TypeError) as error:
            raise gdb.GdbError(in_charset(f"${self._name}: {sentence(str(error))}")) from error


def register(current: Callable[[], Session]) -> None:
    """Makes the functions known to gdb; asking nothing of the guest."""
    for answer in (bf_module, bf_func, bf_pool, bf_calls, bf_tier, bf_tensor):
        _Function(answer.__name__, answer, current)


def _plain(argument: gdb.Value) -> str | int:
    """A text as such, a number or any other pointer as an address."""
    kind = argument.type.strip_typedefs()
    is_number = kind.code == gdb.TYPE_CODE_INT
    if kind.code == gdb.TYPE_CODE_PTR:
        at = kind.target().strip_typedefs()
        is_number = at.code != gdb.TYPE_CODE_INT or at.sizeof != 1
    return int(argument) & 0xFFFFFFFF if is_number else argument.string(errors="replace")


def bf_module(guest: Guest, name: str) -> gdb.Value:
    """The record of a module: $bf_module("primes").

    A pointer to module_profile_t, for example: print $bf_module("primes")->call_count"""
    kernel = guest.kernel()
    modules = kernel.modules().modules
    found = next((module for module in modules if module.name == name), None)
    if found is None:
        raise UsageError(_unknown("module", name, [module.name for module in modules]))
    table, size = kernel.module_table()
    return _record("module_profile_t", table + found.index * size)


def bf_func(guest: Guest, name: str, tier: str = "") -> gdb.Value:
    """Where a JIT function's code begins: $bf_func("primes"), $bf_func("primes", "O2").

    The code that the next call runs, or the newest code of that tier which is still in memory; for example:
    x/8i $bf_func("primes", "O2")"""
    from bareflow_gdb.guest.code.jit_code import code_name_of, named

    wanted = code_name_of(f"{name}@{tier}" if tier else name)
    return _pointer(named(guest.kernel().jit_code, wanted).entry)


def bf_pool(guest: Guest, kind: str) -> gdb.Value:
    """The record of a JIT pool: $bf_pool("CODE"), "DATA" or "METADATA".

    A pointer to memory_pool_t, for example: print *$bf_pool("CODE")"""
    from bareflow_gdb.guest.pools.pools import KINDS

    if kind.lower() not in KINDS:
        raise UsageError(_unknown("pool", kind, [name.upper() for name in KINDS]))
    table = guest.kernel().pool_table()
    return _record("memory_pool_t", table + KINDS.index(kind.lower()) * layouts.size("memory_pool"))


def bf_calls(guest: Guest, name: str) -> gdb.Value:
    """How often a JIT function or a module was called: $bf_calls("primes").

    For example as a condition: break adaptive_jit_call if $bf_calls("primes") > 1000"""
    kernel = guest.kernel()
    functions = kernel.jit().functions
    for function in functions:
        if function.name == name:
            return gdb.Value(function.calls)
    table = if_it_has(kernel.modules)
    modules = table.modules if table is not None else ()
    for module in modules:
        if module.name == name:
            return gdb.Value(module.calls)
    known = dict.fromkeys([*(f.name for f in functions), *(m.name for m in modules)])
    raise UsageError(_unknown("function or module", name, list(known)))


def bf_tier(guest: Guest, address: int) -> gdb.Value:
    """The tier of the JIT code at an address: $bf_tier($pc); -1 where there is none.

    For example as a condition: bf break-swap --when '$bf_tier($eax) == 3'"""
    from bareflow_gdb.guest.code.jit_code import code_at

    if not isinstance(address, int):
        raise UsageError(f"an address is a number, not {address!r}")
    found = code_at(guest.kernel().jit_code(), address)
    return gdb.Value(-1 if found is None else found.level)


def bf_tensor(guest: Guest, name: str, row: int | None = None) -> gdb.Value:
    """The values of a language model's tensor: $bf_tensor("logits"), $bf_tensor("blk.0.attn_q.weight", 5).

    An array of floats, of rows when there are several, or with a number one row of it. Packed weights become the
    numbers that they stand for, as a copy; of very large ones only a row is given."""
    from bareflow_gdb.guest.model.tensors import CACHE, named, read_rows

    kernel = guest.kernel()
    tensor = named(kernel.tensors(), str(name))
    if row is not None and not (isinstance(row, int) and row < tensor.rows):
        raise UsageError(f"{tensor.name} has no row {row}; its rows are 0 to {tensor.rows - 1:,}")
    rows = range(tensor.rows) if row is None else (row,)
    element = gdb.lookup_type({"int16": "short", "int32": "int"}.get(tensor.type, "float"))
    kind = element.array(tensor.columns - 1)
    if row is None and (tensor.rows > 1 or tensor.what == CACHE):
        kind = kind.array(len(rows) - 1)
    if not tensor.is_tiles:
        at = tensor.address + rows[0] * tensor.columns * element.sizeof
        return gdb.Value(at).cast(kind.pointer()).dereference()
    if len(rows) * tensor.columns > _MOST_WEIGHTS:
        raise UsageError(
            f"{tensor.name} has {tensor.rows:,} x {tensor.columns:,} weights, too many to unpack at once; "
            f'give a row, as $bf_tensor("{tensor.name}", 0)'
        )
    return gdb.Value(b"".join(values.tobytes() for values in read_rows(kernel.memory, tensor, rows)), kind)


def _unknown(what: str, name: str, known: list[str]) -> str:
    return f"there is no {what} {name!r}; there is {', '.join(known) or 'none'}"


def _record(type_name: str, address: int) -> gdb.Value:
    try:
        return gdb.Value(address).cast(gdb.lookup_type(type_name).pointer())
    except gdb.error:
        return _pointer(address)


def _pointer(address: int) -> gdb.Value:
    pointer: Any = gdb.lookup_type("void").pointer()
    return gdb.Value(int(address)).cast(pointer)
