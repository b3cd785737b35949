"""LLVM's worker, or the service that answers a guest's requests, is killed."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.code.mailbox import MailSlot, read_mailbox
from bareflow_gdb.qemu.machine import Machine
from bareflow_gdb.recompile import mailbox
from bareflow_gdb.recompile.service import Service
from soak.fault import Fault
from soak.place import SECONDS, Program, no_traceback, until

FUNCTIONS = ("primes", "sum", "fibonacci", "compute")
WORKER = b"bareflow_gdb.recompile.worker"


def workers_of(pid: int) -> list[int]:
    """LLVM's processes of this `serve`: those whose command line names it, also when it has ended."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if WORKER in words and words[words.index(WORKER) + 1] == str(pid).encode():
            found.append(int(process.name))
    return found


class _Serving(Fault):
    """One idle machine for all rounds, and in each a `serve` that has compiled nothing before."""

    _machine: Machine | None = None

    def machine(self) -> Machine:
        if self._machine is None:
            self._machine = self.place.machine(kept=self.kept)
        return self._machine

    def serve(self) -> Program:
        cache = self.place.new("cache")
        program = self.place.start("serve", self.machine().name, XDG_CACHE_HOME=str(cache))
        until(lambda: "Ctrl-C ends it" in program.said().err, "the service")
        return program

    def slot(self, service: Service, name: str) -> MailSlot:
        service.memory.invalidate()
        functions = service.functions()
        return read_mailbox(service.memory, service.root, functions).slots[service.find(name).index]

    def ask(self, service: Service, name: str, level: int) -> None:
        """As the guest does when a function is hot."""
        doorbell = service.root.mailbox + layouts.offset("bf_mailbox", "doorbell")
        mailbox.ask(service.memory, self.slot(service, name), doorbell, level)


class WorkerKilled(_Serving):
    name: ClassVar = "worker killed"
    broken: ClassVar = "LLVM's process under `serve` is killed in the midst of a compilation or about then"
    holds: ClassVar = "the request is answered, with new code or with the reason why not; the next one gets its code"
    cheap: ClassVar = True
    weight: ClassVar = 8

    def once(self, chance: random.Random) -> str:
        program = self.serve()
        machine = self.machine()
        [worker] = until(lambda: workers_of(program.pid), "the worker")
        name, level = chance.choice(FUNCTIONS), chance.choice((2, 3))
        with Service(machine.memory(), machine.directory) as asker:
            assert not asker.serving
            in_midst = chance.random() < 0.6
            before = self.slot(asker, name).request
            if in_midst:
                os.kill(worker, signal.SIGSTOP)
            self.ask(asker, name, level)
            if in_midst:
                until(lambda: self.slot(asker, name).state == "compiling", "the compilation")
            time.sleep(0.1 * chance.random())
            os.kill(worker, signal.SIGKILL)
            until(lambda: self._is_done(asker, name, before), "the answer")
            answered = self.slot(asker, name).done_state
            until(lambda: name in program.said().out, "the answer's words")
            said = program.said()
            if in_midst:
                assert answered == "rejected" and "LLVM died by signal 9" in said.out and "ask again" in said.out, said
            other = chance.choice(FUNCTIONS)
            assert asker.request(other, 3, SECONDS).correct
            assert not asker.serving
        no_traceback(program.said())
        assert not program.ended
        program.send(signal.SIGINT)
        assert program.result().code == 0
        assert not workers_of(program.pid)
        return "the compilation in hand" if answered == "rejected" else ""

    def _is_done(self, service: Service, name: str, before: int) -> bool:
        slot = self.slot(service, name)
        return slot.request != before and slot.state == "idle"


class ServiceKilled(_Serving):
    name: ClassVar = "service killed"
    broken: ClassVar = "`serve` is killed while the guest waits for code"
    holds: ClassVar = "its workers end with it; whoever serves next answers that request too, and the next ones"
    cheap: ClassVar = True
    weight: ClassVar = 8

    def once(self, chance: random.Random) -> str:
        program = self.serve()
        machine = self.machine()
        name, level = chance.choice(FUNCTIONS), chance.choice((2, 3))
        with Service(machine.memory(), machine.directory) as asker:
            before = self.slot(asker, name).request
            stopped = workers_of(program.pid) if chance.random() < 0.5 else []
            for worker in stopped:
                os.kill(worker, signal.SIGSTOP)
            self.ask(asker, name, level)
            if stopped:
                until(lambda: self.slot(asker, name).state == "compiling", "the compilation")
            time.sleep(0.1 * chance.random())
            program.kill()
            for worker in stopped:
                # One that was stopped before it asked to end with its parent sees that for itself.
                with suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGCONT)
            until(lambda: not workers_of(program.pid), "the end of its workers")
            if chance.random() < 0.5:
                # Who asks takes the work over.
                assert asker.request("primes", 3, SECONDS).correct
                assert asker.serving
        with Service(machine.memory(), machine.directory) as watching:
            if watching.serving:
                watching.close()
            heir = self.serve()
            until(lambda: self._is_done(watching, name, before), "the request that was left")
            assert self.slot(watching, name).done_state == "installed", heir.said()
        with Service(machine.memory(), machine.directory) as asker:
            assert not asker.serving
            assert asker.request(chance.choice(FUNCTIONS), 3, SECONDS).correct
        no_traceback(heir.said())
        heir.send(signal.SIGINT)
        assert heir.result().code == 0
        return ""

    def _is_done(self, service: Service, name: str, before: int) -> bool:
        slot = self.slot(service, name)
        return slot.request != before and slot.state == "idle"
