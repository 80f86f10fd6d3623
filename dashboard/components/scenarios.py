"""Limits that a reader keeps to compare, at most four of them; they are in the address."""

from collections.abc import Sequence
from functools import partial
from typing import Final

import streamlit as st

from dashboard import format as fmt
from dashboard.components import cap_results, tables
from dashboard.rehearsals import make_limit
from optimizer.simulate.rehearsal import Effect
from router_core.decide.guard import Limit

MOST: Final = 4
KEY: Final = "compare"
_MOST_USD = 1_000_000_000


def kept(name: str) -> tuple[Limit, ...]:
    """Return the limits that the address keeps, and say of what it holds beside them that it is left out."""
    found: list[Limit] = []
    bad: list[str] = []
    for text in filter(None, st.query_params.get(KEY, "").split(",")):
        limit = _read(text, name)
        if limit is None or limit in found or len(found) == MOST:
            bad.append(text)
        else:
            found.append(limit)
    if bad:
        with st.container(key=f"unknown_{KEY}", horizontal=True, vertical_alignment="center"):
            st.badge("left out", icon=":material/info:", color="gray")
            shown = ", ".join(fmt.logged(each, longest=40) for each in bad[:MOST])
            st.text(f"Limits to compare, at most {MOST} as limit:reserve: {shown}", width="content")
    return tuple(found)


def _read(text: str, name: str) -> Limit | None:
    try:
        usd, reserve = (float(part) for part in (text if ":" in text else f"{text}:0").split(":"))
    except ValueError:
        return None
    fits = 0 <= usd <= _MOST_USD and 0 <= reserve <= _MOST_USD
    return make_limit(usd, reserve, name) if fits else None


def draw(chosen: Effect, others: Sequence[Effect], stem: str) -> None:
    """Draw the chosen limit beside those that are kept, and the buttons that keep and forget."""
    limits = [effect.limit for effect in others]
    with st.container(border=True, key="scenarios"):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            st.markdown("**Limits compared**", width="content")
            with st.container(horizontal=True, width="content", vertical_alignment="center"):
                full = len(limits) >= MOST
                st.button(
                    "Keep this limit",
                    key="keep_limit",
                    icon=":material/add:",
                    disabled=full or chosen.limit in limits,
                    help=f"At most {MOST} are compared." if full else None,
                    on_click=partial(_write, [*limits, chosen.limit]),
                )
                st.button(
                    "Forget them",
                    key="forget_limits",
                    type="tertiary",
                    disabled=not limits,
                    on_click=partial(_write, []),
                )
                table = of(chosen, others)
                tables.download(table, key="scenarios_csv", stem=f"{stem}_compared")
        tables.show(table, key="scenarios_table", alt="Limits compared: saved, degraded, extra wrong, net")


def _write(limits: Sequence[Limit]) -> None:
    if limits:
        pairs = (f"{_usd(each.limit_nusd)}:{_usd(each.critical_reserve_nusd)}" for each in limits)
        st.query_params[KEY] = ",".join(pairs)
    elif KEY in st.query_params:
        del st.query_params[KEY]


def _usd(nusd: int) -> str:
    return f"{nusd / fmt.NANO:.9f}".rstrip("0").rstrip(".")


def of(chosen: Effect, others: Sequence[Effect]) -> tables.Table:
    """Return one row per limit, the chosen one first."""
    columns = (
        tables.Column(title="Limit", name="scenario", kind="text"),
        tables.Column(title="Per day", name="limit_usd", kind="usd"),
        tables.Column(title="Critical reserve", name="critical_reserve_usd", kind="usd"),
        tables.Column(title="Days reached", name="days_tripped", kind="count"),
        tables.Column(title="Saved", name="saved_usd", kind="usd"),
        tables.Column(title="Degraded", name="degraded", kind="count"),
        tables.Column(title="Extra wrong", name="extra_wrong", kind="number"),
        tables.Column(title="90% interval", name="extra_wrong_90", kind="text"),
        tables.Column(title="Unknown calls", name="unknown_calls", kind="count"),
        tables.Column(title="Net saved", name="net_usd", kind="usd"),
        tables.Column(title="Saved per wrong", name="saved_per_wrong_usd", kind="usd", help="Per extra wrong answer"),
    )
    named = [("chosen", chosen), *((f"{chr(ord('A') + i)}", effect) for i, effect in enumerate(others))]
    return tables.Table(columns=columns, rows=tuple(_row(name, effect) for name, effect in named))


def _row(name: str, effect: Effect) -> tuple[tables.Value, ...]:
    harm, saved = effect.harm, fmt.nusd(effect.saved_nusd) or 0.0
    known = bool(harm.judged or harm.same or not harm.unknown)
    extra = harm.extra_wrong.mean if known else None
    return (
        name,
        fmt.nusd(effect.limit.limit_nusd),
        fmt.nusd(effect.limit.critical_reserve_nusd),
        len(effect.trips),
        saved,
        effect.degraded,
        extra,
        cap_results.number_interval(harm.extra_wrong) if harm.judged else fmt.NOTHING,
        harm.unknown,
        effect.net_usd.mean if known else None,
        saved / extra if extra is not None and extra > 0 else None,
    )
