"""A record filled from a structure: by names, what is given first, nothing forgotten in silence."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.base.reading import filled


@dataclass(frozen=True)
class Export:
    name: str
    address: int
    size: int
    note: str = "none"


@dataclass(frozen=True)
class Numbered:
    index: int
    size: int


SYMBOL = layouts.unpack("bf_symbol", layouts.pack("bf_symbol", name=b"abc", address=0x10000, size=7))


def test_what_is_given_comes_before_the_structure_and_a_default_last() -> None:
    assert filled(Export, SYMBOL, name="given") == Export("given", 0x10000, 7, "none")


def test_a_record_fills_another_and_none_fills_nothing() -> None:
    export = filled(Export, SYMBOL, name="given", note="kept")
    assert filled(Export, export, size=9) == Export("given", 0x10000, 9, "kept")
    assert filled(Numbered, None, index=1, size=2) == Numbered(1, 2)


def test_a_field_that_neither_has_is_a_defect() -> None:
    # Every tuple has a method `index`, which must not pass for the field.
    with pytest.raises(TypeError, match="index"):
        filled(Numbered, SYMBOL)
    with pytest.raises(TypeError, match="other"):
        filled(Export, SYMBOL, other=1)
