"""What is said of versions that were not read?"""

from __future__ import annotations


def unread(versions: int) -> tuple[tuple[str, str], ...]:
    """The fact, for questions about the version table; nothing when all of it was read."""
    if not versions:
        return ()
    return (("not read", f"{versions:,} versions, which cost a packet for 31: --all reads them"),)
