"""The history of the routing config: each version with its change, and the way back to it."""

from functools import partial
from typing import Final
from zoneinfo import ZoneInfo

import streamlit as st

from dashboard import format as fmt
from dashboard import identity, provenance
from dashboard.components import cards, decisions
from dashboard.desk import Place
from router_core.control.records import ConfigVersion
from router_core.control.reviews import Head

PER_PAGE: Final = 50
_HEIGHT, _SCROLLS_FROM = 460, 6


def draw(place: Place, head: Head, zone: ZoneInfo) -> None:
    """Draw the newest versions, and older ones page by page."""
    newest = place.desk.history(limit=1)
    with st.container(border=True, key="history"):
        st.markdown("**History of the config**")
        if not newest:
            cards.plain("No version is in history yet: the first change by hand or by a click begins it.")
            return
        # numbers have no gaps worth counting rows for
        pages = -(-newest[0].seq // PER_PAGE)
        page = st.pagination(pages, key="history_page") if pages > 1 else 1
        # one more than is shown: its bytes are what the last one shown is compared with
        found = place.desk.history(limit=PER_PAGE + 1, offset=(page - 1) * PER_PAGE)
        shown = found[:PER_PAGE]
        with st.container(height=_HEIGHT if len(shown) > _SCROLLS_FROM else "content", border=False, key="versions"):
            for i, version in enumerate(shown):
                _version(place, version, found[i + 1] if i + 1 < len(found) else None, head, zone)
        cards.plain(f"{fmt.plural(len(shown), 'version')} shown, newest first · times in {zone.key}")


def _version(place: Place, version: ConfigVersion, before: ConfigVersion | None, head: Head, zone: ZoneInfo) -> None:
    refused = identity.refusal(place.who(), "rollback")
    why = None if refused is None else fmt.markdown(fmt.logged(refused))
    with st.container(gap="xxsmall", key=f"version_{version.seq}"):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.markdown(fmt.markdown(words(version, zone)), width="content")
            with st.container(horizontal=True, width="content"):
                if version.kind == "apply":
                    st.button(
                        "Undo…",
                        key=f"undo_{version.seq}",
                        disabled=refused is not None,
                        help=why,
                        on_click=partial(decisions.open_undo, place, version.seq),
                    )
                st.button(
                    "Roll back…",
                    key=f"rollback_{version.seq}",
                    disabled=refused is not None or version.version == head.version,
                    help=why or ("This is what runs now." if version.version == head.version else None),
                    on_click=partial(decisions.open_rollback, place, version.seq),
                )
        if before is not None:
            cards.lazy_diff(
                "Diff", key=f"version_diff_{version.seq}", of=partial(place.desk.diff, before.version, version.version)
            )


def words(version: ConfigVersion, zone: ZoneInfo) -> str:
    """Return one version in words: number, when, who, what, why."""
    what = " ".join((provenance.KINDS[version.kind], *version.proposal_ids))
    by = f" by {fmt.logged(version.by)}" if version.by else ""
    why = f": {fmt.logged(version.reason)}" if version.reason else ""
    return f"{version.seq} · {fmt.moment(version.since_us, zone)} · {version.version} · {what}{by}{why}"
