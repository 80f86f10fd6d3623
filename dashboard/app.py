"""The pages' script: what Streamlit runs, from the top, for every view of a page.

``dashboard.server`` starts it with ``--home`` and ``--config``.
"""

import argparse
import sys
from pathlib import Path

import streamlit as st

from dashboard.source import HomeSource
from dashboard.sums import Filters, LogState, Overview, Span
from dashboard.views import overview
from router_core.call_log.home import Home

_FAVICON = Path(__file__).resolve().parent / "favicon.png"


class _CachedSource:
    """A home's log behind caches that hold results, never a connection, under the log's version."""

    def __init__(self, home: str, config: str | None) -> None:
        self._where = (home, config)

    def state(self) -> LogState:
        return _state(*self._where)[1]

    def span(self) -> Span:
        return _span(*self._where, _state(*self._where)[0])

    def overview(self, filters: Filters) -> Overview:
        return _overview(*self._where, _state(*self._where)[0], filters)


def _source(home: str, config: str | None) -> HomeSource:
    return HomeSource(Home(Path(home)), Path(config) if config else None)


@st.cache_data(ttl=2, max_entries=16, show_spinner=False)
def _state(home: str, config: str | None) -> tuple[str, LogState]:
    source = _source(home, config)
    return source.version(), source.state()


@st.cache_data(ttl=600, max_entries=16, show_spinner=False)
def _span(home: str, config: str | None, version: str) -> Span:
    del version  # only the cache's key
    return _source(home, config).span()


@st.cache_data(ttl=600, max_entries=128, show_spinner=False)
def _overview(home: str, config: str | None, version: str, filters: Filters) -> Overview:
    del version  # only the cache's key
    return _source(home, config).overview(filters)


def main() -> None:
    """Draw the page that the address names."""
    options = argparse.ArgumentParser()
    options.add_argument("--home", required=True)
    options.add_argument("--config")
    chosen, _ = options.parse_known_args(sys.argv[1:])
    source = _CachedSource(chosen.home, chosen.config)
    st.set_page_config(page_title="Tierwise", page_icon=str(_FAVICON), layout="wide")

    def overview_page() -> None:
        overview.render(source)

    st.navigation([st.Page(overview_page, title="Overview", default=True)], position="hidden").run()


main()
