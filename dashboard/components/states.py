"""What a page says when it has no numbers to show: no log, no rows, a lock, an error."""

import contextlib
import logging
import uuid
from collections.abc import Callable, Sequence
from types import TracebackType

import streamlit as st

from dashboard import format as fmt
from dashboard.components.links import Links
from dashboard.library import SlowQuestionError
from dashboard.sums import LogState, Span
from router_core.call_log.access import LogBusyError, LogUnavailableError, NoLogError
from router_core.errors import ConfigError

_LOG = logging.getLogger("tierwise.dashboard")
FIRST_CALL = """from router_core import Router

router = Router.open("routing.yaml")
answer = router.complete(
    "ticket.classify",
    messages=[{"role": "user", "content": "..."}],
)
"""


class Guarded(contextlib.AbstractContextManager[None]):
    """Turns what goes wrong under it into a line a reader can act on.

    A traceback goes to the server's log only, under an id that the page shows. Streamlit's own control flow passes.

    Args:
        key: Names the button that tries again; a page that is guarded in parts has one each.
    """

    def __init__(self, key: str = "retry") -> None:
        self._key = key

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        """Draw the line for an ``Exception`` and swallow it."""
        if not isinstance(error, Exception):
            return False
        if isinstance(error, NoLogError):
            no_log()
            return True
        if isinstance(error, ConfigError | LogUnavailableError):
            st.error("The log cannot be read.")
            st.text(fmt.logged(str(error), longest=2_000))
        elif isinstance(error, SlowQuestionError):
            st.warning("This took longer than a page waits, and was stopped. Choose a shorter period, or fewer types.")
        elif isinstance(error, LogBusyError):
            st.warning("The log is being written and stayed locked for longer than a page waits. Nothing is lost.")
        else:
            error_id = uuid.uuid4().hex[:8]
            _LOG.error("page failed, error id %s", error_id, exc_info=error)
            st.error(f"This page could not be drawn. Error id {error_id}; the details are in the server's log.")
        st.button("Try again", key=self._key)
        return True


def span_or_no_log(state: LogState, ask: Callable[[], Span], links: Links | None = None) -> Span | None:
    """Return what there is to choose from; where that is nothing, say how a log comes into being and return None."""
    span = ask() if state.exists else None
    if span is None or span.is_empty:
        no_log(links)
        return None
    return span


def no_log(links: Links | None = None) -> None:
    """Say how a log comes into being, and lead to where that can be done."""
    st.subheader("No calls logged yet")
    st.markdown("Three ways to fill this page:")
    with st.grid(3, min_column_width=260, border=True):
        with st.container():
            st.markdown("**See it with simulated calls**")
            st.code("tierwise demo", language=None)
        with st.container():
            st.markdown("**Import a log**")
            st.code("tierwise import FILE", language=None)
        with st.container():
            st.markdown("**Route your own calls**")
            st.code(FIRST_CALL, language="python")
    if links is not None and st.button("Do it here: Data and settings", key="to_data", icon=":material/arrow_forward:"):
        links.page("data")


def no_match(named: Sequence[tuple[str, str]], clear: Callable[[], None]) -> None:
    """Say that the filters, as (name, value), leave nothing over, and offer to ``clear`` them."""
    st.subheader("Nothing matches the filters")
    for name, value in named:
        st.text(f"{name}: {value}")
    st.button("Clear filters", key="clear", on_click=clear)
