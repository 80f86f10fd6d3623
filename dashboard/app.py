"""The pages' script: what Streamlit runs, from the top, for every view of a page.

``dashboard.server`` starts it with ``--home`` and ``--config``, ``--local`` where only this machine reaches it, and
``--proxied`` where a proxy before it says who asks.
"""

import argparse
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import streamlit as st

from dashboard import format as fmt
from dashboard import identity, jobs
from dashboard.components.filters import PAGE
from dashboard.components.links import Links
from dashboard.desk import Place, Workshop
from dashboard.drilldown import MOST_CALLS, CallLine, CallWish, Reliability
from dashboard.holdings import Holdings, LogEvent
from dashboard.periods import Period
from dashboard.source import HomeSource, config_path
from dashboard.sums import Filters, LogState, Overview, Span
from dashboard.views import budgets, call, caps, data, overview, recommendations, routing, type_detail, types
from optimizer.lifecycle import Desk
from optimizer.simulate.rehearsal import Traffic
from router_core.call_log.doctor import Finding
from router_core.call_log.home import Home
from router_core.call_log.receipts import CallReceipt
from router_core.call_log.trails import Trail
from router_core.control.access import account_name, load_access
from router_core.control.records import Actor
from router_core.decide.guard import Limit

if TYPE_CHECKING:
    from router_core.config import RoutingConfig

_FAVICON = Path(__file__).resolve().parent / "favicon.png"
_DATA: Final = "data"


class _CachedSource:
    """A home's log behind caches that hold results, never a connection, under the log's version."""

    def __init__(self, home: str, config: str | None) -> None:
        self._where = (home, config)

    def state(self) -> LogState:
        return _state(*self._where)[1]

    def span(self) -> Span:
        return _span(*self._where, self._version)

    def overview(self, filters: Filters) -> Overview:
        return _overview(*self._where, self._version, filters)

    def calls(self, wish: CallWish, limit: int = MOST_CALLS) -> tuple[CallLine, ...]:
        if limit > MOST_CALLS:
            return self._source.calls(wish, limit)
        return _calls(*self._where, self._version, wish)

    def reliability(self, period: Period | None, payload_type: str) -> tuple[Reliability, ...]:
        return _reliability(*self._where, self._version, period, payload_type)

    def receipt(self, call_id: str) -> CallReceipt | tuple[str, ...]:
        return self._source.receipt(call_id)

    def trail(self, receipt: CallReceipt) -> Trail:
        return self._source.trail(receipt)

    def holdings(self) -> Holdings:
        return _holdings(*self._where, self._version)

    def events(self, kinds: tuple[str, ...]) -> tuple[LogEvent, ...]:
        return _events(*self._where, self._version, kinds)

    def findings(self) -> tuple[Finding, ...]:
        return _findings(*self._where)

    def rules(self) -> "RoutingConfig | None":
        # read anew each time, as the limit is: it is a small file, and what the pages say has to be what runs
        return self._source.rules()

    def limit(self) -> Limit | None:
        return self._source.limit()

    def traffic(self, period: Period) -> Traffic:
        return _traffic(*self._where, self._version, self._source.config_version(), period)

    @property
    def _version(self) -> str:
        return _state(*self._where)[0]

    @property
    def _source(self) -> HomeSource:
        return _source(*self._where)


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


@st.cache_data(ttl=600, max_entries=64, show_spinner="Reading calls")
def _calls(home: str, config: str | None, version: str, wish: CallWish) -> tuple[CallLine, ...]:
    del version  # only the cache's key
    return _source(home, config).calls(wish)


@st.cache_data(ttl=600, max_entries=64, show_spinner="Reading labels")
def _reliability(
    home: str, config: str | None, version: str, period: Period | None, payload_type: str
) -> tuple[Reliability, ...]:
    del version  # only the cache's key
    return _source(home, config).reliability(period, payload_type)


@st.cache_data(ttl=600, max_entries=16, show_spinner=False)
def _holdings(home: str, config: str | None, version: str) -> Holdings:
    del version  # only the cache's key
    return _source(home, config).holdings()


@st.cache_data(ttl=600, max_entries=32, show_spinner=False)
def _events(home: str, config: str | None, version: str, kinds: tuple[str, ...]) -> tuple[LogEvent, ...]:
    del version  # only the cache's key
    return _source(home, config).events(kinds)


@st.cache_data(ttl=5, max_entries=16, show_spinner="Looking at the log")
def _findings(home: str, config: str | None) -> tuple[Finding, ...]:
    return _source(home, config).findings()


@st.cache_resource(ttl=600, max_entries=4, show_spinner="Reading calls")
def _traffic(home: str, config: str | None, version: str, config_version: str, period: Period) -> Traffic:
    # shared, not copied: a million calls are 60 MB, and nothing writes to them
    del version, config_version  # only the cache's key
    return _source(home, config).traffic(period)


