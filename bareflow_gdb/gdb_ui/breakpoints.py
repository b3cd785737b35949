"""How does a breakpoint stay with a function whose code is swapped, or does not exist yet?

A breakpoint on `primes@O3` is an ordinary one by symbol name: gdb itself moves it when the symbol moves, keeps
it pending without one, lists and deletes it. What moves the symbol is a follower: an internal breakpoint on
the publishing store (on kernels where that is inlined: watchpoints on the code pointers). Its stop() reads one
register. When a followed function is swapped, gdb really stops, and the follower's breakpoint commands attach
the new symbols and continue: in stop() itself gdb permits no change of breakpoints. A `finish` or `next` during
which that happens goes on as `continue`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import gdb

from bareflow_gdb.errors import BareflowError, UsageError
from bareflow_gdb.foreign import is_plain
from bareflow_gdb.gdb_ui import running
from bareflow_gdb.gdb_ui.dap import quiet_server
from bareflow_gdb.gdb_ui.expression import symbol
from bareflow_gdb.gdb_ui.jit_symbols import ANY_TIER
from bareflow_gdb.gdb_ui.show import in_charset
from bareflow_gdb.gdb_ui.slots import store_if_known
from bareflow_gdb.guest.base.reading import read_word

if TYPE_CHECKING:
    from collections.abc import Callable

    from bareflow_gdb.gdb_ui.session import Session

_LOCATION = re.compile(r"-function (?P<function>[^@ ]+)@(?P<tier>O[0-3]|jit)\b")
REGISTER = "adaptive_jit_register_function"

_COMMANDS = "silent\nif $_bf_follow()\ncontinue\nend"


def jit_location(name: str) -> str:
    """`jit:primes@O3` as the symbol primes@O3, `jit:primes` as primes@jit; raises UsageError."""
    from bareflow_gdb.guest.code.jit_code import code_name_of

    wanted = code_name_of(name)
    if wanted.version is not None:
        raise UsageError(f"a breakpoint follows a function or a tier; leave #{wanted.version} out")
    if not is_plain(wanted.function):
        raise UsageError(f"{wanted.function!r} is not a name that gdb can break at; `break *ADDRESS` stops at its code")
    return f"{wanted.function}@{ANY_TIER if wanted.level is None else f'O{wanted.level}'}"


def followed() -> dict[str, set[str]]:
    """The functions that the user's breakpoints follow, with the tiers they name."""
    found: dict[str, set[str]] = {}
    for breakpoint in gdb.breakpoints():
        location = _LOCATION.search(getattr(breakpoint, "location", None) or "")
        if location is not None and breakpoint.is_valid():
            found.setdefault(location["function"], set()).add(location["tier"])
    return found


class _Follower(gdb.Breakpoint):
    """Internal; stops the guest where symbols have to move."""

    def __init__(self, place: str, watch: bool = False) -> None:
        if watch:
            super().__init__(place, gdb.BP_WATCHPOINT, gdb.WP_WRITE, internal=True)
        else:
            super().__init__(place, internal=True)
        quiet_server.passing.add(self.number)
        self.silent = True
        self.commands = _COMMANDS


class _AtStore(_Follower):
    """On the publishing store: EDX is the address of the code pointer."""

    slots: frozenset[int] | None = None
    """None: a followed function is not registered yet, so every swap matters."""

    def stop(self) -> bool:
        return self.slots is None or running.read_register("edx") in self.slots


