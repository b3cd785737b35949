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
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING

from bareflow_gdb.cli.arguments import add_machine, add_sampling, sampling_of
from bareflow_gdb.errors import BareflowError, UsageError
from bareflow_gdb.foreign import printable

if TYPE_CHECKING:
    from bareflow_gdb.guest.model.conversation import Sampling
    from bareflow_gdb.memory.protocol import Memory
    from bareflow_gdb.qemu.machine import Machine

GROUP = "do"
HELP = "talk to the language model that runs in a guest"

TOKENS = 128
_POLL_SECONDS = 0.02
_QUIET_SECONDS = 1.0
"""After so long it is asked whether anything can come."""
_KEPT = "\n\t"
# What is not the model's own: a line, which ends one of the model's that was not at its end.
_TAGS = ("[RECOMPILE]", "[ATOMIC-SWAP]", "[MAILBOX]", "[llama]")
_NOTE = re.compile(rf"\n?((?:{'|'.join(map(re.escape, _TAGS))})[^\n]*)\n")
_SWAP = re.compile(r"\[RECOMPILE\] (.*)")
_END = re.compile(r"\[llama\] (\d+) tokens after \d+: ([^;\n]*); logits CRC (0x\w{8})")
_SPEED = re.compile(r"\[llama\] matmul at ([^:\n]*): \d+ tokens, ([\d.]+) tokens/s")
_LAST = "[llama] tokens:"
_NO_END = "the answer is over, and the serial log does not tell how it ended; `bareflow serial` shows the log"


def configure(parser: argparse.ArgumentParser) -> None:
    add_machine(parser)
    parser.add_argument("--say", metavar="TEXT", help="say this, print the answer, and end")
    parser.add_argument("--tokens", type=int, metavar="N", default=TOKENS, help=f"of an answer, at most ({TOKENS})")
    parser.add_argument("--plain", action="store_true", help="the model goes on from the text, instead of answering it")
    parser.add_argument(
        "--serial", action="store_true", help="type it on COM1, one line, instead of writing it into the guest's memory"
    )
    add_sampling(parser)
    parser.add_argument("--swaps", action="store_true", help="show each swap as it happens, too")
    parser.epilog = (
        "Ctrl-C ends an answer, and not the guest; at the prompt it ends the conversation, as Ctrl-D does. "
        "Without a terminal each line of standard input is said. Exit code 1 when there was no answer. "
        "Example: bareflow chat llama"
    )


def main(options: argparse.Namespace) -> int:
    from bareflow_gdb.cli.targets import open_target

    machine = open_target(options.target).machine
    if machine is None:
        raise UsageError("a conversation needs a running machine; `bareflow list` shows them, `make llama` starts one")
    if options.tokens < 1:
        raise UsageError("an answer has at least 1 token; give --tokens a larger number")
    sampling = sampling_of(options)
    if options.serial and (sampling is not None or options.plain or options.tokens != TOKENS):
        raise UsageError("on COM1 a text is all that can be said; leave out --serial or the other options")
    texts = [options.say] if options.say is not None else _typed()
    answered = [_answer(machine, text, options, sampling) for text in texts if text.strip()]
    return 0 if all(answered) else 1


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


def _answer(machine: Machine, text: str, options: argparse.Namespace, sampling: Sampling | None) -> bool:
    """Was there an answer?"""
    from bareflow_gdb.guest.model import conversation
    from bareflow_gdb.qemu.com1_input import com1_input

    said, notes = [], []
    with closing(machine.memory()) as memory:
        with _interrupting(memory):
            _wait_for_turn(machine, memory)
        begin = machine.serial_path.stat().st_size
        with ExitStack() as line, _interrupting(memory):
            if options.serial:
                line.enter_context(com1_input(machine, _line(text)))
            else:
                conversation.ask(memory, text, options.tokens, chat=not options.plain, sampling=sampling)
            for part, note in _spoken(machine, begin, text, lambda: _is_over(machine, memory)):
                said.append(part)
                notes.append(note)
                swap = _SWAP.fullmatch(note)
                if not options.json:
                    print(part, end="", flush=True)
                if options.swaps and swap:
                    print(f" [{swap[1]}] ", end="", file=sys.stderr, flush=True)
    end = next(filter(None, map(_END.fullmatch, notes)), None)
    if end is None:
        raise BareflowError(_NO_END)
    rates = {speed[1]: float(speed[2]) for speed in filter(None, map(_SPEED.fullmatch, notes))}
    if options.json:
        record = {"text": text, "answer": "".join(said), "tokens": int(end[1]), "end": end[2], "logits_crc": end[3]}
        drawn = {} if sampling is None else {"seed": sampling.seed}
        print(json.dumps({**record, **drawn, "tokens_per_second": rates}))
    else:
        print()
        told = "".join(f"; {rate:,.1f} tokens/s at {where}" for where, rate in rates.items())
        seed = "" if sampling is None else f"; seed {sampling.seed}"
        print(f"({int(end[1]):,} tokens, {end[2]}{told}{seed})", file=sys.stderr)
    return int(end[1]) > 0


