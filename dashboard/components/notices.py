"""What a reader has to know about a page's numbers: what they are compared with, and what they leave out."""

from decimal import Decimal

import streamlit as st

from dashboard import format as fmt
from dashboard.components import filters
from dashboard.components.filters import Choice
from dashboard.periods import local_day
from dashboard.sums import Overview, Span, Sums


def draw(found: Overview, choice: Choice, span: Span) -> int | None:
    """Draw the notices, and return the reader's price of a wrong answer that carries none, nano-dollars."""
    total, period = found.total, choice.filters.period
    words: list[str] = []
    if period is not None and found.before is not None:
        words.append(f"changes against {period.before().first} to {period.before().last}")
    if period is not None and span.first_hour is not None and period.start < span.first_hour:
        words.append(f"the log begins on {local_day(span.first_hour, period.zone)}")
    if total.coverage is not None:
        words.append(f"labels cover {fmt.rate(total.coverage)} of the answered calls")
    if total.unpriced:
        attempts = f"{fmt.count(total.unpriced)} of {fmt.plural(total.attempts, 'attempt')}"
        words.append(f"the cost of {attempts} is not known, and spend leaves it out")
    if words:
        st.caption(fmt.markdown(" · ".join(words)))
    return _price(total)


def _price(total: Sums) -> int | None:
    if not total.wrong_unpriced:
        return None
    filters.bring_back("price")
    with st.container(horizontal=True, vertical_alignment="center", key="price_row"):
        wrong = fmt.plural(total.wrong_unpriced, "wrong answer")
        price = st.number_input(
            "Price of a wrong answer without one, USD",
            min_value=0.0,
            value=None,
            step=0.1,
            format="%.4f",
            key="price",
            bind="query-params",
            placeholder="not set",
            width=300,
        )
        filters.keep("price", price)
        if price is None:
            st.caption(f"{wrong} carry no error price, so error impact and total cost leave them out.")
            return None
        st.caption(fmt.markdown(f"{wrong} counted at {fmt.usd(price)} each, your figure."))
    return int(Decimal(str(price)) * fmt.NANO)
