"""How is one QMP command sent? A synchronous wrapper around qemu.qmp, one short connection per call.

QEMU's QMP socket serves one client at a time, so that a connection kept open would lock out `bareflow stop`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bareflow_gdb.errors import BareflowError, Unreachable

Command = tuple[str, Mapping[str, Any]]

CONNECT_SECONDS = 30.0
COMMAND_SECONDS = 120.0


def execute(socket: Path, commands: Sequence[Command], *, who: str) -> list[Any]:
    """The answers to `commands`, in order; `who` names the machine in errors.

    Raises Unreachable when QEMU is not there or goes away, BareflowError when it refuses a command.
    """
    # Not at the top: gdb imports this file, and asyncio costs it 20 ms that few commands need.
    import asyncio

    return asyncio.run(_execute(socket, commands, who))


async def _execute(socket: Path, commands: Sequence[Command], who: str) -> list[Any]:
    import asyncio

    from qemu.qmp import ConnectError, ExecInterruptedError, ExecuteError, QMPClient, QMPError

    # qemu.qmp logs each failure to stderr before it raises it; the caller gets one sentence instead.
    logging.getLogger("qemu.qmp").addHandler(logging.NullHandler())
    logging.getLogger("qemu.qmp").propagate = False
    client = QMPClient(who)
    name = "connect"
    try:
        await asyncio.wait_for(client.connect(str(socket)), CONNECT_SECONDS)
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
        raise BareflowError(f"{who}: QEMU refused {name}: {error}") from error
    except (ExecInterruptedError, QMPError, EOFError, OSError, ValueError, RecursionError) as error:
        raise Unreachable(f"{who}: QEMU went away during QMP {name}; its messages are in qemu.log") from error
    finally:
        # The connection is what is being given up; what broke it was reported by the command.
        with suppress(QMPError, EOFError, OSError, ValueError, RecursionError):
            await asyncio.wait_for(client.disconnect(), CONNECT_SECONDS)
