import pytest

from router_core.call_log.importers.tiers import parse_tiers, require_known
from router_core.errors import ConfigError


def test_order_of_the_tiers_is_kept() -> None:
    assert list(parse_tiers("cheap=a, mid=b ,top=c").items()) == [("cheap", "a"), ("mid", "b"), ("top", "c")]


def test_model_names_may_hold_an_equals_sign() -> None:
    assert parse_tiers("top=org/model=v2") == {"top": "org/model=v2"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no tier given"),
        ("cheap", "'cheap' is not tier=model"),
        ("=a", "'=a' is not tier=model"),
        ("cheap=", "'cheap=' is not tier=model"),
        ("cheap=a,cheap=b", "tier 'cheap' is named twice"),
        ("cheap=a,top=a", "model 'a' is named twice"),
    ],
)
def test_unusable_mapping_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_tiers(text)


def test_all_problems_of_a_mapping_come_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_tiers("cheap,mid=")
    assert len(caught.value.problems) == 2


def test_unknown_model_is_answered_with_the_closest_ones() -> None:
    with pytest.raises(ConfigError, match="has no model 'gpt-4-125-preview'; closest: gpt-4-0125-preview"):
        require_known({"top": "gpt-4-125-preview"}, ["gpt-4-0125-preview", "claude-2.1"], "file.parquet")


def test_model_unlike_any_other_is_answered_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"it has claude-2\.1, gemini-1\.0-pro"):
        require_known({"top": "zzz"}, ["gemini-1.0-pro", "claude-2.1"], "file.parquet")