class Followers:
    """The internal breakpoints of one connection; none unless a breakpoint follows a JIT function."""

    def __init__(self) -> None:
        self._all: list[_Follower] = []
        self._store = 0
        self._key: Any = None

    def needed(self) -> bool:
        """Is there anything to set or to remove?"""
        return bool(self._all or followed())

    def next_store(self, session: Session) -> tuple[int, int] | None:
        """Slot and entry, when the guest stands before the publishing store."""
        if running.program_counter() != store_if_known(session):
            return None
        return running.read_register("edx"), running.read_register("eax")

    def waiting(self) -> bool:
        """Does a breakpoint have no code yet?"""
        return any(
            item.is_valid() and item.pending and _LOCATION.search(item.location or "") for item in gdb.breakpoints()
        )

    def arm(self, session: Session) -> str:
        """Sets and removes internal breakpoints as the user's breakpoints need; returns what cannot be done."""
        functions = frozenset(followed())
        if not functions:
            self.remove()
            return ""
        slots = _slots(session)
        missing = functions - slots.keys()
        wanted = frozenset(slots[name] for name in functions - missing)
        key = (functions, wanted, bool(missing))
        if key == self._key and all(item.is_valid() for item in self._all):
            return ""
        self.remove()
        warning = self._set(session, wanted, bool(missing))
        self._key = key
        return warning

    def _set(self, session: Session, slots: frozenset[int], missing: bool) -> str:
        self._store = store_if_known(session)
        if self._store:
            at_store = _AtStore(f"*0x{self._store:x}")
            at_store.slots = None if missing else slots
            self._all.append(at_store)
        else:
            self._all += [_Follower(f"*(unsigned int *) 0x{slot:x}", watch=True) for slot in slots]
        if not missing:
            return ""
        register = symbol(REGISTER)
        if register is not None:
            self._all.append(_Follower(f"*0x{register:x}"))
            return ""
        if self._store:
            return "its first code is not seen, without the kernel's ELF: only what is swapped in later"
        raise BareflowError(
            "gdb cannot tell when the function is registered: load the kernel's ELF that has symbols with `file`, or "
            "ask again when `bf jit` lists the function"
        )

    def follow(self, session: Session, hit: tuple[gdb.Breakpoint, ...]) -> bool:
        """At a follower's stop: the symbols move. False when the guest has to remain stopped."""
        alone = all(item in self._all for item in hit)
        pc = int(gdb.selected_frame().pc())
        if pc == symbol(REGISTER):
            # The code is made inside: its caller is where it can be seen.
            back = read_word(session.memory, running.read_register("esp"), "return address")
            self._all.append(_Follower(f"*0x{back:x}"))
        else:
            session.update_symbols()
            if pc != self._store:
                self.arm(session)
        return alone

    def tidy(self) -> None:
        """The user may have deleted the last JIT breakpoint."""
        if self._all and not followed():
            self.remove()

    def remove(self) -> None:
        """Takes the internal breakpoints back."""
        for item in self._all:
            if item.is_valid():
                item.delete()
        self._all = []
        self._key = None


def _slots(session: Session) -> dict[str, int]:
    """Code pointers by function; empty before the kernel is up."""
    try:
        return {name: int(slot) for name, slot in session.guest.kernel().slots().items()}
    except BareflowError:
        return {}


class FollowFunction(gdb.Function):
    """Whether the guest goes on after a swap that a JIT breakpoint follows; for the suite's own use."""

    def __init__(self, current: Callable[[], Session]) -> None:
        super().__init__("_bf_follow")
        self._current = current
        self._hit: tuple[gdb.Breakpoint, ...] = ()

    def connect(self) -> None:
        """Hooks up what it has to know of."""
        gdb.events.stop.connect(self._note)
        running.interceptor.asked = self._asked

    def disconnect(self) -> None:
        """Unhooks it."""
        gdb.events.stop.disconnect(self._note)
        running.interceptor.asked = None

    def invoke(self) -> bool:
        # During a command's own resume that command decides, after it has asked here.
        return not running.interceptor.active and self._follow(self._hit)

    def _asked(self, stop: running.Stop) -> bool:
        return any(isinstance(item, _Follower) for item in stop.breakpoints) and self._follow(stop.breakpoints)

    def _follow(self, hit: tuple[gdb.Breakpoint, ...]) -> bool:
        goes_on = False
        try:
            session = self._current()
            goes_on = session.followers.follow(session, hit)
        except BareflowError as error:
            raise gdb.GdbError(in_charset(f"a JIT breakpoint cannot follow its function: {error}")) from error
        finally:
            if not goes_on:
                quiet_server.tell()
        return goes_on

    def _note(self, event: Any) -> None:
        # Runs at every stop: it only keeps what gdb tells.
        self._hit = tuple(getattr(event, "breakpoints", ()))
