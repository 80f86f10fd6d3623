"""Numbers, times and logged text as the pages show them.

Every function returns plain text. What a page puts where Streamlit reads Markdown goes through ``markdown`` first.
"""

import datetime as dt
import math
import re
import unicodedata
from decimal import Decimal

NOTHING = "–"
MINUS = "−"
NANO = 1_000_000_000
LONGEST_LOGGED_TEXT = 200
_ONE_CENT = 0.01
_SMALLEST_SHOWN_USD = 1e-9
_SHORTEN_FROM = 100_000
_SECONDS_FROM_MS = 10_000
_SMALLEST_SHOWN_PERCENT = 0.01
_LATIN_1_END = 0xFF
_BASIC_PLANE_END = 0xFFFF
_WORD_JOINER = "\u2060"
_ADDRESS = re.compile(r"(?=://)|(?<=www)(?=\.)|(?=@)", re.IGNORECASE)
_MARKDOWN_SPECIAL = frozenset("\\`*_{}[]()#+-.!|~<>$:&")
# control, format (bidi marks among them), surrogate, private, unassigned, line and paragraph separators
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def usd(amount: float | None) -> str:
    """Return an amount of USD: cents from $1, four decimals from one cent, three significant digits below.

    Never scientific; ``$0`` is exactly nothing, ``–`` is not known.
    """
    if amount is None or not math.isfinite(amount):
        return NOTHING
    if amount == 0:
        return "$0"
    size = abs(amount)
    if size < _SMALLEST_SHOWN_USD:
        return "<$0.000000001" if amount > 0 else f">{MINUS}$0.000000001"
    return f"{MINUS if amount < 0 else ''}${size:,.{money_decimals(size)}f}"


def money_decimals(size: float) -> int:
    """Return how many decimals an amount of this size, USD above 0, is shown with."""
    size = float(f"{size:.3g}") if size < _ONE_CENT else round(size, 4)
    if size >= 1:
        return 2
    return 4 if size >= _ONE_CENT else 2 - math.floor(math.log10(size))


def usd_short(amount: float | None) -> str:
    """Return an amount of USD for a tile: as ``usd``, shortened from $100k (``$123.4k``)."""
    if amount is None or not math.isfinite(amount) or abs(amount) < _SHORTEN_FROM:
        return usd(amount)
    return f"{MINUS if amount < 0 else ''}${_shortened(abs(amount))}"


def nusd(amount: int | None) -> float | None:
    """Return nano-dollars as USD, correctly rounded."""
    return None if amount is None else float(Decimal(amount) / NANO)


def count(number: float | None) -> str:
    """Return a count with thousands; parts of a whole (fractional labels) with one decimal."""
    if number is None or not math.isfinite(number):
        return NOTHING
    text = f"{number:,.0f}" if float(number).is_integer() else f"{number:,.1f}"
    return text.replace("-", MINUS)


def count_short(number: float | None) -> str:
    """Return a count for a tile: as ``count``, shortened from 100,000 (``3.34M``)."""
    if number is None or not math.isfinite(number) or abs(number) < _SHORTEN_FROM:
        return count(number)
    return f"{MINUS if number < 0 else ''}{_shortened(abs(number))}"


def _shortened(size: float) -> str:
    for unit, word in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        # 999,950 and more would round to "1000.0k"
        if size >= unit * 0.99995:
            return f"{size / unit:.2f}{word}"
    return f"{size / 1e3:.1f}k"


def rate(fraction: float | None) -> str:
    """Return a fraction as percent with two decimals; a tiny one as ``<0.01%``."""
    if fraction is None or not math.isfinite(fraction):
        return NOTHING
    percent = fraction * 100
    if percent == 0:
        return "0%"
    if 0 < percent < _SMALLEST_SHOWN_PERCENT:
        return "<0.01%"
    return f"{percent:.2f}%".replace("-", MINUS)


def rate_interval(interval: tuple[float, float] | None) -> str:
    """Return a 95 % interval of a fraction, ``1.72–2.07% (95%)``."""
    if interval is None:
        return NOTHING
    low, high = interval
    return f"{low * 100:.2f}–{high * 100:.2f}% (95%)"


def latency(ms: float | None, *, approximate: bool = False) -> str:
    """Return a duration: milliseconds below 10 s, else seconds; ``≈`` before a bucket quantile."""
    if ms is None or not math.isfinite(ms):
        return NOTHING
    mark = "≈ " if approximate else ""
    if ms >= _SECONDS_FROM_MS:
        return f"{mark}{ms / 1000:,.1f} s"
    return f"{mark}{ms:,.0f} ms" if ms >= 1 else f"{mark}{ms:.2g} ms"


