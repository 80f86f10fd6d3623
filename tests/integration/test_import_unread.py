"""What an import cannot read, or does not take, is said.

Values of another type than they should be, tokens of no known class, figures that the log has otherwise.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from router_core.call_log.home import Home
from router_core.call_log.importers.own import import_export
from router_core.call_log.ingest import ingest_once
from router_core.call_log.spool import Spool
from router_core.errors import ConfigError
from tests.builders import make_attempt_line, make_call_line
from tests.command_line import Tierwise
from tests.log_sources import (
    NEW_NAMES,
    NOW_US,
    bring,
    catch_up,
    fetch,
    langfuse_row,
    otlp_line,
    payload_row,
    span,
    spend_row,
    write_csv,
    write_jsonl,
)

TOKENS = "input_tokens, cached_tokens, output_tokens, reasoning_tokens"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / ".tierwise")


@pytest.fixture
def tierwise(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Tierwise:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TIERWISE_HOME", raising=False)
    return Tierwise(capsys)


def _with_attribute(second: float, attribute: Any) -> dict[str, Any]:
    made = span(second, NEW_NAMES)
    return {**made, "attributes": [*made["attributes"], attribute]}


RESOURCES = otlp_line(span(0, NEW_NAMES))["resourceSpans"][0]
BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "usage that is a list": (langfuse_row(usage_details=[{"input": 5}]), "usage_details is a list, not an object"),
    "usage that is text": (langfuse_row(usage_details="many"), "usage_details is text, not an object"),
    "usage that is a number": (langfuse_row(usage_details=1100), "usage_details is a number, not an object"),
    "resources that are an object": ({"resourceSpans": RESOURCES}, "resourceSpans is an object, not a list"),
    "resources that are text": ({"resourceSpans": ["x"]}, "resourceSpans holds text where an object should be"),
    "scopes that are an object": (
        {"resourceSpans": [{**RESOURCES, "scopeSpans": {"spans": []}}]},
        "scopeSpans is an object, not a list",
    ),
    "spans that are an object": (
        {"resourceSpans": [{"scopeSpans": [{"spans": span(0, NEW_NAMES)}]}]},
        "spans is an object, not a list",
    ),
    "attributes that are an object": (
        otlp_line({**span(0, {}), "attributes": NEW_NAMES}),
        "span: attributes is an object, not a list",
    ),
    "a resource that is text": (
        {"resourceSpans": [{**RESOURCES, "resource": "billing"}]},
        "resource is text, not an object",
    ),
    "a bare number for tokens": (
        otlp_line(_with_attribute(0, {"key": "gen_ai.usage.output_tokens", "value": 100})),
        "gen_ai.usage.output_tokens is a number, not a value of OTLP",
    ),
    "text that is no number for tokens": (
        otlp_line(span(0, NEW_NAMES | {"gen_ai.usage.output_tokens": "some"})),
        "gen_ai.usage.output_tokens is not a number",
    ),
    "an attribute without a name": (
        otlp_line(_with_attribute(0, {"value": {"intValue": "1"}})),
        "span: an attribute has no name",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_value_of_another_type_refuses_the_file_or_is_left_out_by_its_reason(
    home: Home, tmp_path: Path, name: str
) -> None:
    broken, reason = BROKEN[name]
    good = langfuse_row(9) if "id" in broken else otlp_line(span(9, NEW_NAMES))
    file = write_jsonl(tmp_path / "x.jsonl", [good, broken])
    with pytest.raises(ConfigError, match=r"\(line 2\)") as refused:
        bring(home, file)
    report = bring(home, file, skip_bad=True)

    assert reason in str(refused.value)
    assert [one.is_bad for one in report.skipped if reason in one.reason and one.first == (2,)] == [True]
    # a resource is but a tag: its span is whole without it
    assert report.rows_kept == (2 if "resource that" in name else 1)


def test_span_with_a_broken_neighbour_is_read(home: Home, tmp_path: Path) -> None:
    line = otlp_line(span(0, NEW_NAMES), {**span(1, {}), "attributes": {}}, span(2, NEW_NAMES))
    report = bring(home, write_jsonl(tmp_path / "x.jsonl", [line, {"resourceMetrics": []}]), skip_bad=True)

    assert (report.rows_read, report.rows_kept) == (4, 2)
    assert {one.reason: one.is_bad for one in report.skipped} == {
        "span: attributes is an object, not a list": True,
        "holds no spans": False,
    }


def test_numbers_of_tokens_that_are_text_count(home: Home, tmp_path: Path) -> None:
    names = {name: str(value) for name, value in NEW_NAMES.items()}
    bring(home, write_jsonl(tmp_path / "x.jsonl", [otlp_line(span(0, names))]))

    assert fetch(home, f"SELECT {TOKENS} FROM attempts") == [(1000, 800, 100, None)]


def test_odd_usage_of_what_is_no_request_is_nobodys_trouble(home: Home, tmp_path: Path) -> None:
    rows = [langfuse_row(), langfuse_row(1, type="SPAN", usage_details=[1]), langfuse_row(2, usage_details={})]
    report = bring(home, write_jsonl(tmp_path / "x.jsonl", rows))

    assert [one.is_bad for one in report.skipped] == [False]
    assert report.rows_kept == 2


def test_objects_that_are_none_are_noted_and_their_row_is_kept(home: Home, tmp_path: Path, tierwise: Tierwise) -> None:
    rows = [payload_row(0), payload_row(1, metadata=["x"]), payload_row(2, metadata=["y"]), payload_row(3, metadata="")]
    file = write_jsonl(tmp_path / "x.jsonl", rows)
    said = tierwise("import", file)

    assert said.code == 0, said.err
    assert "not read: 2 × metadata is a list, not an object (lines 2, 3)" in said.out
    assert fetch(home, "SELECT count(*) FROM attempts") == [(4,)]
    details = fetch(home, "SELECT details->'not_read' FROM events")
    assert [json.loads(row[0]) for row in details] == [{"metadata is a list, not an object": 2}]


@pytest.mark.parametrize(
    "usage",
    [
        {
            "promptTokenCount": 1000, "cachedContentTokenCount": 800, "candidatesTokenCount": 60,
            "thoughtsTokenCount": 40, "totalTokenCount": 1100,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 1000}],
        },
        {
            "prompt_token_count": 950, "tool_use_prompt_token_count": 50, "cached_content_token_count": 800,
            "candidates_token_count": 60, "thoughts_token_count": 40,
        },
    ],
    ids=["camel", "snake"],
)  # fmt: skip
def test_gemini_names_of_tokens_are_read_as_gemini_means_them(
    home: Home, tmp_path: Path, usage: dict[str, Any]
) -> None:
    report = bring(home, write_jsonl(tmp_path / "x.jsonl", [langfuse_row(usage_details=usage, total_cost=None)]))

    assert fetch(home, f"SELECT {TOKENS} FROM attempts") == [(1000, 800, 100, 40)]
    assert report.not_read == ()


def test_tokens_of_no_known_class_are_noted(home: Home, tmp_path: Path) -> None:
    usage = {"input": 10, "output": 2, "audio_seconds": 7, "prompt_tokens_details": {"cached_tokens": 5}, "total": 12}
    report = bring(home, write_jsonl(tmp_path / "x.jsonl", [langfuse_row(), langfuse_row(1, usage_details=usage)]))

    assert [(one.reason, one.rows, one.first) for one in report.not_read] == [
        ("usage_details.audio_seconds is no class of tokens that is known", 1, (2,)),
        ("usage_details.prompt_tokens_details is an object, not a number of tokens", 1, (2,)),
    ]


# --- figures that are not taken


def test_import_of_the_same_request_with_another_cost_says_which_figure_was_not_taken(
    home: Home, tmp_path: Path, tierwise: Tierwise
) -> None:
    first = [spend_row(n) for n in range(6)]
    other = [spend_row(n, spend=0.5) for n in range(5)] + [spend_row(5)]
    tierwise("import", write_csv(tmp_path / "a.csv", first))
    kept = fetch(home, "SELECT sum(cost_nusd) FROM attempts")
    said = tierwise("import", write_csv(tmp_path / "b.csv", other))

    assert "5 rows are there with another cost or tier" in said.out
    assert "litellm:chatcmpl-0: the log keeps $0.001600, the file's $0.500000 was not taken" in said.out
    assert "all 5 together: the log keeps $0.008000, the file's $2.500000 was not taken" in said.out
    assert fetch(home, "SELECT sum(cost_nusd) FROM attempts") == kept


def test_import_with_other_tiers_says_which_tier_was_not_taken(home: Home, tmp_path: Path, tierwise: Tierwise) -> None:
    file = write_csv(tmp_path / "a.csv", [spend_row()])
    tierwise("import", file, "--tiers", "cheap=gpt-5-mini")
    said = tierwise("import", file, "--tiers", "top=gpt-5-mini")

    assert "litellm:chatcmpl-0: the log keeps tier cheap, the file's top was not taken" in said.out
    assert fetch(home, "SELECT DISTINCT tier FROM attempts") == [("cheap",)]


def test_same_id_twice_in_a_file_with_two_costs_is_told_apart(home: Home, tmp_path: Path) -> None:
    rows = [spend_row(), spend_row(), spend_row(spend=9), spend_row(1)]
    report = bring(home, write_csv(tmp_path / "a.csv", rows))

    assert [(one.reason, one.rows) for one in report.skipped] == [
        ("same id as an earlier row", 1),
        ("same id as an earlier row, whose other cost counts", 1),
    ]
    assert fetch(home, "SELECT sum(cost_nusd) FROM attempts") == [(3_200_000,)]


@pytest.mark.parametrize("file_format", ["parquet", "csv"])
def test_export_of_another_home_with_other_figures_says_which_were_not_taken(
    home: Home, tmp_path: Path, tierwise: Tierwise, file_format: str
) -> None:
    for name, cost in (("one", 140_000), ("two", 250_000)):
        other = Home(tmp_path / name).create()
        spool = Spool(other.spool)
        spool.write(make_attempt_line(cost_nusd=cost), make_call_line(cost_nusd=cost))
        spool.close()
        ingest_once(other)
        tierwise("export", "--home", other.root, "--out", tmp_path / f"{name}-out", "--format", file_format)
    import_export(home, tmp_path / "one-out", now_us=NOW_US, catch_up=catch_up)
    said = tierwise("import", tmp_path / "two-out")

    assert "Nothing changed" in said.out
    assert "1 attempt already there with another cost" in said.out
    assert "a-1: the log keeps $0.000140, the file's $0.000250 was not taken" in said.out
    assert "c-1: the log keeps $0.000140, the file's $0.000250 was not taken" in said.out
    assert fetch(home, "SELECT cost_nusd FROM calls") == [(140_000,)]


# --- the way out


def test_bad_rows_name_both_ways_out(home: Home, tmp_path: Path, tierwise: Tierwise) -> None:
    file = write_csv(tmp_path / "a.csv", [spend_row(0), spend_row(1, spend="free")])
    refused = tierwise("import", file)
    taken = tierwise("import", file, "--skip-bad")

    assert refused.code == 2
    assert "(line 3); mend the file, or leave bad rows out with --skip-bad" in refused.err
    assert (taken.code, fetch(home, "SELECT count(*) FROM attempts")) == (0, [(1,)])


def test_import_into_a_spoilt_log_names_the_way_out_and_loses_nothing(
    home: Home, tmp_path: Path, tierwise: Tierwise
) -> None:
    tierwise("import", write_csv(tmp_path / "a.csv", [spend_row(0)]))
    home.log.write_bytes(b"not a database " * 1000)
    refused = tierwise("import", write_csv(tmp_path / "b.csv", [spend_row(1)]))
    rebuilt = tierwise("ingest", "--rebuild")
    taken = tierwise("import", tmp_path / "b.csv")

    assert (refused.code, "tierwise ingest --rebuild" in refused.err) == (2, True)
    assert (rebuilt.code, taken.code) == (0, 0)
    assert fetch(home, "SELECT count(*) FROM attempts") == [(2,)]
