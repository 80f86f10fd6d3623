from typing import Any

import pytest

from router_core.control.splice import remove, splice
from router_core.errors import ConfigError

FILE = """\
# routing
tiers:
  cheap: [{model: a/small, timeout_s: 20}]   # günstig
  top:
    - model: a/large   # the big one
      timeout_s: 60
types:
  extract:   # first
    path:
    - cheap  # one
    - top    # two

    note: |
      text

  classify: {path: [cheap, top], cost: 0.20}  # flow
  empty:
"""


def changed_lines(before: str, after: bytes) -> list[tuple[str, str]]:
    old, new = before.splitlines(), after.decode().splitlines()
    assert len(old) == len(new)
    return [pair for pair in zip(old, new, strict=True) if pair[0] != pair[1]]


@pytest.mark.parametrize(
    ("path", "value", "line"),
    [
        (("tiers", "cheap", 0, "timeout_s"), 30, "  cheap: [{model: a/small, timeout_s: 30}]   # günstig"),
        (("tiers", "top", 0, "model"), "b/new", "    - model: b/new   # the big one"),
        (("types", "extract", "path", 1), "mid", "    - mid    # two"),
        (("types", "extract", "path"), ["cheap", "mid"], "    - mid    # two"),
        (("types", "classify", "path"), ["top"], "  classify: {path: [top], cost: 0.20}  # flow"),
        (("types", "classify", "cost"), 0.5, "  classify: {path: [cheap, top], cost: 0.5}  # flow"),
        (
            ("types", "classify", "critical"),
            True,
            "  classify: {path: [cheap, top], cost: 0.20, critical: true}  # flow",
        ),
        (("types", "empty"), {"path": ["cheap"]}, "  empty: {path: [cheap]}"),
    ],
)
def test_an_edit_changes_one_line_and_leaves_its_comment(path: tuple[Any, ...], value: Any, line: str) -> None:
    assert [new for _, new in changed_lines(FILE, splice(FILE.encode(), path, value))] == [line]


@pytest.mark.parametrize(
    ("path", "items", "before", "after"),
    [
        (("types", "classify", "path"), ["cheap", "top", "best"], "[cheap, top]", "[cheap, top, best]"),
        (("types", "extract", "path"), ["cheap", "top", "best"], "    # two\n", "    # two\n    - best\n"),
        (
            ("tiers", "cheap"),
            [{"model": "a/small", "timeout_s": 20}, {"model": "b/small", "on": "all"}],
            "timeout_s: 20}]",
            'timeout_s: 20}, {model: b/small, "on": all}]',
        ),
    ],
)
def test_an_item_is_added_and_its_siblings_stay_as_they_are_written(
    path: tuple[Any, ...], items: list[Any], before: str, after: str
) -> None:
    assert splice(FILE.encode(), path, items).decode() == FILE.replace(before, after)


@pytest.mark.parametrize(
    ("path", "after", "line"),
    [
        (("types", "extract", "critical"), "      text\n", "    critical: true\n"),
        (("tiers", "top", 0, "critical"), "      timeout_s: 60\n", "      critical: true\n"),
        (("critical",), "  empty:\n", "critical: true\n"),
        (("tiers", "mid"), "      timeout_s: 60\n", "  mid: true\n"),
    ],
)
def test_a_missing_key_becomes_a_line_at_the_end_of_its_mapping(path: tuple[Any, ...], after: str, line: str) -> None:
    assert splice(FILE.encode(), path, True).decode() == FILE.replace(after, after + line)


def test_a_block_list_stays_one() -> None:
    result = splice(FILE.encode(), ("types", "extract", "path"), ["mid"]).decode()
    assert result == FILE.replace("    - cheap  # one\n    - top    # two\n", "    - mid    # two\n")


def test_line_ends_byte_order_mark_and_characters_of_many_bytes_stay() -> None:
    data = b"\xef\xbb\xbf" + FILE.replace("\n", "\r\n").encode()
    result = splice(data, ("types", "extract", "critical"), "größe")
    before, after = data.split(b"      text\r\n")
    assert result == before + b'      text\r\n    critical: "gr\xc3\xb6\xc3\x9fe"\r\n' + after


