"""A language model at work: what it is at, its tensors, and whether it computes what the reference does."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llama import Llama, Question, reference, text_tokens
from machines import Boot, wait_for
from program import bareflow

from bareflow_gdb.abi import layouts
from bareflow_gdb.analysis.swaps import trace_swaps
from bareflow_gdb.analysis.writing import writing
from bareflow_gdb.build.fat_image import parse_file, write_image
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.guest.model.conversation import Sampling, is_answering, no_more
from bareflow_gdb.guest.model.inference import inference_record
from bareflow_gdb.guest.model.weights import read_weights
from bareflow_gdb.memory.gdbstub import GdbStub
from bareflow_gdb.model.comparing import compare, reference_for, require_whole
from bareflow_gdb.model.networks import weights_of
from bareflow_gdb.model.packed_file import SMALL, PackedFile
from bareflow_gdb.model.progress import silent
from bareflow_gdb.model.snapshot import take
from bareflow_gdb.tracing.recorder import Recorder
from bareflow_gdb.tracing.store import Trace

QUESTION = Question("Once upon a time", 12)
TRY = Question("Once upon a time there was", 40)


@pytest.fixture(scope="module")
def llama(firmware: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Llama]:
    """It has answered QUESTION."""
    disk = tmp_path_factory.mktemp("model") / "model.img"
    write_image([parse_file(str(SMALL))], disk)
    made = Llama(firmware, (50, 200, 600), disk=disk)
    try:
        made.ask(QUESTION)
        made.release()
        made.answer()
        yield made
    finally:
        made.machine.stop()


@pytest.fixture(scope="module")
def file() -> PackedFile:
    return PackedFile.open(SMALL)


def asked(*words: str, code: int = 0) -> Any:
    done = bareflow(*words, "--json")
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def again(llama: Llama, question: Question) -> None:
    llama.ask(question)
    llama.answer()
    wait_for(lambda: not is_answering(llama.machine.memory()), "the answer's end")


def test_inference_tells_tokens_text_speed_and_why_it_ended(llama: Llama, file: PackedFile) -> None:
    again(llama, QUESTION)
    told, wanted = asked("inference", llama.machine.name), reference(file, QUESTION)
    assert (told["text_tokens"], told["answer_tokens"]) == (text_tokens(file, QUESTION), wanted.tokens)
    assert file.vocabulary is not None
    assert (told["text"], told["answer"]) == (QUESTION.text, file.vocabulary.decode(wanted.tokens))
    assert told["logits_crc"] == f"0x{wanted.crc:08x}"
    assert (told["state"], told["end"], told["layer"], told["kernel"]) == ("waiting", "full", None, "")
    assert (told["model"], told["layers"], told["problems"]) == (file.model.name, file.model.dims.layers, [])
    # The answer's last token was not computed with.
    position = len(told["text_tokens"]) + len(wanted.tokens) - 1
    each = 2 * 4 * file.model.dims.layers * file.model.dims.kv_dim
    assert (told["position"], told["kv_used"], told["kv_bytes"]) == (
        position,
        position * each,
        told["positions"] * each,
    )
    speeds = [speed["tokens"] for speed in told["speeds"]]
    assert 0 < sum(speeds) <= position + 1 and told["tokens_per_second"] > 0
    shown = bareflow("inference", llama.machine.name).stdout
    assert "as many tokens as were wanted" in shown and f"question\n{QUESTION.text}\n" in shown


def test_the_report_has_the_words_and_each_tiers_speed(llama: Llama, file: PackedFile, tmp_path: Path) -> None:
    asked_it: list[bool] = []

    def answered() -> bool:
        if not asked_it:
            llama.ask(TRY)
            asked_it.append(True)
        return not is_answering(llama.machine.memory())

    with Recorder(llama.machine, tmp_path / "trace") as recorder:
        recorder.run(stopped=answered)
        recorder.finish()
    llama.answer()
    trace = Trace.open(tmp_path / "trace")
    found = writing(trace, trace_swaps(trace).swaps)
    assert found is not None
    assert found.no_words == ""
    # The ring still has the answers before.
    told, wanted = found.told[-1], reference(file, TRY)
    assert file.vocabulary is not None
    assert "".join(one.text for one in told.said if one.answered) == file.vocabulary.decode(wanted.tokens)
    assert (told.read, told.written) == (len(text_tokens(file, TRY)), len(wanted.tokens))
    # The guest counts the first token too, whose beginning no event tells.
    own = {speed["tier"]: speed["tokens"] for speed in asked("inference", llama.machine.name)["speeds"]}
    seen: Counter[str] = Counter()
    for one in told.stretches:
        seen[one.tier] += one.tokens
    del seen["changed"]
    assert set(own) >= set(seen) and sum(own.values()) - 1 <= seen.total() <= sum(own.values())
    page = bareflow("report", str(tmp_path / "trace"), "--out", str(tmp_path / "report.html"))
    assert page.returncode == 0 and "How fast the model wrote" in (tmp_path / "report.html").read_text()


def test_in_mid_answer_it_tells_how_far_it_is_and_who_ended_it(llama: Llama) -> None:
    memory, name = llama.machine.memory(), llama.machine.name
    llama.ask(Question("Once upon a time", 250, sampling=Sampling.of(0.9, 0.9, 3)))
    answering = layouts.const("BF_INFERENCE_ANSWERING")
    wait_for(lambda: inference_record(memory).state == answering, "some tokens")
    llama.machine.pause()
    try:
        told = asked("inference", name)
        assert told["state"] == "answering" and told["end"] == "none"
        assert (told["temperature"], told["top_p"], told["seed"]) == (0.9, 0.9, 3)
        no_more(memory)
    finally:
        llama.machine.resume()
    llama.answer()
    assert asked("inference", name)["end"] == "interrupted"


def test_a_guest_without_a_model_is_told(booted: Boot) -> None:
    name = booted(stage="registered", hold=1).name
    told = asked("inference", name, code=1)
    assert told["model"] is None and "no language model computes in this guest" in told["why"]
    for words in (("tensor", "logits"), ("model", "compare")):
        done = bareflow(*words, name)
        assert done.returncode == 2 and "no language model" in done.stderr and done.stderr.count("\n") == 1


def test_a_tensors_values_are_those_of_the_packed_file(llama: Llama, file: PackedFile) -> None:
    names = ("blk.0.attn_q.weight", "blk.4.ffn_down.weight", "token_embd.weight", "blk.1.ffn_norm.weight", "rope")
    for name in names:
        part = file.part(name)
        wanted = weights_of(file, part)
        wanted = wanted if part.planes else wanted.reshape(part.rows if name != "rope" else file.model.positions, -1)
        told = asked("tensor", name, llama.machine.name, "--row", str(len(wanted) - 1), "--limit", "1000")
        assert told["shown"] == [{"row": len(wanted) - 1, "values": wanted[-1].astype(float).tolist()}]
        statistics = told["statistics"]
        assert (statistics["count"], statistics["nan"], statistics["infinite"]) == (wanted.size, 0, 0)
        assert (statistics["minimum"], statistics["maximum"]) == (wanted.min(), wanted.max())
        exact = wanted.astype(np.float64)
        assert math.isclose(statistics["mean"], exact.mean(), rel_tol=1e-9, abs_tol=1e-12)
        assert math.isclose(statistics["rms"], math.sqrt((exact**2).mean()), rel_tol=1e-9)


def test_what_is_no_number_is_counted(llama: Llama) -> None:
    told = asked("tensor", "gate", llama.machine.name)
    memory, at = llama.machine.memory(), int(told["address"], 16)
    before = memory.read(at, 12, "gate")
    memory.write(at, np.array([np.nan, np.inf, 2], "<f4").tobytes(), "gate")
    try:
        told = asked("tensor", "gate", llama.machine.name)
        assert told["shown"][0]["values"][:3] == ["nan", "inf", 2]
        assert (told["statistics"]["nan"], told["statistics"]["infinite"]) == (1, 1)
        assert math.isfinite(told["statistics"]["rms"])
        assert "1 NaN, 1 infinite" in bareflow("tensor", "gate", llama.machine.name).stdout
    finally:
        memory.write(at, before, "gate")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("nothing",), "there is no tensor 'nothing'; there is "),
        (("blk.0.attn_k", "--row", "999"), "blk.0.attn_k.weight has no row 999; its rows are 0 to 31"),
        (("logits", "--limit", "0"), "--limit 0: at least 1 value is shown"),
    ],
)
def test_a_tensor_that_is_not_there_is_told(llama: Llama, words: tuple[str, ...], why: str) -> None:
    done = bareflow("tensor", *words, llama.machine.name)
    assert done.returncode == 2 and why in done.stderr and done.stderr.count("\n") == 1


def test_over_a_gdbstub_each_takes_ten_packets_at_most(llama: Llama) -> None:
    wait_for(lambda: not is_answering(llama.machine.memory()), "the answer's end")
    asks = (
        lambda kernel: kernel.inference(),
        lambda kernel: kernel.tensor("blk.0.attn_q"),
        lambda kernel: kernel.identify(layouts.const("BF_WEIGHTS_BASE") + 0x10000),
        lambda kernel: kernel.pools("data"),
    )
    with GdbStub.connect(f"unix:{llama.machine.gdb_socket}") as stub:
        guest = Guest.attach(stub)
        for ask in asks:
            stub.invalidate()
            before = stub.packets
            ask(guest.kernel())
            assert 0 < stub.packets - before <= 10
        # To compare all weights would take many.
        weights = read_weights(stub)
        assert require_whole(stub, weights, silent) is None
        file, reference = reference_for(stub, weights, None, None)
        told = compare(take(stub, weights), file, reference, None)
        assert (told.first, told.cache_first, len(told.steps), told.weights_compared) == (None, None, 22, False)


def test_pools_and_identify_know_what_is_the_models(llama: Llama, file: PackedFile) -> None:
    name = llama.machine.name
    model = asked("pools", name)["model"]
    assert model["weights_bytes"] == file.model.file_bytes and model["cache_bytes"] == 327_680
    listed = {one["name"]: one for one in asked("inference", "--tensors", name)["tensors"]}
    assert {"blk.4.keys", "blk.0.values", "logits", "blk.4.ffn_add"} <= listed.keys()
    for tensor, offset, region, where in (
        ("blk.2.attn_v.weight", 6 * 320, "model weights", "rows 16 to 31, columns 0 to 31; "),
        ("blk.3.keys", 4 * 32 * 5 + 8, "model's keys and values", "row 5, column 2; "),
        ("up", 4, "model's activations", "row 0, column 1; "),
    ):
        told = asked("identify", hex(int(listed[tensor]["address"], 16) + offset), name)
        assert (told["region"], told["name"], told["offset"]) == (region, tensor, offset)
        assert told["detail"].startswith(where)
    record = layouts.unpack(
        "bf_model_record",
        llama.machine.memory().read(
            layouts.const("BF_MODEL_RECORD_ADDRESS"), layouts.size("bf_model_record"), "record"
        ),
    )
    assert asked("identify", hex(record.inference + 4), name)["name"] == "inference record"


def test_what_the_guest_computes_has_the_references_bits_at_any_moment(llama: Llama) -> None:
    name = llama.machine.name
    llama.ask(Question("Once upon a time", 60))
    running = asked("model", "compare", name)
    llama.answer()
    wait_for(lambda: not is_answering(llama.machine.memory()), "the answer's end")
    ended = asked("model", "compare", name)
    for told in (running, ended):
        assert (told["first"], told["cache_first"], told["damaged"], told["weights_compared"]) == (None, None, [], True)
    # Of each layer key, value, attention and feed, the embedding and the logits.
    assert [step["name"] for step in ended["steps"]][:5] == [
        "token_embd",
        "blk.0.attn_v",
        "blk.0.rope_k",
        "blk.0.attn_add",
        "blk.0.ffn_add",
    ]
    assert len(ended["steps"]) == 1 + 5 * 4 + 1 and ended["steps"][-1]["name"] == "logits"
    assert not any(step["differ"] for step in ended["steps"])


@pytest.mark.parametrize(
    ("part", "first"),
    [
        ("blk.2.attn_q.weight", "blk.2.attn_add"),
        ("blk.1.attn_k.weight", "blk.1.rope_k"),
        ("blk.3.ffn_down.weight", "blk.3.ffn_add"),
        ("blk.0.attn_norm.weight", "blk.0.attn_v"),
        ("output_norm.weight", "logits"),
    ],
)
def test_the_layer_with_a_damaged_weight_is_named(llama: Llama, part: str, first: str) -> None:
    memory = llama.machine.memory()
    damaged = next(one for one in read_weights(memory).parts if one.name == part)
    # The factor of a row, or a norm's first.
    at = damaged.address + damaged.tiles * damaged.tile_bytes if damaged.planes else damaged.address
    right = memory.read(at, 4, part)
    memory.write(at, np.frombuffer(right, "<f4").astype("<f4").tobytes()[:2] + b"\x80\x3e", part)
    try:
        again(llama, TRY)
        told = asked("model", "compare", llama.machine.name, code=1)
        assert told["first"]["name"] == first
        assert told["first"]["layer"] == (int(part.split(".")[1]) if part.startswith("blk") else None)
        assert told["damaged"] == [part]
        shown = bareflow("model", "compare", llama.machine.name).stdout
        assert f"{first}, " in shown and f"not as they were packed: {part}" in shown
    finally:
        memory.write(at, right, part)
    again(llama, TRY)
    assert asked("model", "compare", llama.machine.name)["first"] is None


def test_a_key_that_was_overwritten_is_told_with_its_token(llama: Llama) -> None:
    again(llama, TRY)
    memory = llama.machine.memory()
    at = Guest.attach(memory).kernel().tensors()["blk.1.keys"].address + 4 * 32 * 7
    right = memory.read(at, 4, "key")
    memory.write(at, b"\0\0\x80\x3f", "key")
    try:
        told = asked("model", "compare", llama.machine.name, code=1)
        assert (told["cache_first"]["name"], told["cache_first"]["position"]) == ("blk.1.rope_k", 7)
        assert told["damaged"] == []
    finally:
        memory.write(at, right, "key")


def test_another_model_is_no_reference(llama: Llama, tmp_path: Path) -> None:
    other = bytearray(SMALL.read_bytes())
    at = layouts.offset("bf_model_header", "name")
    other[at : at + 4] = b"Mine"
    (tmp_path / "other.bfm").write_bytes(other)
    done = bareflow("model", "compare", llama.machine.name, "--model", str(tmp_path / "other.bfm"))
    assert done.returncode == 2 and "its head has CRC" in done.stderr


def test_a_core_tells_it_without_its_weights(llama: Llama, tmp_path: Path) -> None:
    again(llama, QUESTION)
    name, core = llama.machine.name, tmp_path / "core"
    assert bareflow("core", name, "--out", str(core)).returncode == 0
    assert asked("inference", str(core)) == asked("inference", name)
    assert asked("model", "compare", str(core))["first"] is None
    assert asked("tensor", "logits", str(core)) == asked("tensor", "logits", name)
    done = bareflow("tensor", "blk.0.attn_q", str(core))
    assert done.returncode == 2 and "where a model's weights were" in done.stderr, done.stderr


def test_a_trace_keeps_what_it_was_at(llama: Llama, tmp_path: Path) -> None:
    again(llama, QUESTION)
    name, trace = llama.machine.name, tmp_path / "trace"
    assert bareflow("trace", "record", name, "--out", str(trace), "--seconds", "1").returncode == 0
    assert asked("inference", str(trace)) == asked("inference", name)
    assert asked("tensor", "blk.1.attn_add", str(trace)) == asked("tensor", "blk.1.attn_add", name)
    done = bareflow("tensor", "blk.0.keys", str(trace))
    assert done.returncode == 2 and "not inside the RAM of this trace snapshot" in done.stderr


def test_drawn_tokens_are_the_references(llama: Llama, file: PackedFile) -> None:
    for seed in (1, 2):
        words = ("--temperature", "0.9", "--top-p", "0.8", "--seed", str(seed), "--tokens", "20", "--json")
        told = json.loads(bareflow("chat", llama.machine.name, "--plain", "--say", TRY.text, *words).stdout)
        wanted = reference(file, Question(TRY.text, 20, sampling=Sampling.of(0.9, 0.8, seed)))
        assert told["logits_crc"] == f"0x{wanted.crc:08x}" and told["seed"] == seed
        generated = json.loads(bareflow("model", "generate", TRY.text, *words).stdout)
        assert generated["answer"] == wanted.tokens
    for words, why in (
        (("--seed", "1"), "give --temperature too"),
        (("--temperature", "101"), "a temperature of 101 is not between 0 and 100"),
        (("--temperature", "1", "--top-p", "0"), "a share of 0 is not between 0 and 1"),
        (("--temperature", "nan"), "a temperature of nan is not between"),
    ):
        done = bareflow("chat", llama.machine.name, "--say", "x", *words)
        assert done.returncode == 2 and why in done.stderr and done.stderr.count("\n") == 1
