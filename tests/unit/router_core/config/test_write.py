import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from router_core.config import Change, diff, dump, parse
from router_core.config.scalars import text_of
from tests.builders import make_config


def test_no_difference_between_equal_configs_of_other_bytes() -> None:
    config = make_config()
    assert diff(config, parse(dump(config), source="x")) == ()


def test_a_difference_names_its_path_and_both_values() -> None:
    moved = make_config(
        payload_types={
            "invoice.extract": {"path": ["top"], "error_cost_usd": 2.5},
            "policy.decide": {"path": ["top"], "critical": True},
            "new": {"path": ["cheap"]},
            "*": {"path": ["cheap"]},
        },
        budgets=[{"name": "daily", "usd": 50}],
    )
    changes = {change.path: change for change in diff(make_config(), moved)}
    assert set(changes) == {"payload_types.invoice.extract.path", "payload_types.new", "budgets"}
    path = changes["payload_types.invoice.extract.path"]
    assert (path.before or "").count("tier:") == 2
    assert (path.after or "").count("tier:") == 1
    assert changes["payload_types.new"].before is None


def test_a_difference_of_a_single_value_is_one_line() -> None:
    before, after = make_config(defaults={"accept_at": 0.8}), make_config(defaults={"accept_at": 0.9})
    assert diff(before, after) == (Change(path="defaults.accept_at", before="0.8", after="0.9"),)


def test_another_order_of_tiers_is_a_difference() -> None:
    types: dict[str, Any] = {"*": {"path": ["cheap"]}}
    cheap, top = [{"model": "sim/small"}], [{"model": "sim/large"}]
    before = make_config(tiers={"cheap": cheap, "top": top}, payload_types=types)
    after = make_config(tiers={"top": top, "cheap": cheap}, payload_types=types)
    assert diff(before, after) == (Change(path="tiers", before="[cheap, top]", after="[top, cheap]"),)
    assert before != after


def test_what_was_left_out_stays_left_out() -> None:
    written = dump(make_config()).decode()
    assert "defaults" not in written
    assert "timezone" not in written


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, "null"),
        (True, "true"),
        (3, "3"),
        (2.5, "2.5"),
        (float("inf"), ".inf"),
        (Decimal("2.50"), "2.5"),
        (Decimal(40), "40"),
        (Decimal("0.12345678901234567891"), '"0.12345678901234567891"'),
        (dt.date(2026, 12, 7), "2026-12-07"),
        ("openai/gpt-5-nano", "openai/gpt-5-nano"),
        ("on", '"on"'),
        ("12", '"12"'),
        ("2026-12-07", '"2026-12-07"'),
        ("", '""'),
        ("a: b", '"a: b"'),
        ("größe", '"größe"'),
        ("\u2028", '"\\u2028"'),
    ],
)
def test_scalars_are_written_so_that_they_stay_what_they_are(value: Any, written: str) -> None:
    assert text_of(value) == written


def test_what_has_no_yaml_form_is_refused() -> None:
    with pytest.raises(TypeError, match="bytes"):
        text_of(b"x")
