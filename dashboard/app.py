"""The pages' script: what Streamlit runs, from the top, for every view of a page.

``dashboard.server`` starts it with ``--home`` and ``--config``.
"""

import argparse
import sys
from pathlib import Path

import streamlit as st

from dashboard.periods import Period
from dashboard.source import HomeSource
from dashboard.sums import Filters, LogState, Overview, Span
from dashboard.views import caps, overview
from optimizer.simulate.rehearsal import Traffic
from router_core.call_log.home import Home
from router_core.decide.guard import Limit

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

    def limit(self) -> Limit | None:
        # read anew each time: it is a small file, and the budget in it is what the page begins with
        return _source(*self._where).limit()

    def traffic(self, period: Period) -> Traffic:
        return _traffic(*self._where, _state(*self._where)[0], _source(*self._where).config_version(), period)


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


@st.cache_resource(ttl=600, max_entries=4, show_spinner="Reading calls")
def _traffic(home: str, config: str | None, version: str, config_version: str, period: Period) -> Traffic:
    # shared, not copied: a million calls are 60 MB, and nothing writes to them
    del version, config_version  # only the cache's key
    return _source(home, config).traffic(period)


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

    def caps_page() -> None:
        caps.render(source)

    pages = [
        st.Page(overview_page, title="Overview", default=True),
        st.Page(caps_page, title="Cap simulator", url_path="caps"),
    ]
    st.navigation(pages, position="top").run()


main()
