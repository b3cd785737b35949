"""Which locales is the suite tried in? Those that are not UTF-8, made here, so that none has to be installed."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

MADE = {"ja_JP.SJIS": "SHIFT_JIS", "zh_CN.GBK": "GBK", "de_DE.ISO-8859-1": "ISO-8859-1"}
ALL = (*MADE, "C")


_kept = TemporaryDirectory(prefix="bareflow-locales-")


@cache
def _folder() -> Path:
    folder = Path(_kept.name)
    for name, charset in MADE.items():
        # Status 1 is a warning: Shift JIS has no backslash.
        words = ["localedef", "-i", name.partition(".")[0], "-f", charset, "--no-archive", str(folder / name)]
        subprocess.run(words, capture_output=True)
        assert (folder / name / "LC_CTYPE").exists(), f"localedef made no {name}; is the package locales installed?"
    return folder


def environment(locale: str) -> dict[str, str]:
    """The variables of one of ALL; of C without what Python does to make UTF-8 of it."""
    if locale == "C":
        return {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    return {"LC_ALL": locale, "LOCPATH": str(_folder())}
