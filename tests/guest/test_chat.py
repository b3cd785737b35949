"""`bareflow chat`: what a person says comes to the model in the guest, its answer comes back word by word."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from llama import Llama
from machines import SECONDS, Boot, wait_for
from program import bareflow

from bareflow_gdb.build.fat_image import parse_file, write_image
from bareflow_gdb.cli.verbs import chat
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.model.packed_file import SMALL
from bareflow_gdb.qemu.com1_input import com1_input
from bareflow_gdb.qemu.machine import Machine

EXPECTED = json.loads((Path(__file__).parents[2] / "models" / "small" / "expected.json").read_text())["answers"]


@pytest.fixture(scope="module")
def llama(firmware: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of a machine whose model has answered its first question."""
    disk = tmp_path_factory.mktemp("model") / "model.img"
    write_image([parse_file(str(SMALL))], disk)
    made = Llama(firmware, (50, 200, 600), disk=disk)
    made.release()
    made.answer()
    yield made.machine.name
    made.machine.stop()


def test_the_answer_is_the_references(llama: str) -> None:
    for prompt in EXPECTED:
        plain = [] if prompt["chat"] else ["--plain"]
        words = ("chat", llama, "--say", prompt["prompt"], *plain, "--tokens", str(prompt["tokens"]), "--json")
        told = json.loads(bareflow(*words).stdout)
        assert told["logits_crc"] == prompt["logits_crc"]
        # A line of the model's that ends where a swap is told cannot be known from one that the kernel ended.
        assert told["answer"].split() == prompt["said"].split()


def test_a_line_typed_on_com1_is_answered_alike_and_the_log_goes_on(llama: str) -> None:
    machine = Machine.find(llama)
    before = machine.serial()
    told = [
        json.loads(bareflow("chat", llama, "--say", "Who are you?", "--tokens", "128", "--json", *how).stdout)
        for how in ((), ("--serial",), ("--serial",))
    ]
    crcs = {answer["logits_crc"] for answer in told}
    assert len(crcs) == 1 and {answer["end"] for answer in told} == {"the end of the text"}
    assert machine.serial().startswith(before)
    assert machine.serial().count("Who are you?\n[llama] > Who are you?\n") == 2, "it is echoed"
    assert not (machine.directory / "com1.in").exists()


def test_ctrl_c_on_com1_ends_the_answer_and_the_line_behind_it_is_the_next(llama: str) -> None:
    machine = Machine.find(llama)
    before = len(machine.serial())
    with com1_input(machine, b"Tell me a lond\x7fg story.\nTell"):
        wait_for(lambda: "[llama] > Tell me a long story." in machine.serial()[before:], "an answer")
    with com1_input(machine, b"\x03Who?\n"):
        wait_for(lambda: machine.serial()[before:].count("[llama] tokens:") == 2, "two answers")
    said = machine.serial()[before:]
    assert said.count(": interrupted; logits CRC") == 1 and "[llama] > Who?\n" in said


def test_a_question_is_typed_on_the_keyboard(llama: str) -> None:
    machine = Machine.find(llama)
    before = len(machine.serial())
    for key in ("shift-w", "h", "p", "backspace", "o", "shift-slash", "ret"):
        machine.monitor(f"sendkey {key} 1")
        time.sleep(0.05)  # QEMU presses one key at a time
    wait_for(lambda: "[llama] tokens:" in machine.serial()[before:], "an answer")
    assert "[llama] > Who?\n" in machine.serial()[before:]


@pytest.mark.parametrize(("text", "more"), [("two\nlines", ()), ("x" * 5000, ()), ("x", ("--plain",))])
def test_what_cannot_be_typed_is_said(llama: str, text: str, more: tuple[str, ...]) -> None:
    done = bareflow("chat", llama, "--serial", "--say", text, *more)
    assert done.returncode == 2 and "leave out --serial" in done.stderr and done.stderr.count("\n") == 1


def test_each_line_is_said_and_answered(llama: str) -> None:
    words = [sys.executable, "-m", "bareflow_gdb.cli.main", "chat", llama, "--tokens", "5"]
    done = subprocess.run(words, input="Tell me a story.\n\nWho are you?\n", capture_output=True, text=True, check=True)
    assert done.stderr.count("(5 tokens, as many as were wanted") == 2
    assert done.stdout.splitlines() == ["Once upon a time,"] * 2


