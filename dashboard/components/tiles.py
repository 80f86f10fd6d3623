"""Tiles: one number each, with what it means and how it changed."""

from dataclasses import dataclass
from typing import Literal

import streamlit as st

from dashboard import format as fmt
from dashboard.sums import Sums


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One number.

    Attributes:
        key: Stable name, for tests and addresses in the page.
        label: What it is.
        value: The number, formatted.
        delta: Its change against the period before, formatted; None when there is none.
        more_is: Whether growth is good news.
        note: A few words under the number; several lines for ``draw_with_notes`` only.
        help: How it is computed.
    """

    key: str
    label: str
    value: str
    help: str
    delta: str | None = None
    more_is: Literal["worse", "neither"] = "worse"
    note: str | None = None


def draw_with_notes(tiles: tuple[Tile, ...]) -> None:
    """Draw tiles as ``draw`` does, with notes that may be long: they wrap under the numbers instead of being cut."""
    with st.grid(5, min_column_width=150, key="tiles"):
        for tile in tiles:
            with st.container(key=f"tile_{tile.key}", border=True, height="stretch", gap=None):
                st.metric(tile.label, tile.value, help=fmt.markdown(tile.help))
                for note in (tile.note or "").splitlines():
                    st.caption(fmt.markdown(note))


def draw(tiles: tuple[Tile, ...]) -> None:
    """Draw the tiles in a grid that folds to one or two columns on a phone."""
    with st.grid(5, min_column_width=150, key="tiles"):
        for tile in tiles:
            with st.container(key=f"tile_{tile.key}", height="stretch"):
                delta, colour = _delta(tile)
                st.metric(
                    tile.label,
                    tile.value,
                    delta,
                    delta_color=colour,
                    help=fmt.markdown(tile.help),
                    delta_description=tile.note,
                    border=True,
                    height="stretch",
                )


def _delta(tile: Tile) -> tuple[str | int | None, Literal["inverse", "off"]]:
    if tile.delta is None:
        return None, "off"
    unchanged = not any(digit in tile.delta for digit in "123456789")
    delta = 0 if unchanged else tile.delta.replace(fmt.MINUS, "-")
    return delta, "inverse" if tile.more_is == "worse" else "off"


def overview_tiles(now: Sums, before: Sums | None, price_nusd: int | None) -> tuple[Tile, ...]:
    """Return the first page's ten tiles; ``price_nusd`` prices wrong answers that have no price of their own."""
    then = before if before is not None else Sums()
    has = before is not None
    impact, impact_then = now.impact_with(price_nusd), then.impact_with(price_nusd)

    def relative(new: float | None, old: float | None) -> str | None:
        return fmt.change(new, old) if has else None

    return (
        Tile(
            key="spend",
            label="Spend",
            value=fmt.usd_short(fmt.nusd(now.spend_nusd)),
            delta=relative(now.spend_nusd, then.spend_nusd),
            help=f"Known cost of all attempts, shadows included: {fmt.usd(fmt.nusd(now.spend_nusd))}.",
        ),
        Tile(
            key="cost_per_1k",
            label="Cost per 1k calls",
            value=fmt.usd(_usd(now.cost_per_1k_nusd)),
            delta=relative(now.cost_per_1k_nusd, then.cost_per_1k_nusd),
            help="Spend divided by calls, times 1,000.",
        ),
        Tile(
            key="impact",
            label="Observed impact",
            value=fmt.usd_short(fmt.nusd(impact)) if now.labelled else fmt.NOTHING,
            delta=relative(impact, impact_then),
            note=None if now.labelled else "no labels",
            help="What labelled wrong answers cost: the loss that was reported, else the price of a wrong answer.",
        ),
        Tile(
            key="total_cost",
            label="Total cost",
            value=fmt.usd_short(fmt.nusd(now.spend_nusd + impact)),
            delta=relative(now.spend_nusd + impact, then.spend_nusd + impact_then),
            help="Spend plus observed impact.",
        ),
        Tile(
            key="calls",
            label="Calls",
            value=fmt.count_short(now.calls),
            delta=relative(now.calls, then.calls),
            more_is="neither",
            help=f"{fmt.plural(now.calls, 'call')}, of which {fmt.count(now.unanswered)} got no answer.",
        ),
        Tile(
            key="p50",
            label="Latency p50",
            value=fmt.latency(now.p50_ms, approximate=True),
            delta=relative(now.p50_ms, then.p50_ms),
            help="Half of the calls took no longer. From buckets, within 2.5 %.",
        ),
        Tile(
            key="p95",
            label="Latency p95",
            value=fmt.latency(now.p95_ms, approximate=True),
            delta=relative(now.p95_ms, then.p95_ms),
            help="95 % of the calls took no longer. From buckets, within 2.5 %.",
        ),
        Tile(
            key="failed",
            label="Failed requests",
            value=fmt.rate(now.failed_rate),
            delta=fmt.points(now.failed_rate, then.failed_rate),
            help=f"{fmt.count(now.failed)} of {fmt.plural(now.attempts, 'attempt')}: the request failed.",
        ),
        Tile(
            key="invalid",
            label="Invalid answers",
            value=fmt.rate(now.invalid_rate),
            delta=fmt.points(now.invalid_rate, then.invalid_rate),
            help=f"{fmt.count(now.invalid)} of {fmt.plural(now.attempts, 'attempt')}: the answer failed a check.",
        ),
        Tile(
            key="wrong",
            label="Wrong answers",
            value=fmt.rate(now.wrong_rate),
            # the interval takes the place of a change: most changes of a rate this uncertain are noise
            note=fmt.rate_interval(now.wrong_interval) if now.labelled else "no labels",
            help=f"{fmt.count(now.wrong)} of {fmt.plural(now.labelled, 'labelled call')}, "
            f"{fmt.rate(now.coverage)} of the answered ones; the interval is Wilson's.",
        ),
    )


def cost_tiles(now: Sums, before: Sums | None, price_nusd: int | None) -> tuple[Tile, ...]:
    """Return the five of ``overview_tiles`` that say what payload types cost and get wrong."""
    wanted = ("spend", "impact", "total_cost", "calls", "wrong")
    return tuple(tile for tile in overview_tiles(now, before, price_nusd) if tile.key in wanted)


def _usd(nusd: float | None) -> float | None:
    return None if nusd is None else nusd / fmt.NANO
