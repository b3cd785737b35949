"""How is one QMP command sent? A synchronous wrapper around qemu.qmp, one short connection per call.

QEMU's QMP socket serves one client at a time, so that a connection kept open would lock out `bareflow stop`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bareflow_gdb.errors import BareflowError, Unreachable

if TYPE_CHECKING:
    from qemu.qmp import QMPClient

Command = tuple[str, Mapping[str, Any]]

CONNECT_SECONDS = 30.0
COMMAND_SECONDS = 120.0
# QEMU sends a STOP or RESUME of a guest that gdb steps to whoever is connecting, before its own greeting or in place
# of the first answer; qemu.qmp gives such a session up. A few in a hundred are lost so while gdb single-steps.
GREETING_ATTEMPTS = 8


class Refused(BareflowError):
    """QEMU's own word for why it does not do what it was asked."""


def execute(socket: Path, commands: Sequence[Command], *, who: str) -> list[Any]:
    """The answers to `commands`, in order; `who` names the machine in errors.

    Raises Unreachable when QEMU is not there or goes away, Refused when it refuses a command.
    """
    # Not at the top: gdb imports this file, and asyncio costs it 20 ms that few commands need.
    import asyncio

    return asyncio.run(_execute(socket, commands, who))


async def _execute(socket: Path, commands: Sequence[Command], who: str) -> list[Any]:
    import asyncio

    from qemu.qmp import ConnectError, ExecInterruptedError, ExecuteError, QMPError

    # qemu.qmp asserts what a QEMU that dies in mid-connection does not keep to.
    broken = (QMPError, EOFError, OSError, ValueError, RecursionError, AssertionError)
    # qemu.qmp logs each failure to stderr before it raises it; the caller gets one sentence instead.
    logging.getLogger("qemu.qmp").addHandler(logging.NullHandler())
    logging.getLogger("qemu.qmp").propagate = False
    # So does asyncio with what a task of qemu.qmp raised after its session was given up.
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _what: None)
    client = None
    name = "connect"
    try:
        client = await asyncio.wait_for(_connected(socket, who), CONNECT_SECONDS)
        answers = []
        for name, arguments in commands:
            answers.append(await asyncio.wait_for(client.execute(name, dict(arguments)), COMMAND_SECONDS))
        return answers
    except ConnectError as error:
        raise Unreachable(f"{who}: QEMU does not answer on {socket}; look at `bareflow list`") from error
    except TimeoutError as error:
        hint = "is another program connected to it?" if name == "connect" else "is QEMU stuck?"
        raise Unreachable(f"{who}: no answer to QMP {name} on {socket}; {hint}") from error
    except ExecuteError as error:
        raise Refused(f"{who}: QEMU refused {name}: {error}") from error
    except (ExecInterruptedError, *broken) as error:
        raise Unreachable(f"{who}: QEMU went away during QMP {name}; its messages are in qemu.log") from error
    finally:
        # The connection is what is being given up; what broke it was reported by the command.
        with suppress(*broken):
            if client is not None:
                await _hung_up(client)


async def _hung_up(client: QMPClient) -> None:
    """Ends a session. On a busy host qemu.qmp may raise that its own tasks were cancelled, which they were to be."""
    import asyncio

    try:
        await asyncio.wait_for(client.disconnect(), CONNECT_SECONDS)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            # It is this program that ends.
            raise


async def _connected(socket: Path, who: str) -> QMPClient:
    """A client that has been greeted. Raises qemu.qmp's ConnectError."""
    from qemu.qmp import ConnectError, QMPClient
    from qemu.qmp.qmp_client import GreetingError, NegotiationError

    attempts_left = GREETING_ATTEMPTS
    while True:
        client = QMPClient(who)
        attempts_left -= 1
        try:
            await client.connect(str(socket))
            return client
        except ConnectError as error:
            if not attempts_left or not isinstance(error.exc, GreetingError | NegotiationError):
                raise