def test_ctrl_c_ends_the_answer_and_not_the_guest(llama: str) -> None:
    words = [
        sys.executable,
        "-m",
        "bareflow_gdb.cli.main",
        "chat",
        llama,
        "--plain",
        "--say",
        "Once",
        "--tokens",
        "250",
    ]
    asked = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert asked.stdout is not None and asked.stdout.read(1)
    asked.send_signal(signal.SIGINT)
    assert " tokens, interrupted" in asked.communicate(timeout=SECONDS)[1]
    assert asked.returncode == 0
    assert json.loads(bareflow("chat", llama, "--say", "Who?", "--tokens", "3", "--json").stdout)["tokens"] == 3


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--say", "x" * 5000), "that is 5,000 bytes, the guest takes 4,096"),
        (("--say", "x", "--tokens", "0"), "an answer has at least 1 token"),
    ],
)
def test_what_cannot_be_asked_is_said(llama: str, words: tuple[str, ...], why: str) -> None:
    done = bareflow("chat", llama, *words)
    assert done.returncode == 2 and why in done.stderr and done.stderr.count("\n") == 1


def test_a_guest_that_stands_still_is_told_and_an_answer_that_it_is_at_is_waited_for(llama: str) -> None:
    machine = Machine.find(llama)
    words = ("chat", llama, "--plain", "--say", "Once upon a time", "--tokens", "250")
    with subprocess.Popen([sys.executable, "-m", "bareflow_gdb.cli.main", *words], stdout=subprocess.PIPE) as first:
        assert first.stdout is not None and first.stdout.read(1)
        machine.pause()
        try:
            second = bareflow("chat", llama, "--say", "Who?", "--tokens", "3")
            assert second.returncode == 2 and f"machine {llama} answers nothing: " in second.stderr
            first.communicate(timeout=SECONDS)
        finally:
            machine.resume()
    assert bareflow("chat", llama, "--say", "Who?", "--tokens", "3").returncode == 0


def test_a_text_that_leaves_no_room_for_an_answer_has_none(llama: str) -> None:
    done = bareflow("chat", llama, "--plain", "--say", "x" * 600, "--tokens", "3")
    assert done.returncode == 1 and "(0 tokens, no position left" in done.stderr


def test_a_guest_without_a_model_is_told(booted: Boot) -> None:
    done = bareflow("chat", booted(stage="registered", hold=1).name, "--say", "Hello")
    assert done.returncode == 2 and "the guest has no language model that answers" in done.stderr


def test_notes_of_the_kernel_are_told_from_the_models_words_however_they_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "serial.log"
    whole = (
        "[llama] > Hi\n[RECOMPILE] matmul: O0 -> O1\nA [story\n[ATOMIC-SWAP] x\n] of caf\u00e9s[MAILBOX] y\n.\n\n"
        "[llama] 7 tokens after 1: the end of the text; logits CRC 0x00000000\n[llama] tokens: 1 2\n"
    ).encode()
    for size in (1, 2, 3, len(whole)):
        log.write_bytes(b"")
        left = [whole[at : at + size] for at in range(0, len(whole), size)]

        def written(left: list[bytes] = left) -> bool:
            with log.open("ab") as file:
                file.write(left.pop(0))
            return not left

        monkeypatch.setattr(chat, "_QUIET_SECONDS", 0)
        monkeypatch.setattr(chat, "_POLL_SECONDS", 0)
        machine = SimpleNamespace(serial_path=log)
        told = list(chat._spoken(machine, 0, "Hi", written))
        assert "".join(part for part, _ in told) == "A [story] of caf\u00e9s.\n"
        assert [note for _, note in told if note][:2] == ["[RECOMPILE] matmul: O0 -> O1", "[ATOMIC-SWAP] x"]


def test_an_end_that_comes_while_it_is_asked_for_is_the_end_and_none_at_all_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat, "_QUIET_SECONDS", 0)
    monkeypatch.setattr(chat, "_POLL_SECONDS", 0)
    log = tmp_path / "serial.log"
    machine = SimpleNamespace(serial_path=log)
    log.write_bytes(b"[llama] > Hi\nwords\n")

    def ends() -> bool:
        with log.open("ab") as file:
            file.write(b"[llama] 1 tokens after 1: the end of the text; logits CRC 0x00000000\n[llama] tokens: 1\n")
        return True

    assert any("1 tokens" in note for _, note in chat._spoken(machine, 0, "Hi", ends))
    log.write_bytes(b"[llama] > Hi\nwords\n")
    with pytest.raises(BareflowError, match="does not tell how it ended"):
        list(chat._spoken(machine, 0, "Hi", lambda: True))
