"""Which readers are under fuzz? Every `Target` of these files."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

from fuzz.target import Target


def _all() -> dict[str, type[Target]]:
    found = {}
    for item in pkgutil.iter_modules(__path__):
        for _, kind in inspect.getmembers(importlib.import_module(f"{__name__}.{item.name}"), inspect.isclass):
            if issubclass(kind, Target) and "name" in vars(kind):
                found[kind.name] = kind
    return dict(sorted(found.items(), key=lambda item: -item[1].share))


ALL = _all()
TARGETS = {name: kind for name, kind in ALL.items() if kind.share}
