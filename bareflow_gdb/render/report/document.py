"""How does content become one HTML file that opens anywhere, now and in years?

Everything is inside: no font, no picture from elsewhere, one style sheet and at most one script, and a content security
policy that allows these by their digests and forbids all else, so that even a guest's string that escaped the escaping
could do nothing.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from pathlib import Path

from bareflow_gdb.render.report.markup import Markup, join, tag
from bareflow_gdb.render.report.of_view import Answered, answered
from bareflow_gdb.render.view import View

_NOTHING = "'none'"
Part = Markup | list[Markup]


def document(title: str, *content: Part, script: str = "") -> str:
    """The whole file."""
    css = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    allowed = f"style-src {_digest(css)}; script-src {_digest(script) if script else _NOTHING}"
    policy = f"default-src {_NOTHING}; {allowed}; base-uri {_NOTHING}; form-action {_NOTHING}"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", f"BareFlow {title}"),
        tag("style", Markup(css)),
    )
    body = tag("body", *content, tag("script", Markup(script)) if script else None)
    return f"<!doctype html>\n{join(tag('html', head, body, lang='en'))}\n"


def _digest(content: str) -> str:
    """As a content security policy names it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def document_of(title: str, views: Iterable[View]) -> str:
    """The same of views, one below the other."""
    parts = [tag("section", tag("h2", view.title), answered(Answered("", view, ()))) for view in views]
    return document(title, tag("h1", f"BareFlow {title}"), parts)
