"""How does a CI system read verdicts? As JUnit's XML: what is broken is a failure, what is not known an error."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from bareflow_gdb.analysis.rules import BROKEN, KEPT, Judged
from bareflow_gdb.foreign import printable


def junit(title: str, judged: Sequence[Judged]) -> str:
    """The document, with a newline at its end."""
    broken = sum(1 for one in judged if one.verdict == BROKEN)
    unknown = sum(1 for one in judged if one.verdict not in (BROKEN, KEPT))
    counts = {"tests": str(len(judged)), "failures": str(broken), "errors": str(unknown)}
    suites = ElementTree.Element("testsuites", counts)
    suite = ElementTree.SubElement(suites, "testsuite", {"name": f"rules for {printable(title)}", **counts})
    for one in judged:
        case = ElementTree.SubElement(suite, "testcase", {"classname": "bareflow.check", "name": printable(one.rule)})
        if one.verdict == KEPT:
            ElementTree.SubElement(case, "system-out").text = printable(one.why)
        else:
            kind = "failure" if one.verdict == BROKEN else "error"
            said = {"message": f"{one.verdict}: {printable(one.why)}", "type": one.verdict}
            ElementTree.SubElement(case, kind, said)
    ElementTree.indent(suites)
    # ElementTree's own declaration would name the locale's encoding.
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ElementTree.tostring(suites, encoding="unicode")}\n'
