from types import SimpleNamespace
from typing import Any

import pytest

from router_core.backends.litellm_response import reported_nusd, response_format_of, response_of, usage_of
from router_core.types import Usage


def make_usage(**counts: Any) -> SimpleNamespace:
    return SimpleNamespace(**({"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120} | counts))


def make_raw(**fields: Any) -> SimpleNamespace:
    message = SimpleNamespace(content="hi", role="assistant")
    choice = SimpleNamespace(index=0, finish_reason="stop", message=message)
    return SimpleNamespace(**({"choices": [choice], "usage": make_usage(), "model": "m"} | fields))


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (make_usage(), Usage(input_tokens=100, output_tokens=20)),
        (
            make_usage(prompt_tokens_details=SimpleNamespace(cached_tokens=80, cache_write_tokens=None)),
            Usage(input_tokens=100, cached_tokens=80, output_tokens=20),
        ),
        (make_usage(cache_read_input_tokens=70), Usage(input_tokens=100, cached_tokens=70, output_tokens=20)),
        (
            make_usage(prompt_tokens_details={"cached_tokens": 10, "cache_creation_tokens": 50}),
            Usage(input_tokens=100, cached_tokens=10, cache_write_5m_tokens=50, output_tokens=20),
        ),
        (
            make_usage(
                prompt_tokens_details={
                    "cache_write_tokens": 50,
                    "cache_creation_token_details": {"ephemeral_1h_input_tokens": 30},
                }
            ),
            Usage(input_tokens=100, cache_write_5m_tokens=20, cache_write_1h_tokens=30, output_tokens=20),
        ),
        (
            make_usage(completion_tokens_details={"reasoning_tokens": 15}),
            Usage(input_tokens=100, output_tokens=20, reasoning_tokens=15),
        ),
        (
            make_usage(completion_tokens_details={"reasoning_tokens": 15}, total_tokens=135),
            Usage(input_tokens=100, output_tokens=35, reasoning_tokens=15),
        ),
        (
            make_usage(completion_tokens_details={"reasoning_tokens": 900}),
            Usage(input_tokens=100, output_tokens=20, reasoning_tokens=20),
        ),
        (
            make_usage(
                prompt_tokens_details={"audio_tokens": 30, "image_tokens": 8, "text_tokens": 62},
                completion_tokens_details={"audio_tokens": 4, "image_tokens": None},
            ),
            Usage(input_tokens=100, output_tokens=20, media_tokens=42),
        ),
        (
            make_usage(server_tool_use={"web_search_requests": 3}),
            Usage(input_tokens=100, output_tokens=20, web_searches=3),
        ),
        (make_usage(prompt_tokens=0, completion_tokens=0, total_tokens=0), Usage()),
        (make_usage(completion_tokens=0), Usage(input_tokens=100, output_tokens=0)),
        (None, Usage()),
        (make_usage(prompt_tokens=10**30), Usage(output_tokens=20)),
    ],
    ids=[
        "plain",
        "cached",
        "cached, Anthropic's name",
        "written",
        "written for an hour",
        "reasoning inside",
        "reasoning beside",
        "reasoning beyond",
        "sound and pictures",
        "searches",
        "all zero",
        "empty answer",
        "none",
        "beyond all counts",
    ],
)
def test_usage_is_brought_to_one_form(usage: Any, expected: Usage) -> None:
    assert usage_of(usage) == expected


@pytest.mark.parametrize(
    ("fields", "nusd"),
    [
        ({}, None),
        ({"cost": None}, None),
        ({"cost": 0.000123456789}, 123_457),
        ({"cost": 0}, 0),
        ({"cost": "0.5"}, 500_000_000),
        ({"cost": {"total_cost": 0.006}}, 6_000_000),
        ({"cost": -1}, None),
        ({"cost": 1e30}, None),
        ({"cost": float("nan")}, None),
        ({"cost": True}, None),
        ({"cost": 0.01, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.2}}, 210_000_000),
        ({"cost": 0.01, "is_byok": True}, None),
        ({"cost": 0.01, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.2}}, 10_000_000),
    ],
)
def test_only_a_cost_in_the_providers_usage_counts_as_reported(fields: dict[str, Any], nusd: int | None) -> None:
    assert reported_nusd(make_usage(**fields)) == nusd


@pytest.mark.parametrize(
    ("fields", "tier"),
    [
        ({}, None),
        ({"service_tier": "flex"}, "flex"),
        ({"usage": make_usage(service_tier="batch")}, "batch"),
        ({"usage": make_usage(service_tier="standard", speed="fast")}, "fast"),
        ({"usage": make_usage(service_tier="standard", inference_geo="us")}, "inference_geo=us"),
        ({"usage": make_usage(service_tier="standard", inference_geo="global", speed="standard")}, "standard"),
    ],
)
def test_service_that_was_charged_is_read_wherever_it_stands(fields: dict[str, Any], tier: str | None) -> None:
    response = response_of(make_raw(**fields))
    assert response is not None
    assert response.service_tier == tier


def test_client_computed_cost_is_not_read() -> None:
    raw = make_raw(_hidden_params={"response_cost": 0.5})
    response = response_of(raw)
    assert response is not None
    assert response.cost_nusd is None


@pytest.mark.parametrize("choices", [None, [], [SimpleNamespace(message=None)]])
def test_response_without_an_answer_is_none(choices: Any) -> None:
    assert response_of(make_raw(choices=choices)) is None


def test_client_object_is_handed_on() -> None:
    raw = make_raw()
    response = response_of(raw)
    assert response is not None
    assert response.raw is raw


@pytest.mark.parametrize(
    "wanted",
    [int, {"type": "json_object"}, {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}],
)
def test_complete_answer_formats_pass_unchanged(wanted: Any) -> None:
    assert response_format_of(wanted) == wanted


def test_bare_schema_is_wrapped_under_its_title() -> None:
    schema = {"title": "Invoice (v2)", "type": "object", "properties": {"total": {"type": "number"}}}
    assert response_format_of(schema) == {
        "type": "json_schema",
        "json_schema": {"name": "Invoice__v2_", "schema": schema},
    }


def test_closed_schema_is_strict() -> None:
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    assert response_format_of(schema)["json_schema"]["strict"] is True