def change(now: float | None, before: float | None) -> str | None:
    """Return the relative change as ``+4.1%``; None when there is nothing to compare with."""
    if now is None or before is None or not before:
        return None
    return f"{(now - before) / abs(before):+.1%}".replace("-", MINUS)


def points(now: float | None, before: float | None) -> str | None:
    """Return the change of a rate in percentage points, ``+0.04 pp``; None when there is nothing to compare with."""
    if now is None or before is None:
        return None
    return f"{(now - before) * 100:+.2f} pp".replace("-", MINUS)


def instant(moment: dt.datetime | None, zone: dt.tzinfo = dt.UTC) -> str:
    """Return an aware instant as ``2026-11-23 14:02 UTC``."""
    return NOTHING if moment is None else moment.astimezone(zone).strftime("%Y-%m-%d %H:%M %Z")


def age(seconds: float) -> str:
    """Return how long ago something was, in its largest sensible unit: ``2 min ago``."""
    if seconds < 1:
        return "now"
    for size, word in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {word} ago"
    return f"{seconds:.0f} s ago"


def byte_size(size: int) -> str:
    """Return a number of bytes, ``1.4 MB``."""
    for unit, word in ((1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")):
        if size >= unit:
            return f"{size / unit:.1f} {word}"
    return f"{size} B"


def plural(number: float, noun: str) -> str:
    """Return a count and its noun, ``1 call`` or ``2 calls``."""
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def logged(text: str | None, longest: int = LONGEST_LOGGED_TEXT) -> str:
    """Return logged text that can do nothing: hidden and bidi characters escaped, cut at ``longest`` characters.

    It may still hold Markdown or HTML: show it only where neither is read, or through ``html.escape``.
    """
    if text is None:
        return NOTHING
    cut = text[:longest]
    shown = "".join(_visible(char) for char in cut)
    return shown + "…" if len(text) > longest else shown


def _visible(char: str) -> str:
    if unicodedata.category(char) not in _HIDDEN_CATEGORIES:
        return char
    code = ord(char)
    if code <= _LATIN_1_END:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= _BASIC_PLANE_END else f"\\U{code:08x}"


def markdown(text: str) -> str:
    """Return text so that Streamlit's Markdown shows it letter by letter (``$`` is LaTeX there).

    Addresses are made links after escapes are gone, so a word joiner, which is not seen, breaks them.
    """
    unlinked = _ADDRESS.sub(_WORD_JOINER, text)
    return "".join(f"\\{char}" if char in _MARKDOWN_SPECIAL else char for char in unlinked)


def file_stem(*parts: str) -> str:
    """Return a file's name without its ending, made of words that any system takes: ``tierwise_spend_2026-11-01``."""
    words = (re.sub(r"[^A-Za-z0-9.-]+", "-", part).strip("-.")[:60] for part in parts)
    return "_".join(("tierwise", *(word for word in words if word)))


def usd_signed(amount: float | None) -> str:
    """Return a change of USD with its sign: as ``usd``, ``+$4.20`` when it is more."""
    return f"+{usd(amount)}" if amount is not None and amount > 0 else usd(amount)


def usd_range(low: float, high: float) -> str:
    """Return a range of USD, ``$380.00 to $445.00``."""
    return f"{usd(low)} to {usd(high)}"


def points_of(fraction: float | None) -> str:
    """Return a change of a rate in percentage points, ``+0.08 pp``."""
    if fraction is None or not math.isfinite(fraction):
        return NOTHING
    text = f"{fraction * 100:+.2f}"
    # a change that rounds to nothing has no direction
    return f"{'0.00' if not text.strip('+-0.') else text.replace('-', MINUS)} pp"


def points_range(low: float, high: float) -> str:
    """Return a range of a change of a rate, ``−0.05 to +0.21 pp``."""
    return f"{points_of(low).removesuffix(' pp')} to {points_of(high)}"


def moment(at_us: int, zone: dt.tzinfo = dt.UTC) -> str:
    """Return an instant given in microseconds since the epoch as ``2026-11-23 14:02 UTC``."""
    return instant(dt.datetime.fromtimestamp(at_us / 1_000_000, dt.UTC), zone)


def span_of(seconds: float) -> str:
    """Return a duration in its largest sensible unit: ``13 days``."""
    return age(seconds).removesuffix(" ago")