def test_a_value_set_to_itself_changes_nothing() -> None:
    assert splice(FILE.encode(), ("types", "classify"), {"path": ["cheap", "top"], "cost": 0.2}) == FILE.encode()


def test_another_order_of_keys_is_a_change() -> None:
    data = b"tiers: {cheap: 1, top: 2}\n"
    assert splice(data, ("tiers",), {"top": 2, "cheap": 1}) == b"tiers: {top: 2, cheap: 1}\n"


def test_an_unused_anchor_and_aliases_elsewhere_do_not_hinder() -> None:
    data = b"a: &x [1]\nb: *x\nc: &unused 3\nd: *x\n"
    assert splice(data, ("c",), 4) == b"a: &x [1]\nb: *x\nc: 4\nd: *x\n"
    assert splice(data, ("d",), 4) == b"a: &x [1]\nb: *x\nc: &unused 3\nd: 4\n"


def test_a_key_that_a_merge_brings_in_is_overridden() -> None:
    data = b"a: &x {p: 1}\nb:\n  <<: *x\n  q: 2\n"
    assert splice(data, ("b", "p"), 5) == data + b"  p: 5\n"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        (("a",), "carries the anchor &x, which line 2 uses"),
        (("a", "p"), "has the anchor &x, which is used elsewhere"),
        (("a", "new"), "has the anchor &x"),
        (("b", "p"), "is an alias"),
        (("c", "p", "q"), "comes from a merge key"),
        (("c", "r", "s"), "no 'r'"),
        (("d", 3), "no item 3 in a list of 1"),
        (("d", "x"), "no item 'x'"),
        (("e", "x"), "single value"),
        ((), "no path was given"),
    ],
)
def test_an_edit_that_would_change_more_is_refused_with_the_reason(path: tuple[Any, ...], reason: str) -> None:
    data = b"a: &x {p: {q: 1}}\nb: *x\nc: {<<: *x}\nd: [1]\ne: text\n"
    with pytest.raises(ConfigError, match="by hand") as caught:
        splice(data, path, {"z": 1})
    assert reason in caught.value.problems[0].message


def test_a_file_that_cannot_be_read_is_not_edited() -> None:
    with pytest.raises(ConfigError, match="not valid YAML"):
        splice(b"a: [", ("a",), 1)
    with pytest.raises(ConfigError, match="set twice"):
        splice(b"a: 1\na: 2\n", ("a",), 1)


def test_what_has_no_yaml_form_is_refused() -> None:
    with pytest.raises(ConfigError, match="bytes has no YAML form"):
        splice(b"a: 1\n", ("a",), [b"x"])


@pytest.mark.parametrize(
    ("path", "gone", "left"),
    [
        (("types", "extract", "path", 0), "    - cheap  # one\n", ""),
        (("tiers", "cheap"), "  cheap: [{model: a/small, timeout_s: 20}]   # günstig\n", ""),
        (("types", "classify", "cost"), ", cost: 0.20", ""),
        (("types", "classify", "path", 0), "cheap, top", "top"),
        (("tiers", "top", 0, "model"), "model: a/large   # the big one\n      ", ""),
        (("types", "empty"), "  empty:\n", ""),
        (("tiers", "cheap", 0), "{model: a/small, timeout_s: 20}", ""),
    ],
)
def test_a_removed_value_takes_its_line_and_nothing_else(path: tuple[Any, ...], gone: str, left: str) -> None:
    before, after = FILE.split(gone, 1)
    assert remove(FILE.encode(), path).decode() == before + left + after


def test_an_inserted_key_is_removed_without_a_trace() -> None:
    for path in (("types", "extract", "critical"), ("types", "classify", "critical"), ("critical",)):
        assert remove(splice(FILE.encode(), path, True), path) == FILE.encode()


@pytest.mark.parametrize(
    ("path", "reason"), [((), "whole file"), (("x",), "no 'x'"), (("c", "p"), "merge key"), (("a",), "anchor &x")]
)
def test_a_removal_that_cannot_be_made_is_refused(path: tuple[Any, ...], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        remove(b"a: &x {p: 1}\nc: {<<: *x}\n", path)
