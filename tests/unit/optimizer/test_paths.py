import pytest

from optimizer.paths import options_of, shadow_edits
from router_core.config import RoutingConfig, parse
from router_core.control.changes import edited
from router_core.decide.compile import compile_plans

TEXT = """\
version: 1
tiers: {cheap: [{model: s/a}], mid: [{model: s/b}], top: [{model: s/c}]}
payload_types:
  one: {path: [mid], error_cost_usd: 1}   # a comment
  two: {path: [{tier: cheap, accept_at: 0.7}, mid, top]}
  floor: {path: [top], min_tier: mid}
  block:
    path:
      - {tier: mid, accept_at: 0.9}
      - top
"""


def parsed() -> RoutingConfig:
    return parse(TEXT.encode(), source="routing.yaml")


def options(name: str):
    config = parsed()
    plans = compile_plans(config)
    names = config.tier_names
    found = options_of(config, name, plans.by_type[name], plans.tiers)
    return {tuple(names[tier] for tier in option.route.tiers): option for option in found}


@pytest.mark.parametrize(
    ("name", "paths"),
    [
        ("one", {("cheap",), ("cheap", "mid"), ("top",)}),
        ("two", {("mid", "top"), ("top",)}),
        ("floor", {("mid",), ("mid", "top")}),
        ("block", {("cheap", "mid", "top"), ("top",)}),
    ],
)
def test_paths_start_lower_or_higher_and_never_below_the_lowest_allowed(name, paths) -> None:
    assert options(name).keys() == paths


def test_steps_keep_their_thresholds_and_new_ones_have_the_default() -> None:
    assert options("block")[("cheap", "mid", "top")].route.accept_at == (0.8, 0.9, 0.8)


@pytest.mark.parametrize(
    ("name", "path", "before", "after"),
    [
        ("one", ("cheap",), "path: [mid], error", "path: [cheap], error"),
        ("one", ("cheap", "mid"), "path: [mid], error", "path: [cheap, mid], error"),
        ("two", ("mid", "top"), "[{tier: cheap, accept_at: 0.7}, mid, top]", "[mid, top]"),
        (
            "block",
            ("cheap", "mid", "top"),
            "- {tier: mid, accept_at: 0.9}\n      - top",
            "- cheap\n      - {tier: mid, accept_at: 0.9}\n      - top",
        ),
    ],
)
def test_edit_changes_the_path_and_nothing_else(name, path, before, after) -> None:
    made = edited(TEXT.encode(), options(name)[path].edits).decode()
    assert made == TEXT.replace(before, after)


def test_edit_of_every_option_gives_the_path_it_says() -> None:
    for name in ("one", "two", "floor", "block"):
        for path, option in options(name).items():
            config = parse(edited(TEXT.encode(), option.edits), source="routing.yaml")
            assert tuple(step.tier for step in config.payload_types[name].path) == path


def test_shadow_rule_comes_with_the_budget_that_it_needs() -> None:
    config = parsed()
    rule = {"tier": "cheap", "on": "accepted", "rate": 0.05}
    made = parse(edited(TEXT.encode(), shadow_edits(config, "one", rule, 0.25)), source="routing.yaml")
    assert [each.tier for each in made.payload_types["one"].shadow] == ["cheap"]
    assert made.shadow_budget is not None


def test_shadow_rule_that_is_there_gets_the_new_rate() -> None:
    shadowed = TEXT.replace("one: {path: [mid],", "one: {shadow: [{tier: cheap, rate: 0.05}], path: [mid],")
    text = shadowed + "shadow_budget: {usd: 1}\n"
    config = parse(text.encode(), source="routing.yaml")
    rule = {"tier": "cheap", "on": "accepted", "rate": 0.2}
    made = edited(text.encode(), shadow_edits(config, "one", rule, 0.25)).decode()
    assert made == text.replace("rate: 0.05", "rate: 0.2")
