"""Text for a terminal. Logged text is hostile: it may carry control characters or be endless."""

import unicodedata
from collections.abc import Sequence

MAX_TEXT = 200
# Cc control, Cf format (bidirectional overrides), Cs surrogate, Co private, Cn unassigned, Zl/Zp separators
_ESCAPED_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def safe(value: object, limit: int = MAX_TEXT) -> str:
    """Return ``value`` as one printable line: control characters escaped, cut at ``limit``; None is ``-``."""
    if value is None:
        return "-"
    text = str(value)
    cut = text[:limit] + "…" if len(text) > limit else text
    return "".join(_escaped(character) for character in cut)


def _escaped(character: str) -> str:
    if unicodedata.category(character) not in _ESCAPED_CATEGORIES:
        return character
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")


def table(headers: Sequence[str], rows: Sequence[Sequence[object]], *, left: int = 1) -> str:
    """Return an aligned table: the first ``left`` columns flush left, the others flush right; every cell made safe."""
    cells = [[safe(cell) for cell in row] for row in rows]
    widths = [max(len(line[i]) for line in [list(headers), *cells]) for i in range(len(headers))]
    lines = [
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in [list(headers), ["─" * width for width in widths], *cells]
    ]
    return "\n".join(lines)


def usd(nusd: int | None, digits: int = 2) -> str:
    """Return nano-dollars as ``$1,234.56``, or ``-`` when unknown."""
    return "-" if nusd is None else f"${nusd / 1e9:,.{digits}f}"


def number(value: float | None, digits: int = 2, suffix: str = "") -> str:
    """Return a number with thousands separators, or ``-`` when there is none."""
    return "-" if value is None else f"{value:,.{digits}f}{suffix}"


def percent(fraction: float | None, digits: int = 2) -> str:
    """Return a fraction as percent, or ``-`` when there is none."""
    return "-" if fraction is None else f"{fraction * 100:.{digits}f} %"
