"""One call: what was asked of whom, what it cost line by line, and why it went as it did."""

from zoneinfo import ZoneInfo

import streamlit as st

from dashboard import format as fmt
from dashboard.components import bar, cards, states, tables
from dashboard.components.links import Links
from dashboard.library import Library
from dashboard.sums import LogState
from router_core.call_log.receipt_text import call_text
from router_core.call_log.receipts import AttemptRow, CallReceipt
from router_core.call_log.trails import Trail

# not "id", which is bound on the page that leads here: a bound name cannot be set for the next page
ID = "call"
_ONE_OF = "one_of"
_LONGEST_RECEIPT = 60_000


def render(library: Library, links: Links) -> None:
    """Draw the page of the call that the address names, by its id or the beginning of it."""
    with st.container(horizontal=True, vertical_alignment="center", key="head"):
        st.title("Call", anchor=False, width="content")
        badge = st.empty()
    with states.Guarded():
        state = library.state()
        with badge:
            bar.demo_badge(state)
        if not state.exists:
            states.no_log(links)
            return
        _body(library, links, state)


def _body(library: Library, links: Links, state: LogState) -> None:
    asked = st.text_input(
        "Call id, or its beginning", key=ID, bind="query-params", max_chars=200, width=420, placeholder="call id"
    )
    if not asked:
        st.subheader("Which call?")
        st.text("Enter an id, as answer.call_id gives it, or open one from the page of its payload type.")
        return
    found = library.receipt(asked.strip())
    if not isinstance(found, CallReceipt):
        _not_one(found)
        return
    _receipt(found, library.trail(found), links, state)


def _not_one(ids: tuple[str, ...]) -> None:
    if not ids:
        st.subheader("No such call")
        st.text("Nothing in the log has an id that begins like this.")
        return
    st.subheader("Several calls begin like this")
    st.selectbox("Calls", ids, index=None, key=_ONE_OF, placeholder="choose one", width=420, on_change=_take_one)


def _take_one() -> None:
    if st.session_state.get(_ONE_OF) is not None:
        st.session_state[ID] = st.session_state[_ONE_OF]


def _receipt(receipt: CallReceipt, trail: Trail, links: Links, state: LogState) -> None:
    call = receipt.call
    _facts(receipt, ZoneInfo(state.zone))
    name = call.payload_type
    if name and st.button("Open its payload type", key="to_type", icon=":material/arrow_forward:", type="tertiary"):
        links.payload_type(name)
    with st.container(border=True, key="trail"):
        st.markdown("**Why it went this way**")
        told = [trail.opening] if trail.opening else []
        told += [
            f"after #{attempt.n} {attempt.role}: {trail.after[attempt.attempt_id]}"
            for attempt in receipt.attempts
            if attempt.attempt_id in trail.after
        ]
        st.text("\n".join(fmt.logged(line, longest=1_000) for line in told) or "It was not routed here.")
        st.caption(_replay_words(trail))
    with st.container(border=True, key="attempts"):
        table = attempts_table(receipt)
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            st.markdown("**Attempts**", width="content")
            tables.download(table, key="csv", stem=fmt.file_stem("call", call.call_id[:32], state.data_version))
        tables.show(table, key="attempts_table", alt="Attempts of the call: role, tier, model, status, tokens, cost")
        attempts = fmt.plural(len(receipt.attempts), "attempt")
        cards.plain(f"{fmt.usd(fmt.nusd(receipt.cost_nusd))} over {attempts}, shadows left out")
    with st.container(border=True, key="receipt"):
        st.markdown("**Receipt, to the nano-dollar**")
        lines = call_text(receipt, trail)[:_LONGEST_RECEIPT].splitlines()
        st.code("\n".join(fmt.logged(line, longest=1_000) for line in lines), language=None)


