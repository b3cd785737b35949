"""`bareflow chat`: talk to a language model that runs in a guest."""

from __future__ import annotations

import argparse
import codecs
import json
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bareflow_gdb.cli.arguments import add_machine
from bareflow_gdb.errors import BareflowError, UsageError
from bareflow_gdb.foreign import printable

if TYPE_CHECKING:
    from bareflow_gdb.qemu.machine import Machine

GROUP = "do"
HELP = "talk to the language model that runs in a guest"

TOKENS = 128
_POLL_SECONDS = 0.02
_KEPT = "\n\t"
# What is not the model's own: a line, which ends one of the model's that was not at its end.
_TAGS = ("[RECOMPILE]", "[ATOMIC-SWAP]", "[MAILBOX]", "[llama]")
_NOTE = re.compile(rf"\n?((?:{'|'.join(map(re.escape, _TAGS))})[^\n]*)\n")
_SWAP = re.compile(r"\[RECOMPILE\] (.*)")
_END = re.compile(r"\[llama\] (\d+) tokens after \d+: ([^;\n]*); logits CRC (0x\w{8})")
_SPEED = re.compile(r"\[llama\] matmul at ([^:\n]*): \d+ tokens, ([\d.]+) tokens/s")
_LAST = "[llama] tokens:"


def configure(parser: argparse.ArgumentParser) -> None:
    add_machine(parser)
    parser.add_argument("--say", metavar="TEXT", help="say this, print the answer, and end")
    parser.add_argument("--tokens", type=int, metavar="N", default=TOKENS, help=f"of an answer, at most ({TOKENS})")
    parser.add_argument("--plain", action="store_true", help="the model goes on from the text, instead of answering it")
    parser.add_argument("--swaps", action="store_true", help="show each swap as it happens, too")
    parser.epilog = (
        "Ctrl-C ends an answer, and not the guest; at the prompt it ends the conversation, as Ctrl-D does. "
        "Without a terminal each line of standard input is said. Example: bareflow chat llama"
    )


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.cli.targets import open_target
    from bareflow_gdb.guest.boot.wait import still

    machine = open_target(options.target).machine
    if machine is None:
        raise UsageError("a conversation needs a running machine; `bareflow list` shows them, `make llama` starts one")
    if options.tokens < 1:
        raise UsageError("an answer has at least 1 token; give --tokens a larger number")
    if why := still(machine):
        raise BareflowError(f"machine {machine.name} stands still: {why}")
    for text in [options.say] if options.say is not None else _typed():
        if text.strip():
            _answer(machine, text, options)
    return 0


def _typed() -> Iterator[str]:
    """The lines that a person types, or a program gives."""
    asking = sys.stdin.isatty()
    if asking:
        # For editing the line.
        import readline  # noqa: F401
    while True:
        try:
            yield input("> " if asking else "")
        except (EOFError, KeyboardInterrupt):
            if asking:
                print()
            return


def _answer(machine: Machine, text: str, options: argparse.Namespace) -> None:
    from bareflow_gdb.guest.machine import conversation

    memory = machine.memory()
    begin = machine.serial_path.stat().st_size
    conversation.ask(memory, text, options.tokens, chat=not options.plain)
    said, notes = [], []
    with _interrupting(lambda: conversation.no_more(memory)):
        for part, note in _spoken(machine, begin, text):
            said.append(part)
            notes.append(note)
            swap = _SWAP.fullmatch(note)
            if not options.json:
                print(part, end="", flush=True)
            if options.swaps and swap:
                print(f" [{swap[1]}] ", end="", file=sys.stderr, flush=True)
    end = next(filter(None, map(_END.fullmatch, notes)), None)
    if end is None:
        raise BareflowError(f"machine {machine.name} ended before its answer did; `bareflow list` tells why")
    rates = {speed[1]: float(speed[2]) for speed in filter(None, map(_SPEED.fullmatch, notes))}
    if options.json:
        record = {"text": text, "answer": "".join(said), "tokens": int(end[1]), "end": end[2], "logits_crc": end[3]}
        print(json.dumps({**record, "tokens_per_second": rates}))
        return
    print()
    told = "".join(f"; {rate:,.1f} tokens/s at {where}" for where, rate in rates.items())
    print(f"({int(end[1]):,} tokens, {end[2]}{told})", file=sys.stderr)


@contextmanager
def _interrupting(no_more: Callable[[], None]) -> Iterator[None]:
    """The first Ctrl-C asks the guest to end its answer, the second one ends the program."""

    def interrupted(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        no_more()

    before = signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _spoken(machine: Machine, begin: int, text: str) -> Iterator[tuple[str, str]]:
    """What the model says, as it comes, and the kernel's notes between: from byte `begin` of the serial log on."""
    echo = f"[llama] > {printable(text, keep=_KEPT)}\n"
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    pending, echoed = "", False
    with machine.serial_path.open("rb") as log:
        log.seek(begin)
        while True:
            going = machine.alive()
            data = log.read()
            pending += printable(decoder.decode(data).replace("\r", ""), keep=_KEPT)
            if not echoed and echo in pending:
                pending, echoed = pending.partition(echo)[2], True
            while echoed and (found := _NOTE.search(pending)):
                yield pending[: found.start()], found[1]
                if found[1].startswith(_LAST):
                    return
                pending = pending[found.end() :]
            if echoed:
                whole = _whole(pending)
                yield pending[:whole], ""
                pending = pending[whole:]
            if not data:
                if not going:
                    return
                time.sleep(_POLL_SECONDS)


def _whole(pending: str) -> int:
    """How much of it is surely the model's, and not the beginning of a note."""
    at = pending.rfind("[")
    if at >= 0 and any(tag.startswith(pending[at:]) or pending[at:].startswith(tag) for tag in _TAGS):
        return at - int(pending[at - 1 : at] == "\n")
    return len(pending) - int(pending.endswith("\n"))
