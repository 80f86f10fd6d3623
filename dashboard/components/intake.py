"""Bringing calls in: simulated ones, an uploaded log, or the reader's own router."""

from functools import partial
from typing import Final

import streamlit as st

from dashboard import format as fmt
from dashboard import identity
from dashboard.components import cards, states
from dashboard.desk import FORMATS, ImportWish, Place, Search, Workshop
from dashboard.sums import LogState

DATA: Final = "data"
_WANTED, _SAID = "intake_wanted", "intake_said"
_MOST_MB = 50


def draw(place: Place, workshop: Workshop, state: LogState, *, is_empty: bool) -> None:
    """Draw the three ways to bring calls in, opened where there are none yet."""
    with st.expander("Bring calls in", expanded=is_empty, key="intake", icon=":material/add:"):
        demo, load, connect = st.tabs(["Load demo data", "Import a log", "Connect the router"])
        with demo:
            _demo(place, workshop, state)
        with load:
            _import(place, workshop)
        with connect:
            st.text("Put this where your program calls a model; the log fills beside routing.yaml.")
            st.code("pip install tierwise\ntierwise init routing.yaml\ntierwise check routing.yaml", language="bash")
            st.code(states.FIRST_CALL, language="python")
            cards.plain("A program that calls LiteLLM directly needs one line; docs/ has a page on that.")
        _outcome()


def _demo(place: Place, workshop: Workshop, state: LogState) -> None:
    if state.demo:
        st.text("This is the demo: every call in it was simulated.")
        return
    st.text("Simulates 60 days of calls with planted findings, about a minute; they are kept apart from any real log.")
    refused = identity.refusal(place.who(), "demo")
    st.button(
        "Load demo data",
        key="demo",
        type=cards.leading(),
        disabled=refused is not None,
        help=None if refused is None else fmt.markdown(fmt.logged(refused)),
        on_click=partial(_want, place, "demo"),
    )
    if st.session_state.pop(_WANTED, None) == "demo":
        with st.status("Simulating calls…", expanded=True):
            made = workshop.make_demo()
        if made.ok:
            st.session_state[f"show_{DATA}"] = "demo"
        st.session_state[_SAID] = made
        st.rerun()


def _import(place: Place, workshop: Workshop) -> None:
    refused = identity.refusal(place.who(), "import")
    if refused is not None:
        cards.plain(refused)
        return
    file = st.file_uploader(
        f"CSV, JSON lines or Parquet, at most {_MOST_MB} MB; larger ones with tierwise import FILE",
        key="upload",
        max_upload_size=_MOST_MB,
    )
    if file is None:
        return
    wish = _wish()
    data = file.getvalue()
    tried = workshop.import_upload(file.name, data, wish, True)
    st.markdown("**What would be imported**")
    if not tried.ok:
        st.error("This file cannot be imported as it is.")
    with st.container(key="preview"):
        st.code("\n".join(fmt.logged(line, longest=400) for line in tried.said.splitlines()[:200]), language=None)
    st.button(
        "Import it",
        key="import",
        type=cards.leading(),
        disabled=not tried.ok,
        on_click=partial(_load, place, workshop, file.name, data, wish),
    )


def _wish() -> ImportWish:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        named = st.selectbox("Read as", FORMATS, key="import_format", width=180)
        tiers = st.text_input("Tiers", key="import_tiers", placeholder="cheap=gpt-5-nano,top=…", width=300)
        place = st.text_input(
            "Payload type from", key="import_place", placeholder="a column, metadata.key or =NAME", width=300
        )
    maps = st.text_area(
        "Columns, COLUMN=FIELD one a line", key="import_maps", height=80, placeholder="created=started_at"
    )
    skip = st.checkbox("Leave bad rows out instead of refusing the file", key="import_skip")
    return ImportWish(
        format=named or "auto",
        tiers=tiers.strip(),
        maps=tuple(line.strip() for line in maps.splitlines() if line.strip()),
        payload_type_from=place.strip(),
        skip_bad=skip,
    )


def _want(place: Place, what: str) -> None:
    if identity.refusal(place.who(), "demo") is None:
        st.session_state[_WANTED] = what


def _load(place: Place, workshop: Workshop, name: str, data: bytes, wish: ImportWish) -> None:
    # asked anew: a role may have been taken away since the page was drawn
    refused = identity.refusal(place.who(), "import")
    if refused is not None:
        st.session_state[_SAID] = Search(ok=False, said=refused)
        return
    st.session_state[_SAID] = workshop.import_upload(name, data, wish, False)


def _outcome() -> None:
    said = st.session_state.get(_SAID)
    if not isinstance(said, Search):
        return
    with st.container(key="intake_outcome"):
        if said.ok:
            st.success("Done.", icon=":material/check_circle:")
        else:
            st.error("That did not work, and nothing was changed.")
        st.code("\n".join(fmt.logged(line, longest=400) for line in said.said.splitlines()[-40:]), language=None)
