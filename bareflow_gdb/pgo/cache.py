"""What is in a cache of optimised modules, of which sources is it, and how does it come to be there whole?

cache/i686/PROFILE holds NAME.mod, which `make CACHE=…` builds into a kernel, and pgo.json: the plan, the compiler, and
of each module the SHA-256 of its bitcode and of its image. A cache of other sources, of another compiler or for another
CPU is refused.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from bareflow_gdb.build.registry import read_cache
from bareflow_gdb.errors import BadData, UsageError
from bareflow_gdb.files import BY_UMASK, PARTIAL, write_atomically, writing
from bareflow_gdb.pgo.compiling import Compiler
from bareflow_gdb.pgo.flags import CPU
from bareflow_gdb.pgo.plan import Plan
from bareflow_gdb.small_files import read_json

RECORD = "pgo.json"
VERSION = 1
_MOST_BYTES = 4 << 20
_ANEW = "make it anew with `bareflow pgo apply`"


def default_directory(profile: str = "default") -> Path:
    """Where a cache is when nobody says it."""
    return Path("cache") / CPU / profile


def check_place(directory: Path) -> None:
    """Raises UsageError when something lies there that no cache has."""
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory} is a file; a cache is a directory, cache/{CPU}/PROFILE")
    strange = [path.name for path in directory.glob("*") if path.suffix != ".mod" and path.name != RECORD]
    if strange:
        raise UsageError(f"{directory} holds {strange[0]}, which no cache has; give another directory")


def write(directory: Path, plan: Plan, images: Mapping[str, bytes], compiler: Compiler) -> None:
    """Replaces the cache, all of it or nothing. Raises UsageError, CannotWrite."""
    check_place(directory)
    modules = {
        name: {
            "bitcode_sha256": compiler.firmware.digest(name),
            "image_sha256": sha256(image).hexdigest(),
            "bytes": len(image),
        }
        for name, image in images.items()
    }
    record = {"cache_version": VERSION, "cpu": CPU, "compiler": compiler.version, "modules": modules}
    files = {f"{name}.mod": image for name, image in images.items()}
    files[RECORD] = (json.dumps({**record, "plan": plan.to_json()}, indent=2) + "\n").encode()
    new, old = (directory.with_name(f".{directory.name}.{os.getpid()}.{word}{PARTIAL}") for word in ("new", "old"))
    with writing(directory):
        try:
            new.mkdir(parents=True)
            for name, content in files.items():
                write_atomically(new / name, content, BY_UMASK)
            if directory.exists():
                directory.rename(old)
            try:
                new.rename(directory)
            except OSError:
                with suppress(OSError):
                    old.rename(directory)
                raise
        finally:
            shutil.rmtree(new, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)


def read(directory: Path, compiler: Compiler) -> dict[str, bytes]:
    """The images by name. Raises UsageError, BadData when it is none, damaged, or of other sources."""
    images = {module.name: module.image for module in read_cache(directory) if module.level == 0}
    if not images:
        raise UsageError(f"{directory} holds no NAME.mod; {_ANEW}")
    try:
        record = read_json(directory / RECORD, _MOST_BYTES)
    except OSError as error:
        raise BadData(f"{directory} has no {RECORD} that says what it was made from; {_ANEW}") from error
    except ValueError as error:
        raise BadData(f"{directory / RECORD} is damaged ({error}); {_ANEW}") from error
    _check(directory, record, images, compiler)
    return images


def _check(directory: Path, record: Any, images: Mapping[str, bytes], compiler: Compiler) -> None:
    modules = record.get("modules") if isinstance(record, dict) else None
    if not isinstance(modules, dict) or record.get("cache_version") != VERSION:
        raise BadData(f"{directory / RECORD} is not of version {VERSION}; {_ANEW}")
    if set(modules) != set(images):
        strange = ", ".join(sorted(set(modules) ^ set(images)))
        raise BadData(f"{directory} and its {RECORD} differ in {strange}; {_ANEW}")
    for what, made, now in (("compiler", record.get("compiler"), compiler.version), ("CPU", record.get("cpu"), CPU)):
        if made != now:
            raise BadData(f"{directory} is of another {what} ({str(made)[:60]}, here is {now}); {_ANEW}")
    for name, image in images.items():
        row = modules[name] if isinstance(modules[name], dict) else {}
        if row.get("image_sha256") != sha256(image).hexdigest():
            raise BadData(f"{directory / f'{name}.mod'} is not the image that was written; {_ANEW}")
        if row.get("bitcode_sha256") != compiler.firmware.digest(name):
            raise BadData(f"{directory / f'{name}.mod'} is of other sources than the kernel's; {_ANEW}")
