"""What does the suite know about one connection of gdb? Its machine, memory, guest, and what was set because of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import gdb

from bareflow_gdb.errors import BareflowError, Unreachable, UsageError
from bareflow_gdb.foreign import lines
from bareflow_gdb.gdb_ui import running
from bareflow_gdb.gdb_ui.expression import symbol
from bareflow_gdb.gdb_ui.show import say

if TYPE_CHECKING:
    from bareflow_gdb.gdb_ui.compiler import Compiler
    from bareflow_gdb.gdb_ui.jit_symbols import Attached, JitSymbols
    from bareflow_gdb.gdb_ui.recording import Recording
    from bareflow_gdb.guest.base.values import Address
    from bareflow_gdb.guest.guest import Guest
    from bareflow_gdb.guest.stock.places import Cpu
    from bareflow_gdb.memory.protocol import Memory
    from bareflow_gdb.qemu.machine import Machine


class Followers(Protocol):
    """What stays with JIT functions whose code is swapped: internal breakpoints."""

    def needed(self) -> bool:
        """Is there a breakpoint to follow?"""

    def next_store(self, session: Session) -> tuple[int, int] | None:
        """Slot and entry, when the guest stands before the publishing store."""

    def waiting(self) -> bool:
        """Does one of them wait for its code?"""

    def arm(self, session: Session) -> str:
        """Sets or takes back what is needed now; returns a warning, "" when there is none."""

    def follow(self, session: Session, hit: tuple[gdb.Breakpoint, ...]) -> bool:
        """Moves the symbols at a swap; may the guest go on?"""

    def tidy(self) -> None:
        """Takes back what nothing follows any more."""

    def remove(self) -> None:
        """Takes all of it back."""


class Session:
    """One connection: its machine, its memory, its guest."""

    def __init__(self, connection: gdb.TargetConnection | None, followers: Followers) -> None:
        self.connection = connection
        self.quiet = False
        self.left_running = False
        self._goes_on = False
        self._memory: Memory | None = None
        self._guest: Guest | None = None
        self._jit_symbols: JitSymbols | None = None
        self._symbols_due = False
        self.followers = followers
        self.bound: list[gdb.Breakpoint] = []
        """Breakpoints at addresses of this guest: they go with the connection."""
        self.recording: Recording | None = None
        self._compiler: Compiler | None = None
        self._stock_code: dict[Address, int] = {}
        self.cpu_at_stop: Cpu | None = None
        """The registers, where gdb had them at this stop: no packet is needed for them."""
        self._stale = False
        self._is_compared = True
        """Are the bytes of the memory that was chosen those that gdb sees, as far as that could be known?"""

    def say(self, text: str) -> None:
        """Progress and narration; nothing with --json."""
        if not self.quiet:
            say(lines(text))

    @property
    def running(self) -> bool:
        """Does the guest run in the background, so that gdb itself cannot read it?"""
        # gdb 18 aborts in selected_thread() when the guest went away; a list of threads would cost packets.
        thread = gdb.selected_thread() if gdb.selected_inferior().pid else None
        return thread is not None and bool(thread.is_running())

    def require(self) -> None:
        """Raises Unreachable unless gdb is connected to a guest or has a core."""
        if self.connection is None:
            raise Unreachable("gdb is not connected to a guest; `bf attach` or `target remote` first")
        if self.connection.type not in ("remote", "extended-remote", "core"):
            raise Unreachable(f"gdb debugs a {self.connection.type} program, not a guest; connect with `bf attach`")
        if not gdb.selected_inferior().pid:
            raise Unreachable("the guest is gone; connect again with `bf attach` or `target remote`")
        if self.machine is not None and not self.machine.alive():
            raise Unreachable(f"QEMU of machine {self.machine.name} has ended; `disconnect`, then attach again")

    def require_live(self) -> None:
        """Raises Unreachable or UsageError unless there is a guest that can run."""
        self.require()
        if self.connection is not None and self.connection.type == "core":
            raise UsageError("a core does not run; this needs a live guest")

    def require_stopped(self) -> None:
        """Raises Unreachable or UsageError unless there is a guest that is stopped and can run."""
        self.require_live()
        if self.running:
            raise UsageError("the guest is running; stop it first with `interrupt`, then ask again")

    def require_machine(self, purpose: str = "this") -> Machine:
        """The machine behind this connection; raises UsageError that says what it is needed for."""
        self.require()
        if self.machine is None:
            raise UsageError(f"{purpose} needs a machine started by `bareflow run`; this guest was started otherwise")
        return self.machine

    @cached_property
    def machine(self) -> Machine | None:
        """The machine of `bareflow run` behind this connection; None when QEMU was started otherwise."""
        return _machine_behind(self.connection)

    @property
    def memory(self) -> Memory:
        """QEMU's RAM when it is this guest's, else gdb's own reads. Raises Unreachable."""
        self.require()
        if self._memory is None:
            self._memory = self._choose_memory()
        return self._memory

    def _choose_memory(self) -> Memory:
        from bareflow_gdb.memory.choose import choose
        from bareflow_gdb.memory.inferior import InferiorMemory

        inferior = InferiorMemory()
        machine = self.machine
        if machine is None:
            return inferior
        if not self.running:
            return choose(inferior, machine.memory)
        try:
            # gdb cannot read a running guest to compare.
            return machine.memory()
        except BareflowError:
            return inferior

    @property
    def guest(self) -> Guest:
        """The guest, attached to at the first question. Raises BareflowError."""
        memory = self.memory
        if self.running and not self.reads_freely:
            raise Unreachable("the guest runs, and its RAM can be read only while it is stopped: `interrupt` first")
        if self._guest is None:
            from bareflow_gdb.guest.base.find import ROOT_SYMBOL
            from bareflow_gdb.guest.guest import Guest
            from bareflow_gdb.guest.stock.places import SYMBOLS

            known = {name: symbol(name) for name in (ROOT_SYMBOL, *SYMBOLS)}
            symbols = {name: address for name, address in known.items() if address is not None}
            self._guest = Guest.attach(memory, symbols, _gdbs_elf, self._guesses, self.say)
            self._guest.places.cpu = self._cpu
            if self.machine is not None:
                self._guest.serial_log = self.machine.serial
            self._compare_elf(self._guest)
        return self._guest

    def _guesses(self, _: str) -> Iterable[Path]:
        """The kernel's ELF may lie beside the machine's image."""
        from bareflow_gdb.guest.names.elf import beside

        return beside(self.machine.image) if self.machine is not None else ()

    def _cpu(self) -> Cpu | None:
        """What the registers say at this stop; None while the guest runs. One packet, where they are not known.

        Not through a frame: that could run an unwinder, and this may be asked for by one.
        """
        if self.cpu_at_stop is not None:
            return self.cpu_at_stop
        from bareflow_gdb.guest.stock.places import cpu_of_packet

        if self.running or not isinstance(self.connection, gdb.RemoteTargetConnection):
            return None
        try:
            return cpu_of_packet(self.connection.send_packet("g") or b"")
        except gdb.error:
            return None

    def _compare_elf(self, guest: Guest) -> None:
        """Says so when gdb has the ELF of another kernel: its symbols and lines would mislead."""
        from bareflow_gdb.guest.stock.kernel import looks_stock

        name = gdb.current_progspace().filename
        if not name:
            return
        if not guest.found_by:
            # Without a build id the code itself is compared.
            if looks_stock(guest.memory):
                guest.elf.symbols()
            return
        loaded = next((item.build_id for item in gdb.objfiles() if item.filename == name), None)
        running = guest.root().build_id
        if loaded and loaded != running:
            guest.elf.refuse(
                Path(name),
                f"{name} is not this guest's kernel (build {loaded[:12]}, the guest is {running[:12]}): "
                "load the right one with `file`",
            )

    def update_symbols(self) -> bool:
        """Attaches names and lines of published JIT code, and removes those of replaced versions.

        Code that the next instruction publishes counts as published. gdb takes no symbols while the guest runs:
        then False, and the next command at a stop does it. Without JIT code there is nothing to do.
        """
        self._symbols_due = self.running
        if self._symbols_due:
            return False
        from bareflow_gdb.gdb_ui.jit_symbols import JitSymbols
        from bareflow_gdb.guest.code.jit_code import after_store

        self._jit_symbols = self._jit_symbols or JitSymbols()
        try:
            codes = self.guest.kernel().jit_code()
        except BareflowError:
            codes = ()
        # The frames of this stop may have been found without knowing of the code.
        self.stale()
        gdb.invalidate_cached_frames()
        if codes and (store := self.followers.next_store(self)) is not None:
            codes = after_store(codes, *store)
        self._jit_symbols.sync(codes, [self.machine.directory] if self.machine is not None else [])
        return True

    @property
    def stock_code(self) -> dict[Address, int]:
        """Bytes of JIT code by address, of a stock kernel whose records are known and cost no packet to read."""
        if not self._stock_code:
            from bareflow_gdb.guest.stock.records import known_code

            # Without records there is nothing to read, and the next command may find them.
            self._stock_code = {}
            if self._guest is not None and not self._guest.found_by and self.reads_freely:
                with contextlib.suppress(BareflowError):
                    self._stock_code = known_code(self._guest.memory, self._guest.places)
        return self._stock_code

    def stale(self) -> None:
        """The guest has run, or its memory was written. Nothing is read for that."""
        self._stock_code = {}
        self.cpu_at_stop = None
        self._stale = True

    def refresh_if_stale(self) -> None:
        """Drops what was read before that."""
        if self._stale:
            self._stale = False
            self.refresh()

    def attached_symbols(self) -> tuple[Attached, ...]:
        """The versions that gdb has names of."""
        return self._jit_symbols.attached if self._jit_symbols is not None else ()

    def detach_symbols(self) -> tuple[Attached, ...]:
        """Takes all names of JIT code from gdb."""
        if self._jit_symbols is not None:
            self._jit_symbols.detach_all()
        return self.attached_symbols()

    def catch_up(self) -> None:
        """What had to wait for a stop is done now, if the guest is stopped."""
        if self.running or self.connection is None or not gdb.selected_inferior().pid:
            return
        followed = self.followers.needed()
        if self._symbols_due or (self.reads_freely and (followed or self.attached_symbols())):
            self.update_symbols()
        if followed:
            self.followers.arm(self)

    def look_again(self) -> None:
        """Names that breakpoints wait for, after a stop at which no command of the suite was given; no packet."""
        if self._stale and self.reads_freely and not self.running and self.followers.waiting():
            self.refresh_if_stale()
            with contextlib.suppress(BareflowError, gdb.error):
                self.update_symbols()

    @property
    def reads_freely(self) -> bool:
        """Has a memory been chosen that costs no packet?"""
        if self._memory is None:
            return False
        from bareflow_gdb.memory.inferior import InferiorMemory

        return not isinstance(self._memory, InferiorMemory)

    def open_freely(self) -> None:
        """Chooses the RAM of the machine behind this connection, without a packet, unless a memory is chosen."""
        if self._memory is None and self.machine is not None:
            with contextlib.suppress(BareflowError):
                self._memory = self.machine.memory()
                self._is_compared = False

    def compare_memory(self) -> None:
        """RAM that was chosen without a packet is compared, now that something is asked: else gdb reads. 1 packet."""
        if self._is_compared or self.running or self._memory is None:
            return
        from bareflow_gdb.memory.choose import same_bytes
        from bareflow_gdb.memory.inferior import InferiorMemory

        with contextlib.suppress(BareflowError):
            inferior = InferiorMemory()
            self._is_compared = True
            if not same_bytes(self._memory, inferior):
                self._close()
                self._memory = inferior

    def refresh(self) -> None:
        """Drops what was read before the last stop."""
        if self._memory is not None:
            self._memory.invalidate()

    def go_on(self) -> None:
        """The guest runs on once this command's answer is shown."""
        self._goes_on = True

    def let_go(self, *, foreground: bool) -> None:
        """Lets the guest run, if the command asked for that.

        In the foreground Ctrl-C stops it. In the background gdb takes the next command, and it is remembered that it
        was not the user who let the guest run.
        """
        if not self._goes_on:
            return
        self._goes_on = False
        self.say(f"the guest goes on; {'Ctrl-C' if foreground else '`interrupt`'} stops it")
        if foreground:
            running.go_on_in_front()
        else:
            running.go_on()
            self.left_running = True

    def forget(self) -> None:
        """The connection is gone: what gdb was told because of it goes too."""
        self.followers.remove()
        for breakpoint in self.bound:
            if breakpoint.is_valid():
                breakpoint.delete()
        self.bound.clear()
        self.detach_symbols()
        self.end_recording()
        if self._compiler is not None:
            self._compiler.end()
        self._close()

    def _close(self) -> None:
        """Gives back what the connection held open: the guest's RAM, the children's pipes."""
        from bareflow_gdb.memory.qemu_ram import QemuRam

        if isinstance(self._memory, QemuRam):
            self._memory.close()
        self._memory = self._guest = self._jit_symbols = self._compiler = None

    def compiler(self, machine: Machine) -> Compiler:
        """The host's compiler for this machine, warm when it was asked before."""
        from bareflow_gdb.gdb_ui.compiler import Compiler

        if self._compiler is None or not self._compiler.alive:
            self._compiler = Compiler(machine.name)
        return self._compiler

    def end_recording(self) -> None:
        """Tells the recorder to complete its trace, without waiting for that."""
        if self.recording is not None:
            self.recording.process.terminate()
            self.recording = None


def _gdbs_elf() -> Iterable[Path]:
    """The file that the user gave gdb."""
    loaded = gdb.current_progspace().filename
    return (Path(loaded),) if loaded else ()


def _machine_behind(connection: gdb.TargetConnection | None) -> Machine | None:
    details = getattr(connection, "details", None)
    if not details:
        return None
    from bareflow_gdb.qemu.machine import Machine

    return next((machine for machine in Machine.all() if _same_socket(machine, str(details))), None)


def _same_socket(machine: Machine, details: str) -> bool:
    try:
        return Path(details).samefile(machine.gdb_socket)
    except OSError:
        return False
