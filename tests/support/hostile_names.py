"""Names that a guest may give its functions and modules to be more than names; each fits a field of 32 bytes."""

from __future__ import annotations

import re

CANARY = "INJ"
"""What each of them would make, in the directory where it is let loose: files whose names begin so."""

CALLS = (
    b'$_shell(\\"touch${IFS}INJ6\\")',
    b'$_shell("touch${IFS}INJ1")',
    b'a",$_shell("touch${IFS}INJ2"),"',
    b"$(touch${IFS}INJ3)",
    b"`touch${IFS}INJ4`",
    b"|touch INJ5",
    b"x;touch INJ7",
    b"a\nshell touch INJ8",
)
OTHERS = (
    b"/tmp/INJ9",
    b"../../INJ10",
    b"nodir/x",
    b"\x1b[31mred\x1b]0;title\x07",
    b"a\x9b31mb\xe2\x80\xaec",
    b"<script>alert(1)</script>",
    b"\"'><img src=x onerror=y>",
    b"--json",
    b"-x",
    b"0x600",
    b"%n%s%s%s",
    b"a b",
    b"jit:x@O2 #3",
    b"it's",
    b"a\\",
    b"",
)
HOSTILE = (*CALLS, *OTHERS)

HARMFUL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What no output may contain."""