def _facts(receipt: CallReceipt, zone: ZoneInfo) -> None:
    call = receipt.call
    label = next((row.label for row in receipt.attempts if row.attempt_id == call.served_attempt_id), None)
    served = " · ".join(fmt.logged(part, longest=60) for part in (call.tier_served, call.model_served) if part)
    right = fmt.NOTHING if label is None else _right(label.correct)
    at = None if call.ts is None else call.ts.replace(tzinfo=fmt.dt.UTC)
    facts = (
        ("Payload type", fmt.logged(call.payload_type, longest=80), "critical" if call.critical else ""),
        ("When", fmt.instant(at, zone), fmt.logged(call.source)),
        ("Served by", served or "nothing", f"planned: {fmt.logged(call.tier_planned)}"),
        ("Status", fmt.logged(call.status), fmt.logged(call.reason)),
        ("Cost", fmt.usd(fmt.nusd(receipt.cost_nusd)), fmt.plural(len(receipt.attempts), "attempt")),
        ("Latency", fmt.latency(call.latency_ms), "of the whole call"),
        (
            "Confidence",
            fmt.NOTHING if call.confidence is None else f"{call.confidence:.3f}",
            "calibrated" if call.calibration else "not calibrated",
        ),
        ("Right", right, "no label yet" if label is None else f"says {fmt.logged(label.source)}"),
        ("Guard", fmt.logged(call.guard_state), "degraded: served below its plan" if call.degraded else ""),
        ("Config", fmt.logged(call.config_version), fmt.logged(call.run) if call.run else ""),
    )
    with st.container(border=True, key="facts"), st.grid(5, min_column_width=170, gap="small"):
        for name, value, note in facts:
            lines = [f":small[{fmt.markdown(name)}]", f"**{fmt.markdown(value)}**"]
            lines += [f":small[{fmt.markdown(note)}]"] if note else []
            st.markdown("  \n".join(lines))


def _right(correct: float | None) -> str:
    return {1.0: "yes", 0.0: "no"}.get(correct, fmt.rate(correct)) if correct is not None else fmt.NOTHING


def _replay_words(trail: Trail) -> str:
    if trail.replays is None:
        return "The config of its version is not at hand, so its thresholds are not shown."
    if trail.replays:
        return "✓ The same facts decide the same again under the config of its version."
    return "▲ These facts do not decide the same again: another version of the program wrote them, or they were edited."


def attempts_table(receipt: CallReceipt) -> tables.Table:
    """Return one row per attempt, shadows last."""
    columns = (
        tables.Column(title="#", name="n", kind="count"),
        tables.Column(title="Role", name="role", kind="text"),
        tables.Column(title="Tier", name="tier", kind="text"),
        tables.Column(title="Model", name="request_model", kind="text"),
        tables.Column(title="Status", name="status", kind="text"),
        tables.Column(title="Confidence", name="confidence", kind="fraction"),
        tables.Column(title="Right", name="correct", kind="fraction"),
        tables.Column(title="Input", name="input_tokens", kind="count", help="Tokens"),
        tables.Column(title="Cached", name="cached_tokens", kind="count", help="Tokens"),
        tables.Column(title="Output", name="output_tokens", kind="count", help="Tokens"),
        tables.Column(title="Cost", name="cost_usd", kind="usd"),
        tables.Column(title="Known as", name="cost_status", kind="text"),
        tables.Column(title="Latency", name="latency_ms", kind="exact_ms"),
        tables.Column(title="Served", name="served", kind="text"),
    )
    served = receipt.call.served_attempt_id
    rows = (*receipt.attempts, *receipt.shadows)
    return tables.Table(columns=columns, rows=tuple(_attempt(row, served) for row in rows))


def _attempt(row: AttemptRow, served: str | None) -> tuple[tables.Value, ...]:
    status = f"{row.status} ({row.error_type})" if row.error_type else row.status
    return (
        row.n,
        row.role,
        row.tier,
        row.request_model,
        status,
        row.confidence,
        None if row.label is None else row.label.correct,
        row.input_tokens,
        row.cached_tokens,
        row.output_tokens,
        fmt.nusd(row.cost_nusd),
        row.cost_status,
        row.latency_ms,
        "served" if row.attempt_id == served else "",
    )
