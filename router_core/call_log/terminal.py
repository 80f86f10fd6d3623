"""Text for a terminal. Logged text is hostile: it may carry control characters or be endless."""

import textwrap
import unicodedata
from collections.abc import Sequence

from router_core.types import NANO

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


def bullet(sentence: str, width: int = 100) -> str:
    """Return a sentence as an entry of a list, on as many lines as it takes."""
    return textwrap.fill(sentence, width, initial_indent="  - ", subsequent_indent="    ")


def usd(nusd: int | None, digits: int = 2) -> str:
    """Return nano-dollars as ``$1,234.56``, or ``-`` when unknown."""
    return "-" if nusd is None else f"{'-' if nusd < 0 else ''}${abs(nusd) / 1e9:,.{digits}f}"


def usd_exact(nusd: int | None, digits: int = 9) -> str:
    """Return nano-dollars as USD to the last nano-dollar, zeros beyond ``digits`` left out; ``-`` when unknown."""
    if nusd is None:
        return "-"
    whole, rest = divmod(abs(nusd), NANO)
    fraction = f"{rest:09d}"
    kept = max(digits, len(fraction.rstrip("0")))
    return f"{'-' if nusd < 0 else ''}${whole:,}.{fraction[:kept]}"


def wrapped(text: str, width: int | None, indent: int) -> list[str]:
    """Return a line that was made safe as the lines it takes; the later ones are indented. None = one line.

    Args:
        text: The line.
        width: Columns there are.
        indent: Columns that later lines begin with; less of it where that would leave hardly any room.
    """
    if width is None or len(text) <= width:
        return [text]
    hanging = " " * min(indent, width // 2)
    return textwrap.wrap(
        text, max(width, 2), subsequent_indent=hanging, break_on_hyphens=False, drop_whitespace=True, tabsize=1
    )


def counted(n: int, one: str, more: str | None = None) -> str:
    """Return a number and what it counts: ``1 row``, ``1,234 rows``.

    Args:
        n: The number.
        one: What follows a one: ``row has``.
        more: What follows any other number: ``rows have``; None = the same with an s.
    """
    return f"{n:,} {one if n == 1 else more or f'{one}s'}"


def number(value: float | None, digits: int = 2, suffix: str = "") -> str:
    """Return a number with thousands separators, or ``-`` when there is none."""
    return "-" if value is None else f"{value:,.{digits}f}{suffix}"


def percent(fraction: float | None, digits: int = 2) -> str:
    """Return a fraction as percent, or ``-`` when there is none."""
    return "-" if fraction is None else f"{fraction * 100:.{digits}f} %"
