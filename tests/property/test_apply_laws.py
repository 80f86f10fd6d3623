"""Laws of applying a move to any routing config: only its bytes change, and undo gives every byte back."""

import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from router_core.config.document import Document, read
from router_core.config.tree import Location, Mapping, Node, entry_of, same
from router_core.control.changes import plain_of, value_at
from router_core.control.records import ConfigEdit
from router_core.errors import ConfigError
from tests.decisions import ADA, REASON, Place, make_draft
from tests.yaml_documents import routing_files

Routing = tuple[bytes, dict[str, tuple[str, ...]]]
MOVES = st.sampled_from([("cheap",), ("mid",), ("top",), ("cheap", "top"), ("mid", "top")])


@contextmanager
def place_with(data: bytes) -> Generator[Place]:
    folder = Path(tempfile.mkdtemp())
    try:
        yield Place(folder, text=data)
    finally:
        shutil.rmtree(folder)


def move(data: bytes, payload_type: str, path: tuple[str, ...]) -> ConfigEdit:
    """The edit of a move, with the present path as the file writes it."""
    location = ("payload_types", payload_type, "path")
    return ConfigEdit(path=location, before=value_at(plain_of(data), location), after=list(path))


def span_of(document: Document, path: Location) -> tuple[int, int]:
    """Where the value stands, and the line of its key: first and last byte that an edit of it may touch."""
    node: Node = document.root
    start = 0
    for part in path:
        assert isinstance(node, Mapping)
        entry = entry_of(node, part)
        assert entry is not None
        start, node = entry.key.end, entry.value
    text = document.mark + document.text
    return len(text[:start].encode()), len(text[: node.end].encode())


def with_path(data: Any, payload_type: str, path: tuple[str, ...]) -> Any:
    types = data["payload_types"]
    return {**data, "payload_types": {**types, payload_type: {**types[payload_type], "path": list(path)}}}


@settings(max_examples=50, deadline=None)
@given(routing=routing_files(anchors=False), path=MOVES, draw=st.data())
def test_applying_changes_the_bytes_of_one_value_and_undo_restores_them(
    routing: Routing, path: tuple[str, ...], draw: st.DataObject
) -> None:
    data, paths = routing
    payload_type = draw.draw(st.sampled_from(sorted(paths)))
    edit = move(data, payload_type, path)
    if same(edit.before, edit.after):
        event("nothing to move")
        return
    with place_with(data) as place:
        (proposal,) = place.publish(make_draft(payload_type, path, edits=(edit,)))
        done = place.apply(proposal)
        after = place.config.read_bytes()
        assert same(plain_of(after), with_path(plain_of(data), payload_type, path))
        start, end = span_of(read(data, source="test"), edit.path)
        assert after[:start] == data[:start]
        assert after[len(after) - (len(data) - end) :] == data[end:]
        place.desk.undo(done.seq, ADA, REASON, expected_version=done.version)
        assert place.config.read_bytes() == data
        assert place.audited() == [("propose", "done"), ("apply", "done"), ("undo", "done")]


@settings(max_examples=30, deadline=None)
@given(routing=routing_files(anchors=True), path=MOVES, draw=st.data())
def test_with_anchors_a_move_is_right_or_refused_and_the_file_as_it_was(
    routing: Routing, path: tuple[str, ...], draw: st.DataObject
) -> None:
    data, paths = routing
    payload_type = draw.draw(st.sampled_from(sorted(paths)))
    edit = move(data, payload_type, path)
    if same(edit.before, edit.after):
        return
    with place_with(data) as place:
        (proposal,) = place.publish(make_draft(payload_type, path, edits=(edit,)))
        refusal = place.desk.review([proposal]).refusal
        if refusal is not None:
            event("refused")
            assert "anchor &" in refusal or "is an alias" in refusal
            with pytest.raises(ConfigError):
                place.apply(proposal)
            assert place.config.read_bytes() == data
            assert place.state(proposal) == "open"
            return
        event("applied")
        done = place.apply(proposal)
        assert same(plain_of(place.config.read_bytes()), with_path(plain_of(data), payload_type, path))
        place.desk.undo(done.seq, ADA, REASON, expected_version=done.version)
        assert place.config.read_bytes() == data


@settings(max_examples=20, deadline=None)
@given(routing=routing_files(anchors=False), path=MOVES, draw=st.data())
def test_after_a_hand_edit_undo_takes_back_the_move_and_nothing_else(
    routing: Routing, path: tuple[str, ...], draw: st.DataObject
) -> None:
    data, paths = routing
    payload_type = draw.draw(st.sampled_from(sorted(paths)))
    edit = move(data, payload_type, path)
    if same(edit.before, edit.after):
        return
    with place_with(data) as place:
        (proposal,) = place.publish(make_draft(payload_type, path, edits=(edit,)))
        done = place.apply(proposal)
        place.config.write_bytes(place.config.read_bytes() + b"timezone: Europe/Berlin\n")
        offer = place.desk.undo_offer(done.seq)
        assert (offer.exact, offer.refusal) == (False, None)
        place.desk.undo(done.seq, ADA, REASON, expected_version=offer.head_version)
        assert same(plain_of(place.config.read_bytes()), plain_of(data + b"timezone: Europe/Berlin\n"))
