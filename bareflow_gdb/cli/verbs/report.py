"""`bareflow report TARGET`: what a trace, a core, a dump or a serial log tells, as a page of HTML and as text."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bareflow_gdb.cli.arguments import ELF_HELP, add_shared, add_target
from bareflow_gdb.errors import BareflowError, UsageError

if TYPE_CHECKING:
    from bareflow_gdb.analysis.digest import Digest, Verdict
    from bareflow_gdb.analysis.evidence import Evidence
    from bareflow_gdb.cli.ask import TargetContext
    from bareflow_gdb.questions.question import Question
    from bareflow_gdb.render.report.of_view import Answered
    from bareflow_gdb.render.view import View

GROUP = "record"
HELP = "make a report (HTML, text, Markdown) of a trace, a core, a dump or a serial log"
QUESTIONS = ("status", "jit", "stack", "cpu", "exception", "cache", "screen")
"""What memory tells beside the report's own parts; each as in a terminal."""


def configure(parser: argparse.ArgumentParser) -> None:
    add_target(parser, dumps=True)
    parser.add_argument("--serial", type=Path, metavar="LOG", help="what the same guest printed on COM1")
    parser.add_argument("--elf", type=Path, metavar="FILE", help=ELF_HELP)
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="HTML file (default: TRACE/report.html, else beside TARGET's file)"
    )
    parser.add_argument("--text", type=Path, metavar="FILE", help="also write the text summary to a file")
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="also write it as Markdown, for the log of a CI job"
    )
    add_shared(parser, "the files")
    parser.epilog = (
        "With memory and a log, what the kernel exported on COM1 is compared with memory. Exit code 1 when something "
        "is wrong: a check has a finding, log and memory contradict each other, events were lost, …"
    )


def main(options: argparse.Namespace) -> int:
    from contextlib import nullcontext

    from bareflow_gdb.analysis.digest import tell, verdicts
    from bareflow_gdb.files import share, write_atomically
    from bareflow_gdb.render.markdown import markdown
    from bareflow_gdb.render.report.page import page
    from bareflow_gdb.render.report.summary import summary, summary_view
    from bareflow_gdb.tracing.store import changing

    evidence, context = _evidence(options)
    digest = tell(evidence)
    answers, unanswered = _answers(context, digest) if context is not None else ((), ())
    out: Path = options.out or _beside(options, evidence)
    text = summary(digest, unanswered)
    files = {out: page(digest, answers, unanswered)}
    if options.text is not None:
        files[options.text] = text
    if options.markdown is not None:
        files[options.markdown] = markdown(summary_view(digest, unanswered))
    with changing(evidence.trace.directory, *files) if evidence.trace else nullcontext():
        for path, content in files.items():
            write_atomically(path, content)
            if options.shared:
                share(path)
    found = verdicts(digest)
    if options.json:
        print(json.dumps(_record(digest, found, out), indent=2))
    else:
        print(text, end="")
        print(f"report: {out}")
    return 1 if any(verdict.kind == "bad" for verdict in found) else 0


def _record(digest: Digest, found: list[Verdict], out: Path) -> dict[str, object]:
    return {
        "report": str(out),
        "sources": digest.sources,
        "findings": [{"kind": verdict.kind, "finding": verdict.text} for verdict in found],
    }


def _evidence(options: argparse.Namespace) -> tuple[Evidence, TargetContext | None]:
    """The sources that were given, and the way to put questions to memory, where there is some."""
    from bareflow_gdb.analysis.evidence import Evidence, of_trace
    from bareflow_gdb.cli.ask import TargetContext
    from bareflow_gdb.cli.targets import asked_target

    if options.target is None and options.serial is not None:
        return _of_log(options.serial), None
    target = asked_target(options)
    if target.kind in ("disk", "kernel"):
        raise UsageError(f"{target.description} tells nothing of a run; give a trace, a core, a dump or a serial log")
    if target.kind == "serial":
        if options.serial is not None:
            raise UsageError(f"{target.description} and {options.serial} are both serial logs; give one of them")
        assert target.path is not None
        return _of_log(target.path), None
    context = TargetContext(target, options.elf)
    if target.trace is not None:
        evidence = of_trace(target.trace)
    else:
        name = target.path.name if target.path else target.machine.name if target.machine else ""
        evidence = Evidence(
            title=f"{target.kind} {name}" if name else target.description,
            guest=context.guest,
            memory_from=f"{target.kind} {name}".rstrip(),
            machine=target.machine,
        )
    if options.serial is not None:
        context.serial_file = options.serial
    log = context.serial_file
    if log is not None and (log is options.serial or (target.trace is None and log.is_file())):
        evidence = evidence.printed(_of_log(log))
    return evidence, context if target.source is not None else None


def _of_log(path: Path) -> Evidence:
    from bareflow_gdb.analysis.evidence import Evidence
    from bareflow_gdb.guest.machine.serial import read_serial_file

    return Evidence(f"serial log {path.name}", serial=read_serial_file(path), serial_from=path.name)


def _answers(context: TargetContext, digest: Digest) -> tuple[tuple[Answered, ...], tuple[str, ...]]:
    """The answers to the questions without a part of their own, and why others have none."""
    from dataclasses import replace

    from bareflow_gdb.cli import ask
    from bareflow_gdb.questions import registry
    from bareflow_gdb.render.report.of_view import Answered

    found: list[Answered] = []
    unanswered: list[str] = []
    told = {str(finding) for finding in digest.checks.findings}
    for name in QUESTIONS if digest.boot is not None else ("boot", *QUESTIONS):
        question = registry.load(name)
        parser = argparse.ArgumentParser()
        ask.configure(question, parser)
        options = parser.parse_args([])
        again = ask.TargetContext(context.target, context.elf)
        again.guest = context.guest
        again.serial_file = context.serial_file
        try:
            answer = question.answer(again, options)
        except BareflowError as error:
            unanswered.append(f"{name}: {error}")
            continue
        view = _view(question, answer.record)
        # What is among the findings stands there, with all that is known of it.
        view = replace(view, problems=tuple(line for line in view.problems if line not in told))
        found.append(Answered(name, view, tuple(answer.lines())))
    return tuple(found), tuple(unanswered)


def _view(question: Question[Any], record: Any) -> View:
    """As in a terminal; what is drawn there is text here."""
    from bareflow_gdb.render.view import View

    if question.view is not None:
        return question.view(record)
    return View(question.name.capitalize(), parts=(question.text(record),))


def _beside(options: argparse.Namespace, evidence: Evidence) -> Path:
    """Where the page goes when nobody says it: into the trace, beside the file, else here."""
    if evidence.trace is not None:
        return Path(evidence.trace.directory) / "report.html"
    named = Path(options.target) if options.target is not None else options.serial
    if named is not None and named.is_file():
        return named.with_name(f"{named.name}.report.html")
    return Path(f"{evidence.machine.name if evidence.machine else 'guest'}.report.html")
