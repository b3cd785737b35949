"""`bf break-layer`: stop a language model where it enters a layer, or before a kernel of that layer."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from bareflow_gdb.errors import BareflowError, UsageError
from bareflow_gdb.gdb_ui.command import command
from bareflow_gdb.gdb_ui.kernel_hook import stop_before
from bareflow_gdb.gdb_ui.session import Session
from bareflow_gdb.questions.question import FUNCTIONS, argument


@dataclass(frozen=True)
class LayerBreakpoint:
    """What was set."""

    number: int
    layer: int
    kernel: str
    """"" = the layer's first one."""


@command(
    "break-layer",
    needs=Session.require_stopped,
    example="bf break-layer 2 attention",
    arguments=(
        argument("layer", type=int, metavar="N", help="the layer, from 0 on"),
        argument("kernel", nargs="?", metavar="KERNEL", names=FUNCTIONS, help="before each call of this kernel in it"),
    ),
    show=lambda record: (
        f"breakpoint {record.number} stops at {f'{record.kernel} in ' if record.kernel else 'the entry of '}"
        f"layer {record.layer}"
    ),
)
def break_layer(options: argparse.Namespace, session: Session) -> LayerBreakpoint:
    """Stop the language model in the guest where it enters a layer, or before a kernel there.

    An ordinary breakpoint of gdb, listed and deleted as any other; it goes with the connection. Activations are then
    those that the kernel is about to work on: `bf inference`, `bf tensor normed`. A kernel that a layer runs several
    times (matmul: seven) stops at each.
    """
    from bareflow_gdb.guest.model.inference import NoInference

    kernel = session.guest.kernel()
    names = list(kernel.slots())
    told = kernel.inference()
    if isinstance(told, NoInference) and "attention" not in names:
        raise BareflowError(told.why)
    if options.layer < 0 or (not isinstance(told, NoInference) and options.layer >= told.layers):
        last = "" if isinstance(told, NoInference) else f" to {told.layers - 1}"
        raise UsageError(f"there is no layer {options.layer}; its layers are 0{last}")
    if options.kernel is not None and options.kernel not in names:
        raise UsageError(f"there is no kernel {options.kernel!r}; there are: {', '.join(names) or 'none yet'}")
    function = None if options.kernel is None else names.index(options.kernel)
    breakpoint = stop_before(session, options.layer, function)
    return LayerBreakpoint(breakpoint.number, options.layer, options.kernel or "")