def _now_us() -> int:
    return time.time_ns() // 1000


def _who(config: Path, *, local: bool, proxied: bool) -> Actor:
    # read anew at every question: a role that was taken away must not last as long as a page does
    access = load_access(config)
    session = identity.Session(
        local=local, os_name=account_name(), user=st.user.to_dict(), now_s=time.time(), proxied=proxied
    )
    return identity.identify(session, access)


def _place(home: str, config: str | None, *, local: bool, proxied: bool) -> Place:
    at = Home(Path(home))
    file = Path(config) if config else config_path(at)
    return Place(
        source=_CachedSource(home, config),
        desk=Desk(at, file, _now_us),
        who=partial(_who, file, local=local, proxied=proxied),
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
    options.add_argument("--proxied", action="store_true")
    chosen, _ = options.parse_known_args(sys.argv[1:])
    own = Home(Path(chosen.home))
    shown, config = (own.demo, None) if _shows_demo(own) else (own, chosen.config)
    library = _CachedSource(str(shown.root), config)
    place = _place(str(shown.root), config, local=chosen.local, proxied=chosen.proxied)
    workshop = Workshop(
        make_demo=partial(jobs.make_demo, own),
        import_upload=lambda name, upload, wish, dry: jobs.import_upload(shown, name, upload, wish, dry_run=dry),
        reading=str(shown.root),
    )

    def overview_page() -> None:
        overview.render(library, place, library, links)

    def types_page() -> None:
        types.render(place, library, links)

    def type_page() -> None:
        type_detail.render(place, library, links)

    def call_page() -> None:
        call.render(library, links)

    def recommendations_page() -> None:
        recommendations.render(place)

    def caps_page() -> None:
        caps.render(library)

    def budgets_page() -> None:
        budgets.render(library, links)

    def routing_page() -> None:
        routing.render(place)

    def data_page() -> None:
        file = Path(config) if config else config_path(shown)
        data.render(place, library, workshop, load_access(file))

    pages = {
        "overview": st.Page(overview_page, title="Overview", default=True),
        "types": st.Page(types_page, title="Payload types", url_path="types"),
        "type": st.Page(type_page, title="Payload type", url_path="type", visibility="hidden"),
        "call": st.Page(call_page, title="Call", url_path="call", visibility="hidden"),
        "recommendations": st.Page(recommendations_page, title="Recommendations", url_path="recommendations"),
        "caps": st.Page(caps_page, title="Cap simulator", url_path="caps"),
        "budgets": st.Page(budgets_page, title="Budgets and alerts", url_path="budgets"),
        "routing": st.Page(routing_page, title="Routing and audit", url_path="routing"),
        "data": st.Page(data_page, title="Data and settings", url_path="data"),
    }
    links = Links(
        payload_type=lambda name: st.switch_page(pages["type"], query_params={type_detail.ID: name}),
        call=lambda call_id: st.switch_page(pages["call"], query_params={call.ID: call_id}),
        page=lambda name: st.switch_page(pages[name]),
    )
    page = st.navigation(
        {
            "Explore": [pages[name] for name in ("overview", "types", "type", "call")],
            "Act": [pages[name] for name in ("recommendations", "caps", "budgets")],
            "Govern": [pages[name] for name in ("routing", "data")],
        },
        expanded=True,
    )
    title = "Tierwise" if page.url_path == "" else f"{page.title} · Tierwise"
    st.set_page_config(page_title=title, page_icon=str(_FAVICON), layout="wide")
    with st.sidebar:
        _choose_data(own)
        _signing_in(place.who())
    st.session_state[PAGE] = page.url_path
    page.run()


def _shows_demo(own: Home) -> bool:
    """Return whether the demo's log is to be shown, which lies below the home's own."""
    if own.is_demo or not own.demo.log.exists():
        return False
    wanted = st.session_state.pop(f"show_{_DATA}", None)
    if wanted is not None:
        st.session_state[_DATA] = wanted
    asked = st.session_state.get(_DATA) or st.query_params.get(_DATA)
    return asked == "demo" if asked else False


def _choose_data(own: Home) -> None:
    """Draw the switch between the home's own log and the demo's, where there is a demo."""
    if own.is_demo or not own.demo.log.exists():
        return
    st.segmented_control(
        "Data",
        ["log", "demo"],
        default="log",
        required=True,
        key=_DATA,
        bind="query-params",
        help="Demo data are simulated.",
    )


def _signing_in(actor: Actor) -> None:
    with st.container(key="identity"):
        st.caption(fmt.markdown(fmt.logged(identity.words(actor))))
        if "is_logged_in" in st.user:
            if actor.auth == "none":
                st.button("Sign in", key="sign_in", on_click=st.login)
            else:
                st.button("Sign out", key="sign_out", on_click=st.logout)


main()
