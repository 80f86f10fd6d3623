"""Laws of edits: only the intended bytes change, the data is what was asked for, and refusals have a reason."""

import copy
import re
from typing import Any

from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from router_core.config.document import read
from router_core.config.tree import Mapping, Node, Scalar, Sequence, entry_of, same
from router_core.control.splice import remove, splice
from router_core.errors import ConfigError
from tests.yaml_documents import KEYS, VALUES, yaml_files

SHARED = re.compile(r"anchor &|is an alias|merge key")


def places(data: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """All paths of values in plain data, without the top."""
    children = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    found: list[tuple[str | int, ...]] = []
    for key, value in children:
        found += [(*path, key), *places(value, (*path, key))]
    return found


def holders(data: Any) -> list[tuple[str | int, ...]]:
    """All paths of mappings in plain data, the top included."""
    return [path for path in [(), *places(data)] if isinstance(at(data, path), dict)]


def at(data: Any, path: tuple[str | int, ...]) -> Any:
    for part in path:
        data = data[part]
    return data


def node_at(node: Node, path: tuple[str | int, ...]) -> Node:
    for part in path:
        if isinstance(node, Mapping):
            entry = entry_of(node, part)
            assert entry is not None
            node = entry.value
        elif isinstance(node, Sequence):
            node = node.items[int(part)]
    return node


def loaded(data: bytes) -> Any:
    return read(data, source="test").plain()


def unshared(data: Any) -> Any:
    """A copy in which an aliased value stands once per place."""
    if isinstance(data, dict):
        return {key: unshared(value) for key, value in data.items()}
    return [unshared(item) for item in data] if isinstance(data, list) else copy.copy(data)


def edited(before: bytes, after: bytes) -> tuple[int, int]:
    """Bytes that both have in common at the front and at the end."""
    shorter = min(len(before), len(after))
    front = next((i for i in range(shorter) if before[i] != after[i]), shorter)
    back = next((i for i in range(shorter - front) if before[-1 - i] != after[-1 - i]), shorter - front)
    return front, back


@settings(max_examples=80, deadline=None)
@given(data=yaml_files(anchors=False), value=VALUES, draw=st.data())
def test_any_value_can_be_replaced_in_a_file_without_anchors(data: bytes, value: Any, draw: st.DataObject) -> None:
    before = loaded(data)
    path = draw.draw(st.sampled_from(places(before)))
    expected = unshared(before)
    at(expected, path[:-1])[path[-1]] = value
    result = splice(data, path, value)
    assert same(loaded(result), expected)


@settings(max_examples=80, deadline=None)
@given(data=yaml_files(anchors=False), key=KEYS, value=VALUES, draw=st.data())
def test_a_key_can_be_added_to_any_mapping_of_a_file_without_anchors(
    data: bytes, key: str, value: Any, draw: st.DataObject
) -> None:
    before = loaded(data)
    holder = draw.draw(st.sampled_from(holders(before)))
    assume(key not in at(before, holder))
    expected = unshared(before)
    at(expected, holder)[key] = value
    result = splice(data, (*holder, key), value)
    assert same(loaded(result), expected)
    front, back = edited(data, result)
    assert front + back == len(data), "nothing that was there is gone"
    assert list(at(loaded(result), holder)) == [*at(before, holder), key]


@settings(max_examples=80, deadline=None)
@given(data=yaml_files(anchors=False, far_comments=False), draw=st.data())
def test_any_value_can_be_removed_from_a_file_without_anchors(data: bytes, draw: st.DataObject) -> None:
    before = loaded(data)
    path = draw.draw(st.sampled_from(places(before)))
    expected = unshared(before)
    del at(expected, path[:-1])[path[-1]]
    assert same(loaded(remove(data, path)), expected)


@settings(max_examples=80, deadline=None)
@given(data=yaml_files(anchors=True), value=VALUES, draw=st.data())
def test_with_anchors_an_edit_is_right_or_refused_because_of_them(data: bytes, value: Any, draw: st.DataObject) -> None:
    before = loaded(data)
    path = draw.draw(st.sampled_from(places(before)))
    expected = unshared(before)
    at(expected, path[:-1])[path[-1]] = value
    try:
        result = splice(data, path, value)
    except ConfigError as error:
        event("refused")
        reason = str(error)
    else:
        event("edited")
        assert same(loaded(result), expected)
        return
    assert SHARED.search(reason), reason


@settings(max_examples=80, deadline=None)
@given(data=yaml_files(anchors=False), draw=st.data())
def test_changing_a_single_value_leaves_every_other_byte_alone(data: bytes, draw: st.DataObject) -> None:
    document = read(data, source="test")
    path = draw.draw(st.sampled_from(places(document.plain())))
    node = node_at(document.root, path)
    assume(isinstance(node, Scalar))
    result = splice(data, path, "changed")
    before = document.mark + document.text[: node.place.start]
    # a block scalar ends after its line breaks; those are no part of the edit
    old = document.text[node.place.start : node.end].rstrip()
    after = document.text[node.place.start + len(old) :]
    middle = result.decode().removeprefix(before).removesuffix(after)
    assert len(before) + len(middle) + len(after) == len(result.decode())
    assert middle.strip(": ") == "changed"


@settings(max_examples=80, deadline=None)
@given(data=yaml_files(anchors=True), draw=st.data())
def test_setting_a_value_to_itself_changes_no_byte(data: bytes, draw: st.DataObject) -> None:
    before = loaded(data)
    path = draw.draw(st.sampled_from(places(before)))
    assert splice(data, path, unshared(at(before, path))) == data
