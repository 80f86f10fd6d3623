"""What several reports of one stream's usage say together, and which pieces carry something."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from router_core.backends.litellm_chunks import Piece, merged, piece_of, response_of_chunks
from router_core.types import Response, Usage

COUNTS = st.none() | st.integers(0, 1000)


def chunk(usage: dict[str, Any] | None = None, index: int = 0, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": delta}], "usage": usage}


def response(chunks: list[dict[str, Any]], *, is_whole: bool, counted: int = 7) -> Response:
    return response_of_chunks(
        chunks, text="", is_whole=is_whole, finish_reason=None, response_model=None, raw=None,
        count_prompt=lambda: 11, count=lambda _: counted,
    )  # fmt: skip


@example([Usage(output_tokens=0), Usage()])
@given(st.lists(st.builds(Usage, input_tokens=COUNTS, output_tokens=COUNTS, cached_tokens=st.integers(0, 1000))))
def test_no_report_undoes_an_earlier_count(reports: list[Usage]) -> None:
    whole = merged(reports)
    told = [report.output_tokens for report in reports if report.output_tokens is not None]
    # 0 says as little as no count at all: a client fills in what it did not get
    assert (whole.output_tokens or 0) == next((n for n in reversed(told) if n), 0)
    assert whole.cached_tokens == next((r.cached_tokens for r in reversed(reports) if r.cached_tokens), 0)


def test_zero_that_the_provider_reports_stays_zero() -> None:
    got = response([chunk({"prompt_tokens": 5, "completion_tokens": 0})], is_whole=True)
    assert (got.usage, got.is_counted) == (Usage(input_tokens=5, output_tokens=0), False)


@pytest.mark.parametrize(("reported", "counted", "output"), [(20, 7, 20), (3, 7, 7)])
def test_part_of_a_stream_counts_what_was_told_or_received_whichever_is_more(
    reported: int, counted: int, output: int
) -> None:
    chunks = [chunk({"prompt_tokens": 5, "completion_tokens": reported}, content="some words")]
    got = response(chunks, is_whole=False, counted=counted)
    assert (got.usage, got.is_counted) == (Usage(input_tokens=5, output_tokens=output), True)


def test_cost_that_the_provider_reports_holds_for_a_whole_stream_only() -> None:
    chunks = [chunk({"prompt_tokens": 5, "completion_tokens": 2, "cost": 0.001}, content="x")]
    assert (response(chunks, is_whole=True).cost_nusd, response(chunks, is_whole=False).cost_nusd) == (1_000_000, None)


@pytest.mark.parametrize(
    ("delta", "piece"),
    [
        ({"content": "hi"}, Piece("hi", carries=True)),
        ({"content": "", "role": "assistant"}, Piece("", carries=False)),
        ({"reasoning_content": "hm"}, Piece("", carries=True)),
        ({"tool_calls": [{"function": {"arguments": "{"}}]}, Piece("", carries=True)),
        ({}, Piece("", carries=False)),
    ],
)
def test_piece_is_what_is_in_it(delta: dict[str, Any], piece: Piece) -> None:
    assert piece_of(chunk(**delta)) == piece


def test_other_choices_carry_something_but_are_not_the_answer() -> None:
    assert piece_of(chunk(index=1, content="another")) == Piece("", carries=True)
