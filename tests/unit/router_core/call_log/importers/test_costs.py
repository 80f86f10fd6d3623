import pytest

from router_core.call_log.importers.columns import model_name, tag_pairs, times_of, to_status
from router_core.call_log.importers.costs import cost_of, is_refusal
from router_core.types import Usage
from tests.log_sources import PRICE

USED = Usage(input_tokens=1000, cached_tokens=800, output_tokens=100)
NOTHING = Usage()


def test_sources_cost_counts_and_ours_is_kept() -> None:
    cost = cost_of(USED, PRICE, 1_700_000, failed=False, refused=False)
    assert (cost.nusd, cost.status, cost.source_nusd, cost.computed_nusd) == (
        1_700_000,
        "provider",
        1_700_000,
        1_600_000,
    )


def test_billed_failure_costs_what_the_source_says() -> None:
    cost = cost_of(USED, PRICE, 5, failed=True, refused=False)
    assert (cost.nusd, cost.status) == (5, "provider")


@pytest.mark.parametrize("price", [PRICE, None])
def test_zero_for_used_tokens_is_not_believed(price: object) -> None:
    cost = cost_of(USED, PRICE if price else None, 0, failed=False, refused=False)
    assert (cost.nusd, cost.status) == ((1_600_000, "exact") if price else (None, "unpriced"))


def test_zero_for_nothing_used_is_zero() -> None:
    cost = cost_of(Usage(input_tokens=0, output_tokens=0), None, 0, failed=False, refused=False)
    assert (cost.nusd, cost.status, cost.computed_nusd) == (0, "provider", None)


@pytest.mark.parametrize(("refused", "found"), [(True, (0, "exact")), (False, (None, "unknown"))])
def test_failure_without_tokens_is_free_only_when_it_was_refused(refused: bool, found: tuple[object, str]) -> None:
    cost = cost_of(NOTHING, PRICE, 0, failed=True, refused=refused)
    assert (cost.nusd, cost.status) == found


def test_without_tokens_or_cost_nothing_is_known() -> None:
    assert cost_of(NOTHING, PRICE, None, failed=False, refused=False).status == "unknown"


@pytest.mark.parametrize(
    ("error_type", "code", "found"),
    [
        ("RateLimitError", None, True),
        ("http_429", None, True),
        ("http_408", None, False),
        ("http_500", None, False),
        ("SomethingElse", "401", True),
        ("SomethingElse", "503", False),
        ("Timeout", "408", False),
        ("APIConnectionError", None, False),
        (None, None, False),
    ],
)
def test_what_providers_surely_charge_nothing_for(error_type: str | None, code: str | None, found: bool) -> None:
    assert is_refusal(error_type, code) is found


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        ("success", ("ok", None)),
        ("ERROR", ("failed", None)),
        (200, ("ok", None)),
        ("429", ("failed", "http_429")),
        (True, ("ok", None)),
        (0, ("failed", None)),
        ("canceled", ("cancelled", "cancelled")),
        ("timeout", ("failed", "timeout")),
    ],
)
def test_status_has_many_spellings(raw: object, found: tuple[str, str | None]) -> None:
    assert to_status(raw) == found


def test_word_that_is_no_status_is_refused() -> None:
    with pytest.raises(ValueError, match="neither success nor failure"):
        to_status("perhaps")


@pytest.mark.parametrize(
    ("provider", "model", "found"),
    [
        ("OpenAI", "gpt-5", "openai/gpt-5"),
        ("openai", "openai/gpt-5", "openai/gpt-5"),
        ("openrouter", "anthropic/claude", "openrouter/anthropic/claude"),
        (None, "gpt-5", "gpt-5"),
        ("openai", None, None),
    ],
)
def test_models_are_named_as_the_router_names_targets(provider: str | None, model: str | None, found: str) -> None:
    assert model_name(provider, model) == found


def test_times_are_worked_out_from_what_is_there() -> None:
    start = 1_000_000_000
    assert times_of({"latency_s": 1.5}, start) == {"latency_ms": 1500.0, "ended_at": start + 1_500_000}
    assert times_of({"ended_at": start + 2_000}, start) == {"latency_ms": 2.0, "ended_at": start + 2_000}
    assert times_of({"ended_at": start - 5}, start) == {}
    streamed = {"ended_at": start + 2_000_000, "first_token_at": start + 500_000}
    assert times_of(streamed, start)["ttft_ms"] == 500.0
    assert "ttft_ms" not in times_of(streamed | {"first_token_at": start + 2_000_000}, start)


def test_tags_come_from_words_and_objects() -> None:
    words = ["task:invoice", "env=prod", "plain", "User-Agent: x", 5, ":x"]
    assert list(tag_pairs(words)) == [("task", "invoice"), ("env", "prod"), ("plain", "true"), (":x", "true")]
    assert list(tag_pairs({"a": 1, "b": {"c": 2}, "d": "e"})) == [("a", "1"), ("d", "e")]
    assert list(tag_pairs(None)) == []
