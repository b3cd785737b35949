"""Which faults are there? Every class of this folder that is a Fault, by its name."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from soak.fault import Fault

_MODULES = [import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__)]
FAULTS: dict[str, type[Fault]] = {
    fault.name: fault
    for module in _MODULES
    for fault in vars(module).values()
    if isinstance(fault, type) and issubclass(fault, Fault) and hasattr(fault, "name")
}