def _line(text: str) -> bytes:
    """What is typed on COM1. Raises UsageError."""
    from bareflow_gdb.guest.model.conversation import MOST_TEXT

    data = text.encode()
    if len(data) > MOST_TEXT or any(one < " " or one == "\x7f" for one in text):
        raise UsageError(f"on COM1 one line of at most {MOST_TEXT:,} bytes can be said; leave out --serial")
    return data + b"\n"


def _wait_for_turn(machine: Machine, memory: Memory) -> None:
    """Until the guest has ended the answer that it is at: its first one, or one to somebody else."""
    from bareflow_gdb.guest.model import conversation

    told, began = False, time.monotonic()
    while conversation.is_answering(memory):
        if not told and time.monotonic() - began > _QUIET_SECONDS:
            print("(the guest is still at another answer; Ctrl-C ends that one)", file=sys.stderr, flush=True)
            told = True
        _check_goes_on(machine, memory)
        time.sleep(_POLL_SECONDS)


def _check_goes_on(machine: Machine, memory: Memory) -> None:
    """Raises BareflowError when no answer can come any more."""
    from bareflow_gdb.guest.boot.wait import still
    from bareflow_gdb.guest.standstill import stopped_for_good

    if not machine.alive():
        raise BareflowError(f"machine {machine.name} ended before its answer did; `bareflow list` tells why")
    if why := still(machine) or stopped_for_good(memory):
        raise BareflowError(f"machine {machine.name} answers nothing: {why}")


def _is_over(machine: Machine, memory: Memory) -> bool:
    """Has the guest ended its answer? Raises as `_check_goes_on`."""
    from bareflow_gdb.guest.model import conversation

    _check_goes_on(machine, memory)
    return not conversation.is_answering(memory)


@contextmanager
def _interrupting(memory: Memory) -> Iterator[None]:
    """The first Ctrl-C asks the guest to end its answer, the second one ends the program."""
    from bareflow_gdb.guest.model import conversation

    def interrupted(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        conversation.no_more(memory)

    before = signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _spoken(machine: Machine, begin: int, text: str, is_over: Callable[[], bool]) -> Iterator[tuple[str, str]]:
    """What the model says, as it comes, and the kernel's notes between: from byte `begin` of the serial log on.

    `is_over` is asked when nothing comes for a while. Raises BareflowError when the answer is over without its end.
    """
    echo = f"[llama] > {printable(text, keep=_KEPT)}\n"
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    pending, echoed, last, over = "", False, time.monotonic(), False
    with machine.serial_path.open("rb") as log:
        log.seek(begin)
        while True:
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
            if data:
                last, over = time.monotonic(), False
            elif time.monotonic() - last > _QUIET_SECONDS:
                if over:
                    raise BareflowError(_NO_END)
                # What it said at its end may have come since the log was read.
                over, last = is_over(), time.monotonic()
            time.sleep(_POLL_SECONDS)


def _whole(pending: str) -> int:
    """How much of it is surely the model's, and not the beginning of a note."""
    at = pending.rfind("[")
    if at >= 0 and any(tag.startswith(pending[at:]) or pending[at:].startswith(tag) for tag in _TAGS):
        return at - int(pending[at - 1 : at] == "\n")
    return len(pending) - int(pending.endswith("\n"))
