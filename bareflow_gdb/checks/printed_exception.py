"""Did a stock kernel print an exception? It keeps no record of one: only its screen, or its serial log, can tell."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.exceptions import contradiction
from bareflow_gdb.checks.subject import OUTPUT, STOCK, Subject
from bareflow_gdb.guest.base.finding import Finding

_SAID = re.compile(r"^.*(?:\[EXCEPTION\]|CPU Exception).*$", re.MULTILINE)
_WHERE = re.compile(r"\bEIP\W{1,3}(0x[0-9a-fA-F]{1,8})\b")
_VECTOR = re.compile(r"\bvector\W{1,3}(\d{1,3})\b")


def _look(subject: Subject) -> Iterator[Finding]:
    for where, text in (("the screen", subject.shown or ""), ("COM1", subject.log)):
        said = [line.strip() for line in _SAID.findall(text)]
        if not said:
            continue
        # The first line of several: what follows it may be of an exception in the handler.
        told = "\n".join(said)
        place, vector = _WHERE.search(told), _VECTOR.search(told)
        yield Finding(
            what="the kernel printed an exception" + (f", vector {vector[1]}" if vector else ""),
            where=f"EIP {place[1]}" if place else where,
            evidence=f"{where} says {said[0]!r}",
            consequence="such a kernel stops for good at an exception",
            next_step="`screen` shows all of it" + (f", `identify {place[1]}` what lies there" if place else ""),
        )
        if place and vector:
            yield from contradiction(subject, int(place[1], 16), int(vector[1]), "what was printed")
        return


CHECK = Check("printed_exception", "exceptions that the kernel printed, on its screen or COM1", (STOCK, OUTPUT), _look)
