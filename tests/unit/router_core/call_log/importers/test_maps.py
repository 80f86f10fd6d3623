import pytest

from router_core.call_log.importers.formats import KNOWN_MAPS, OUTCOMES, TABLE, format_of, sample_of
from router_core.call_log.importers.generic_map import guess, missing
from router_core.call_log.importers.maps import MapEdits, NestedPlaces, edited, is_field, parse_columns
from router_core.call_log.importers.tier_table import TierTable, parse_tier_models
from router_core.errors import ConfigError
from tests.log_sources import helicone_row, langfuse_row, otlp_line, payload_row, span, spend_row, table_row


@pytest.mark.parametrize("log_map", KNOWN_MAPS, ids=lambda log_map: log_map.name)
def test_map_names_only_fields_there_are_and_what_a_log_needs(log_map: object) -> None:
    known = next(one for one in KNOWN_MAPS if one is log_map)
    assert [name for name in known.places if not is_field(name)] == []
    assert missing(known) == []


@pytest.mark.parametrize(
    ("row", "name"),
    [
        (spend_row(), "litellm-spend"),
        (payload_row(), "litellm-payload"),
        (langfuse_row(), "langfuse"),
        (helicone_row(), "helicone"),
        (otlp_line(span(0, {})), "otel"),
        (table_row(), TABLE),
        ({"dataset": 1, "query_id": 1, "model": 1, "correct": 1}, OUTCOMES),
    ],
)
def test_format_is_told_by_the_columns(row: dict[str, object], name: str) -> None:
    assert format_of(sample_of([row])) == name


def test_columns_are_guessed_whatever_their_case_and_punctuation() -> None:
    log_map = guess(["Created At", "MODEL-NAME", "promptTokens", "completion.tokens", "total cost (USD)", "note"])
    assert log_map.places == {
        "started_at": ("Created At",),
        "model": ("MODEL-NAME",),
        "input_tokens": ("promptTokens",),
        "output_tokens": ("completion.tokens",),
        "cost_usd": ("total cost (USD)",),
    }


def test_column_of_objects_is_not_guessed_to_be_a_field() -> None:
    assert "model" not in guess(["model"], [{"model": {"name": "x"}}]).places
    assert "model" in guess(["model"], [{"model": {"name": "x"}}, {"model": "y"}]).places


def test_one_column_is_one_field() -> None:
    places = guess(["name", "task", "timestamp", "model"]).places
    assert sorted(place for listed in places.values() for place in listed) == ["model", "timestamp"]


def test_what_the_user_says_comes_first() -> None:
    before = guess(["ts", "model", "name", "engine"])
    after = edited(before, MapEdits(columns={"engine": "model", "ts": "extra.when"}, payload_type=("kind",)))
    assert after.places["model"] == ("engine", "model")
    assert after.places["extra.when"] == ("ts",)
    assert after.payload_type == ("kind", "name")


def test_column_names_may_hold_equals_signs() -> None:
    assert parse_columns(["a=b=model", "x = tags.team"]) == {"a=b": "model", "x": "tags.team"}


@pytest.mark.parametrize("pair", ["model", "=model", "a=", "a=modell", "a=tags.", "a=secret.x"])
def test_unusable_pair_says_what_fields_there_are(pair: str) -> None:
    with pytest.raises(ConfigError, match=r"column=field|is no field; choose from"):
        parse_columns([pair])


def test_all_unusable_pairs_are_said_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_columns(["a", "b=c"])
    assert len(caught.value.problems) == 2


def test_nested_places_are_found_also_in_json_text() -> None:
    nested = NestedPlaces(["metadata.task", "metadata.usage.details.cached", "flat"])
    record = {"metadata": '{"task": "x", "usage": {"details": {"cached": 5}}}', "flat": 1}
    assert nested.find(record) == {"metadata.task": "x", "metadata.usage.details.cached": 5}
    assert nested.find({"metadata": "not JSON"}) == nested.find({"metadata": ["a"]}) == {}


def test_several_models_may_stand_for_one_tier() -> None:
    table = TierTable(parse_tier_models("cheap=gpt-5-nano|gemini/flash, top=opus"))
    assert [table.tier_of(model) for model in ("openai/gpt-5-nano", "gemini/flash", "opus", "flash")] == [
        "cheap", "cheap", "top", None,
    ]  # fmt: skip
    table.require_used("x.csv")


def test_model_that_never_occurs_is_said_with_the_closest_one() -> None:
    table = TierTable(parse_tier_models("top=gpt-55"))
    table.tier_of("openai/gpt-5")
    with pytest.raises(ConfigError, match=r"x\.csv has no requests to model 'gpt-55'; closest: openai/gpt-5"):
        table.require_used("x.csv")


@pytest.mark.parametrize("text", ["", "top", "top=", "=m", "a=m,b=m"])
def test_unusable_tiers_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--tiers"):
        parse_tier_models(text)
