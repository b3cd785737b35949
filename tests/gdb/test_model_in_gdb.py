"""A language model in gdb: it stops at a layer or a kernel, its tensors are values of expressions."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from gdb_harness import Gdb
from llama import Llama

from bareflow_gdb.abi import layouts
from bareflow_gdb.model.networks import weights_of
from bareflow_gdb.model.packed_file import SMALL, PackedFile
from bareflow_gdb.qemu.image import read_image_header
from bareflow_gdb.qemu.machine import Machine

pytestmark = pytest.mark.both_gdbs


@pytest.fixture
def held(firmware: Path) -> Iterator[Llama]:
    """Before it has looked at its model."""
    made = Llama(firmware, (50, 200, 600), model=SMALL.read_bytes())
    yield made
    made.machine.stop()


def hook_mask(llama: Llama) -> int:
    at = read_image_header(llama.machine.image).root + layouts.offset("bf_root", "hook_mask")
    return int.from_bytes(llama.machine.memory().read(at, 4, "hook mask"), "little")


def test_it_stops_at_the_entry_of_a_layer_and_before_a_kernel_in_it(gdb: Gdb, held: Llama) -> None:
    result = gdb.run(
        f"bf attach {held.machine.name}",
        "bf break-layer 3",
        "bf release",
        "continue",
        "bf inference --json",
        "delete",
        "bf break-layer 3 matmul",
        *["continue"] * 8,
    )
    assert "breakpoint 1 stops at the entry of layer 3" in result.out
    told = result.json()
    assert (told["layer"], told["kernel"], told["doing"], told["position"]) == (3, "rmsnorm", "attn_norm", 0)
    assert told["state"] == "reading"
    names = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    said = re.findall(r"layer (\d): matmul of (\w+) is about to run, position (\d)", result.out)
    # All seven of the first token, then the first of the next.
    assert said == [*(("3", name, "0") for name in names), ("3", "attn_q", "1")]


def test_the_hook_is_called_only_as_long_as_a_breakpoint_wants_it(gdb: Gdb, held: Llama) -> None:
    bit, name = layouts.const("BF_HOOK_KERNEL"), held.machine.name
    root = read_image_header(held.machine.image).root + layouts.offset("bf_root", "hook_mask")
    look = f'printf "mask %x\\n", *(unsigned *) {root}'
    result = gdb.run(
        *(f"bf attach {name}", look, "bf break-layer 1", "bf break-layer 2 add", look),
        *("delete 1", look, "delete 2", look, "bf break-layer 1"),
    )
    masks = [int(mask, 16) & bit for mask in re.findall("mask (.*)", result.out)]
    assert masks == [0, bit, bit, 0]
    # gdb has gone with its last one.
    assert hook_mask(held) & bit == 0


def test_tensors_are_values_of_expressions(gdb: Gdb, held: Llama) -> None:
    file = PackedFile.open(SMALL)
    query = weights_of(file, file.part("blk.0.attn_q.weight"))
    result = gdb.run(
        f"bf attach {held.machine.name}",
        "bf break-layer 4",
        "bf release",
        "continue",
        'printf "%.9g\\n", $bf_tensor("blk.0.attn_q.weight")[95][1]',
        'printf "%.9g\\n", $bf_tensor("token_embd", 511)[95]',
        'printf "%.9g\\n", $bf_tensor("blk.3.ffn_norm")[0]',
        'printf "scale %d\\n", $bf_tensor("vector.scales")[0]',
        "bf tensor vector.scales --json",
        'output $bf_tensor("blk.2.keys")[0][31] != 0',
        "echo \\n",
        'output $bf_tensor("nothing")',
        'output $bf_tensor("blk.0.attn_q", 96)',
        "complete bf tensor blk.1.attn_",
        "bf break-layer 5",
        "bf break-layer 0 nothing",
    )
    floats = [np.float32(line) for line in result.out.splitlines() if re.fullmatch(r"-?\d+\.\d+(e-\d+)?", line)]
    embedding = weights_of(file, file.part("token_embd.weight"))
    norm = file.floats(file.part("blk.3.ffn_norm.weight"))
    assert floats == [query[95][1], embedding[511][95], norm[0]]
    scale = int(result.json()["shown"][0]["values"][0])
    assert f"\nscale {scale}\n" in result.out and scale
    assert "\n1\n" in result.out
    assert "$bf_tensor: there is no tensor 'nothing'; there is " in result.err
    assert "$bf_tensor: blk.0.attn_q.weight has no row 96; its rows are 0 to 95" in result.err
    assert "bf tensor blk.1.attn_norm.weight" in result.out and "bf tensor blk.1.attn_add" in result.out
    assert "there is no layer 5; its layers are 0 to 4" in result.err
    assert "there is no kernel 'nothing'; there are: embed, rmsnorm, " in result.err


def test_in_the_middle_of_a_token_two_are_compared_layer_by_layer(gdb: Gdb, held: Llama) -> None:
    compare = f"{sys.executable} -m bareflow_gdb.cli.main model compare {held.machine.name} --json"
    stops = ("bf break-layer 3", "bf release", "continue", "continue")
    told = gdb.run(f"bf attach {held.machine.name}", *stops, f"shell {compare}").json()
    assert (told["first"], told["cache_first"], told["position"]) == (None, None, 1)
    found = [(step["position"], step["layer"]) for step in told["steps"] if step["name"].endswith("ffn_add")]
    # Layers 0 to 2 are done for the second token, 3 and 4 are still of the first.
    assert found == [(0, 3), (0, 4), (1, 0), (1, 1), (1, 2)]
    assert not any(step["differ"] for step in told["steps"])


def test_a_guest_without_a_model_has_no_layers(gdb: Gdb, idle_machine: Machine) -> None:
    result = gdb.run(f"bf attach {idle_machine.name}", "bf break-layer 0", 'output $bf_tensor("logits")')
    lines = result.err.strip().splitlines()
    assert len(lines) == 2 and all("no language model" in line for line in lines)
