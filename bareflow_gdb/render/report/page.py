"""How does a trace become one HTML file that opens anywhere, now and in years?

Everything is inside: no script, no font, no picture from elsewhere, and a content security policy that
forbids them, so that even a guest's string that escaped the escaping could do nothing.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from bareflow_gdb.analysis.digest import Digest
from bareflow_gdb.render.report import sections
from bareflow_gdb.render.report.markup import Markup, join, tag

_SECTIONS = (
    ("Swaps", sections.swaps),
    ("How long swaps take", sections.latencies),
    ("Log and ring", sections.agreement),
    ("Code before and after", sections.code),
    ("Profile", sections.profile),
    ("Modules", sections.modules),
    ("JIT pools", sections.pools),
    ("Boot", sections.boot),
    ("Events", sections.events),
    ("The rest", sections.ending),
)


def page(digest: Digest) -> str:
    """The whole document."""
    css = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    hashed = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{hashed}'; base-uri 'none'; form-action 'none'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", f"BareFlow trace of {digest.overview.machine}"),
        tag("style", Markup(css)),
    )
    parts = [tag("section", tag("h2", title), make(digest)) for title, make in _SECTIONS]
    body = tag("body", sections.header(digest), sections.figures(digest), parts)
    return f"<!doctype html>\n{join(tag('html', head, body, lang='en'))}\n"
