"""The pages' script: what Streamlit runs, from the top, for every view of a page.

``dashboard.server`` starts it with ``--home`` and ``--config``, and ``--local`` where only this machine reaches it.
"""

import argparse
import sys
import time
from functools import partial
from pathlib import Path

import streamlit as st

from dashboard import format as fmt
from dashboard import identity, jobs
from dashboard.desk import Place
from dashboard.periods import Period
from dashboard.source import HomeSource, config_path
from dashboard.sums import Filters, LogState, Overview, Span
from dashboard.views import caps, overview, recommendations, routing
from optimizer.lifecycle import Desk
from optimizer.simulate.rehearsal import Traffic
from router_core.call_log.home import Home
from router_core.control.access import account_name, load_access
from router_core.control.records import Actor
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


def _now_us() -> int:
    return time.time_ns() // 1000


def _who(config: Path, *, local: bool) -> Actor:
    # read anew at every question: a role that was taken away must not last as long as a page does
    access = load_access(config)
    session = identity.Session(local=local, os_name=account_name(), user=st.user.to_dict(), now_s=time.time())
    return identity.identify(session, access)


def _place(home: str, config: str | None, *, local: bool) -> Place:
    at = Home(Path(home))
    file = Path(config) if config else config_path(at)
    return Place(
        source=_CachedSource(home, config),
        desk=Desk(at, file, _now_us),
        who=partial(_who, file, local=local),
        search=partial(jobs.search, at, Path(config) if config else None),
        now_us=_now_us,
        trouble=load_access(file).problem,
    )


def main() -> None:
    """Draw the page that the address names."""
    options = argparse.ArgumentParser()
    options.add_argument("--home", required=True)
    options.add_argument("--config")
    options.add_argument("--local", action="store_true")
    chosen, _ = options.parse_known_args(sys.argv[1:])
    place = _place(chosen.home, chosen.config, local=chosen.local)

    def overview_page() -> None:
        overview.render(place.source)

    def recommendations_page() -> None:
        recommendations.render(place)

    def routing_page() -> None:
        routing.render(place)

    def caps_page() -> None:
        caps.render(_CachedSource(chosen.home, chosen.config))

    page = st.navigation(
        {
            "Explore": [st.Page(overview_page, title="Overview", default=True)],
            "Act": [
                st.Page(recommendations_page, title="Recommendations", url_path="recommendations"),
                st.Page(caps_page, title="Cap simulator", url_path="caps"),
            ],
            "Govern": [st.Page(routing_page, title="Routing and audit", url_path="routing")],
        },
        expanded=True,
    )
    title = "Tierwise" if page.url_path == "" else f"{page.title} · Tierwise"
    st.set_page_config(page_title=title, page_icon=str(_FAVICON), layout="wide")
    with st.sidebar:
        _signing_in(place.who())
    page.run()


def _signing_in(actor: Actor) -> None:
    with st.container(key="identity"):
        st.caption(fmt.markdown(fmt.logged(identity.words(actor))))
        if "is_logged_in" in st.user:
            if actor.auth == "none":
                st.button("Sign in", key="sign_in", on_click=st.login)
            else:
                st.button("Sign out", key="sign_out", on_click=st.logout)


main()
