import hashlib
from decimal import Decimal

import pytest
from pydantic import ValidationError

from router_core.config import CallLimits, ConfidenceRule, Target, parse
from tests.builders import make_config, make_config_bytes


def test_an_unknown_type_falls_back_to_the_star() -> None:
    config = make_config()
    assert config.rule_for("invoice.extract") is config.payload_types["invoice.extract"]
    assert config.rule_for("never seen") is config.payload_types["*"]


def test_without_a_star_an_unknown_type_has_no_rule() -> None:
    config = make_config(payload_types={"task": {"path": ["cheap"]}})
    assert config.rule_for("never seen") is None


def test_a_type_overrides_single_limits_and_inherits_the_others() -> None:
    config = make_config(
        defaults={"limits": {"attempts": 4, "deadline_s": 30, "cost_usd": 0.5}},
        payload_types={"task": {"path": ["cheap"], "limits": {"attempts": 2}}, "other": {"path": ["cheap"]}},
    )
    assert config.limits_of(config.payload_types["task"]) == CallLimits(
        attempts=2, deadline_s=30, cost_usd=Decimal("0.5"), retries=1
    )
    assert config.limits_of(config.payload_types["other"]) == config.defaults.limits


def test_a_type_overrides_parts_of_the_confidence_rule() -> None:
    config = make_config(
        defaults={"confidence": {"source": "field", "field": "sure"}},
        payload_types={"task": {"path": ["cheap"], "confidence": {"on_missing": "accept"}}},
    )
    rule = config.confidence_of(config.payload_types["task"])
    assert rule == ConfidenceRule(source="field", on_missing="accept", field="sure")


def test_a_config_made_from_bytes_is_hashed_by_them() -> None:
    data = make_config_bytes()
    assert parse(data, source="x").content_hash == hashlib.sha256(data).hexdigest()[:12]


def test_a_changed_copy_has_another_hash() -> None:
    config = make_config()
    other = config.model_copy(update={"timezone": "Europe/Berlin"})
    assert other.content_hash != config.content_hash
    assert config.model_copy().content_hash == config.content_hash


def test_the_order_of_tiers_counts_and_the_bytes_do_not() -> None:
    data = make_config_bytes()
    assert parse(data, source="x") == parse(data + b"\n# a comment\n", source="x")
    assert hash(parse(data, source="x")) == hash(parse(data + b"\n# a comment\n", source="x"))


def test_a_config_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValidationError):
        make_config().timezone = "UTC"  # pyright: ignore[reportAttributeAccessIssue]


def test_a_target_knows_no_key_but_the_name_of_its_variable() -> None:
    assert Target(model="a/b", api_key_env="OPENAI_API_KEY").api_key_env == "OPENAI_API_KEY"
    with pytest.raises(ValidationError):
        Target(model="a/b", api_key_env="sk-1234567890")
