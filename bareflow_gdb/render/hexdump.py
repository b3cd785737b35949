"""How do bytes look: offset or address, sixteen bytes in hexadecimal, their printable characters?"""

from __future__ import annotations

_ROW = 16


def hexdump(data: bytes, start: int = 0) -> str:
    """Lines of 16 bytes; runs of equal lines are shown as one `*`."""
    lines: list[str] = []
    previous = None
    for at in range(0, len(data), _ROW):
        row = data[at : at + _ROW]
        last = at + _ROW >= len(data)
        if row == previous and not last:
            if lines[-1] != "  *":
                lines.append("  *")
            continue
        previous = row
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        lines.append(f"  {start + at:08x}  {row[:8].hex(' '):<23}  {row[8:].hex(' '):<23}  |{text}|")
    return "\n".join(lines)
