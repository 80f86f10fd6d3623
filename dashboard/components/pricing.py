"""What wrong answers cost: observed, and estimated apart from it, with what neither covers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import streamlit as st

from dashboard import format as fmt
from dashboard.components import tables
from dashboard.impact import Estimate

if TYPE_CHECKING:
    from router_core.config import RoutingConfig
    from router_core.config.sections import PayloadType

ANY_TYPE = "*"


def rule_of(rules: "RoutingConfig | None", payload_type: str) -> "PayloadType | None":
    """Return the section of the routing config that a payload type follows; None = none does."""
    if rules is None:
        return None
    return rules.payload_types.get(payload_type) or rules.payload_types.get(ANY_TYPE)


def listed_nusd(rules: "RoutingConfig | None", payload_types: Sequence[str]) -> dict[str, int]:
    """Return the config's price of a wrong answer for those payload types that have one, nano-dollars."""
    found: dict[str, int] = {}
    for name in payload_types:
        rule = rule_of(rules, name)
        if rule is not None and rule.error_cost_usd is not None:
            found[name] = int(rule.error_cost_usd * fmt.NANO)
    return found


def words(found: Estimate) -> str:
    """Return the estimated impact in a few words; empty when labels tell of none."""
    if not found.says_anything:
        return ""
    unknown = f", {fmt.plural(found.unknown, 'call')} unknown" if found.unknown else ""
    mean = fmt.usd_short(found.mean_nusd / fmt.NANO)
    return f"estimated impact of all answers {mean}, {tables.estimate_interval(found)}{unknown}: a second number"


def draw(found: Estimate) -> None:
    """Draw observed and estimated impact side by side; they are never added up."""
    covered = found.labelled / found.answered if found.answered else None
    facts = [
        (
            "Observed impact",
            fmt.usd_short(fmt.nusd(found.observed_nusd)) if found.labelled else fmt.NOTHING,
            f"of {fmt.plural(found.labelled, 'labelled call')}",
        ),
        (
            "Estimated impact",
            fmt.usd_short(found.mean_nusd / fmt.NANO) if found.says_anything else fmt.NOTHING,
            tables.estimate_interval(found) if found.says_anything else "no labels to estimate from",
        ),
        ("Label coverage", fmt.rate(covered), f"of {fmt.plural(found.answered, 'answered call')}"),
        ("Not in the estimate", fmt.plural(found.unknown, "call"), "of types and tiers without labels or a price"),
    ]
    with st.grid(4, min_column_width=150, gap="small"):
        for label, value, note in facts:
            lines = (f":small[{fmt.markdown(label)}]", f"**{fmt.markdown(value)}**", f":small[{fmt.markdown(note)}]")
            st.markdown("  \n".join(lines))
    st.caption(
        "The estimate holds the observed impact and what is expected among answers without a label, as if labels were "
        "a random sample within each payload type and tier. It is a second number and in no total."
    )
