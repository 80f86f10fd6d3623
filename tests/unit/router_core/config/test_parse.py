import json
from collections.abc import Mapping
from typing import Any

import pytest

from router_core.config import RoutingConfig, parse
from router_core.config.calibration import calibration_id
from router_core.errors import ConfigError, Problem
from tests.builders import make_calibration, make_config_bytes

EXAMPLE = """\
version: 1
timezone: Europe/Berlin                  # day boundary of limits and reports
tiers:                                   # ordered, cheapest first; targets in fallback order
  cheap: [{model: openai/gpt-5-nano, timeout_s: 20}, {model: gemini/gemini-2.5-flash-lite}]
  mid:   [{model: openai/gpt-5-mini}]
  top:   [{model: anthropic/claude-opus-4-5, max_output_tokens: 4000}]
defaults:
  confidence: {source: auto, on_missing: escalate}
  accept_at: 0.8                         # uncalibrated placeholder until fitted, and shown as such
  limits: {attempts: 6, deadline_s: 120, cost_usd: 0.50, retries: 1}
payload_types:
  invoice.extract:
    path: [{tier: cheap, accept_at: 0.82, straight_to_last_below: 0.35}, {tier: mid, accept_at: 0.7}, {tier: top}]
    escalation: correct                  # redo | correct
    error_cost_usd: 2.50
    calibration: cal-3f9c0a1b            # immutable file, named by its hash; unknown id = ConfigError
    shadow: [{tier: top, on: accepted, rate: 0.02}]
    pack: {max_items: 20, max_wait_s: 0.05}
  ticket.classify: {path: [cheap, mid], error_cost_usd: 0.20, comparable: exact}
  policy.decide:   {path: [top], critical: true, error_cost_usd: 40, latency_slo_s: 30, min_tier: mid}
  report.summarise:
    path: [mid]
    holdback: {path: [top], rate: 0.05, unit: run, until: 2026-12-07, proposal: P-0142}
  "*": {path: [mid]}                     # unknown payload types; without it an unknown type is an error
budgets:                                 # several may apply; the tightest decides and is named
  - {name: daily, per: day, usd: 50, on_limit: cheapest, critical_reserve_usd: 10, taper_from: 0.8,
     stop_usd: 80, on_store_failure: closed}
shadow_budget: {per: day, usd: 1.00}
prices: {}                               # overrides, USD per million tokens; 0 declares a model free
on_unpriced: error                       # or {pessimistic: {input: 15, output: 75}}
"""

BASE = """\
version: 1
tiers: {cheap: [{model: a/small}], mid: [{model: a/middle}], top: [{model: a/large}]}
payload_types:
  invoice.extract:
    path: [cheap, mid, top]
"""


def problems(text: str | bytes, **known: Mapping[str, bytes]) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        parse(text if isinstance(text, bytes) else text.encode(), source="routing.yaml", **known)
    assert caught.value.source == "routing.yaml"
    return list(caught.value.problems)


def only_problem(text: str | bytes, **known: Mapping[str, bytes]) -> Problem:
    found = problems(text, **known)
    assert len(found) == 1, found
    return found[0]


def with_type(settings: str) -> str:
    return f"{BASE}  task: {settings}\n"


def test_the_example_of_the_schema_parses() -> None:
    name, data = make_calibration()
    text = EXAMPLE.replace("cal-3f9c0a1b", name)
    config = parse(text.encode(), source="routing.yaml", calibrations={name: data})
    assert config.tier_names == ("cheap", "mid", "top")
    extract = config.payload_types["invoice.extract"]
    assert [step.tier for step in extract.path] == ["cheap", "mid", "top"]
    assert extract.path[0].straight_to_last_below == 0.35


def test_version_is_the_hash_of_the_bytes() -> None:
    assert parse(BASE.encode(), source="x").content_hash == "dcda0b8c09b2"
    assert parse(BASE.encode() + b"# more\n", source="x").content_hash != "dcda0b8c09b2"


def test_no_key_sets_the_version() -> None:
    assert only_problem(BASE + "content_hash: abc\n").path == "content_hash"


def test_everything_wrong_is_said_at_once_structure_and_sense_alike() -> None:
    text = """\
version: 2
timezone: Europe/Berln
tiers:
  cheap: [{model: a/b, timeout_s: '20'}]
  top: [{model: x}, {model: x}]
defaults: {limtis: {attempts: 3}}
payload_types:
  invoice.extract:
    path: [{tier: top, accept_at: 0.3, straight_to_last_below: 0.5}, cheap, {tier: cheep, x: 1}]
    critical: yes
    min_tier: mid
  empty: {}
budgets:
  - {name: d, usd: 5, critical_reserve_usd: 5, foo: 1}
"""
    found = {(problem.path, problem.line) for problem in problems(text)}
    assert found == {
        ("version", 1),
        ("timezone", 2),
        ("tiers.cheap[0].timeout_s", 4),
        ("tiers.top[1]", 5),
        ("defaults.limtis", 6),
        ("payload_types.invoice.extract.path[0].straight_to_last_below", 9),
        ("payload_types.invoice.extract.path[1].tier", 9),
        ("payload_types.invoice.extract.path[2].tier", 9),
        ("payload_types.invoice.extract.path[2].x", 9),
        ("payload_types.invoice.extract.critical", 10),
        ("payload_types.invoice.extract.min_tier", 11),
        ("payload_types.empty.path", 12),
        ("budgets[0].critical_reserve_usd", 14),
        ("budgets[0].foo", 14),
    }


def test_problems_come_in_the_order_of_the_file() -> None:
    lines = [problem.line or 0 for problem in problems(BASE + "a: 1\nbudgets: 3\nb: 1\n")]
    assert lines == sorted(lines)


@pytest.mark.parametrize(
    ("data", "said", "line"),
    [
        (b"", "is empty", None),
        (b"# nothing\n", "is empty", None),
        (b"version: 1\ntiers: [\n", "not valid YAML", 3),
        (b"version: 1\n\ttiers: 2\n", "not valid YAML", 2),
        (b"caf\xe9: 1\n", "not UTF-8", 1),
        ("version: 1\n".encode("utf-16"), "not UTF-8", 1),
        (b"a: 1\nb: \x07\n", "U+0007", 2),
        (b"- 1\n- 2\n", "must be a mapping", 1),
        (b"just text", "must be a mapping", 1),
        (b"a: 1\n---\na: 2\n", "several YAML documents", 2),
        (b"a: " + b"[" * 50 + b"]" * 50, "nested more than", 1),
        (b"a: &x [*x]\n", "contains itself", 1),
        (b"a: *x\n", "not defined", 1),
        (b"x" * 2_000_001, "2.0 MB", None),
    ],
)
def test_what_is_no_config_at_all_is_one_problem_with_its_line(data: bytes, said: str, line: int | None) -> None:
    problem = only_problem(data)
    assert said in problem.message
    assert problem.line == line


def test_aliases_cannot_blow_up_a_small_file() -> None:
    lines = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
    assert "through its aliases" in problems("a0: &a0 [x]\n" + lines)[0].message


def test_a_key_set_twice_is_named_with_both_lines() -> None:
    problem = only_problem(BASE + "  invoice.extract: {path: [mid]}\n")
    assert (problem.path, problem.line) == ("payload_types.invoice.extract", 6)
    assert "first on line 4" in problem.message


def test_anchors_aliases_and_merge_keys_are_understood() -> None:
    text = BASE + "  a: &base {path: [cheap, top], critical: true}\n  b: {<<: *base, critical: false}\n  c: *base\n"
    types = parse(text.encode(), source="x").payload_types
    assert types["b"].path == types["a"].path == types["c"].path
    assert (types["a"].critical, types["b"].critical) == (True, False)


@pytest.mark.parametrize(
    ("text", "path", "said"),
    [
        (with_type("{path: [cheap], limtis: {}}"), "payload_types.task.limtis", "did you mean 'limits'?"),
        (BASE + "budget: []\n", "budget", "did you mean 'budgets'?"),
        (BASE + "budgets: [{name: d, usd: 5, stop: 6}]\n", "budgets[0].stop", "unknown key 'stop'"),
        (with_type("{path: [{tier: cheap, acept_at: 1}]}"), "payload_types.task.path[0].acept_at", "'accept_at'"),
        (BASE + "on_unpriced: {pesimistic: 1}\n", "on_unpriced.pesimistic", "did you mean 'pessimistic'?"),
        (BASE + "prices: {a/b: {input: 1, output: 1, outptu: 1}}\n", "prices.a/b.outptu", "did you mean 'output'?"),
        (with_type("{path: [cheap], limits: {atempts: 1}}"), "payload_types.task.limits.atempts", "'attempts'"),
    ],
)
def test_an_unknown_key_is_an_error_with_the_likely_right_one(text: str, path: str, said: str) -> None:
    messages = {problem.path: problem.message for problem in problems(text)}
    assert said in messages[path]


@pytest.mark.parametrize(
    ("settings", "place", "said"),
    [
        ("{path: [cheap], critical: yes}", "critical", "must be true or false, not 'yes'"),
        ("{path: [cheap], critical: 1}", "critical", "must be true or false"),
        ("{path: cheap}", "path", "must be a list"),
        ("{path: []}", "path", "must not be empty"),
        ("{path: [3]}", "path[0]", "must be a mapping"),
        ("{path: [cheap], error_cost_usd: true}", "error_cost_usd", "must be a number"),
        ("{path: [cheap], error_cost_usd: much}", "error_cost_usd", "must be an amount in USD"),
        ("{path: [cheap], error_cost_usd: -1}", "error_cost_usd", "greater than or equal to 0"),
        ("{path: [cheap], error_cost_usd: .nan}", "error_cost_usd", "finite"),
        ("{path: [cheap], limits: {attempts: '6'}}", "limits.attempts", "must be a whole number"),
        ("{path: [cheap], limits: {attempts: 2.5}}", "limits.attempts", "must be a whole number"),
        ("{path: [cheap], limits: {deadline_s: 0}}", "limits.deadline_s", "greater than 0"),
        ("{path: [{tier: cheap, accept_at: 1.5}]}", "path[0].accept_at", "less than or equal to 1"),
        ("{path: [cheap], escalation: corect}", "escalation", "must be 'redo' or 'correct', not 'corect'"),
        ("{path: [cheap], critical: }", "critical", "has no value"),
        ("{path: [cheap], group: ' ap'}", "group", "begin or end with a space"),
        ("3", "", "must be a mapping"),
    ],
)
def test_a_wrong_value_is_named_with_what_it_must_be(settings: str, place: str, said: str) -> None:
    problem = only_problem(with_type(settings))
    assert problem.path == (f"payload_types.task.{place}" if place else "payload_types.task")
    assert said in problem.message
    assert problem.line == 6


@pytest.mark.parametrize(
    ("settings", "place", "said"),
    [
        ("{path: [cheep]}", "path[0].tier", "unknown tier 'cheep'; did you mean 'cheap'?"),
        ("{path: [large]}", "path[0].tier", "there are: cheap, mid, top"),
        ("{path: [mid, cheap]}", "path[1].tier", "a path goes up: cheap < mid < top"),
        ("{path: [cheap, cheap]}", "path[1].tier", "repeats the tier of step 0"),
        ("{path: [cheap, top, mid]}", "path[2].tier", "below the tier of step 1"),
        ("{path: [cheap], min_tier: low}", "min_tier", "unknown tier 'low'"),
        ("{path: [cheap, mid], min_tier: top}", "min_tier", "above every tier of the path"),
        ("{path: [cheap], shadow: [{tier: lop, rate: 0}]}", "shadow[0].tier", "unknown tier 'lop'"),
        (
            "{path: [cheap], shadow: [{tier: top, rate: 0}, {tier: mid, rate: 0}, {tier: top, on: accepted, rate: 1}]}",
            "shadow[2]",
            "have their rate in shadow[0]",
        ),
        (
            "{path: [cheap], holdback: {path: [big], rate: 0.1, until: 2026-12-07}}",
            "holdback.path[0].tier",
            "unknown tier 'big'",
        ),
        ("{path: [cheap], calibration: cal-2}", "calibration", "did you mean 'cal-1'?"),
        (
            "{path: [{tier: cheap, straight_to_last_below: 0.8}, mid, top]}",
            "path[0].straight_to_last_below",
            "below defaults.accept_at (0.8)",
        ),
        (
            "{path: [{tier: cheap, accept_at: 0.6, straight_to_last_below: 0.7}, mid, top]}",
            "path[0].straight_to_last_below",
            "below accept_at (0.6)",
        ),
        ("{path: [{tier: cheap, straight_to_last_below: 0.1}]}", "path[0].straight_to_last_below", "no use"),
        ("{path: [cheap], limits: {cost_usd: 0}}", "limits.cost_usd", "never make a request"),
    ],
)
def test_what_cannot_work_is_refused(settings: str, place: str, said: str) -> None:
    problem = only_problem(f"{with_type(settings)}shadow_budget: {{usd: 1}}\n", calibrations={"cal-1": b""})
    assert problem.path == f"payload_types.task.{place}"
    assert said in problem.message


def test_shadows_without_a_budget_of_their_own_are_refused_with_the_line_to_write() -> None:
    problem = only_problem(with_type("{path: [cheap], shadow: [{tier: mid, rate: 0.1}, {tier: top, rate: 0.1}]}"))
    assert (problem.path, problem.line) == ("payload_types.task.shadow", 6)
    assert "shadow_budget: {per: day, usd: 1.00}" in problem.message


def test_one_tier_may_have_a_rate_for_accepted_and_one_for_all_calls() -> None:
    rules = "[{tier: mid, on: accepted, rate: 0.2}, {tier: mid, on: all, rate: 0.1}]"
    parse(f"{with_type(f'{{path: [cheap], shadow: {rules}}}')}shadow_budget: {{usd: 1}}\n".encode(), source="x")


def test_a_jump_to_the_last_step_of_two_is_plain_escalation_and_accepted() -> None:
    parse(with_type("{path: [{tier: cheap, straight_to_last_below: 0.1}, mid]}").encode(), source="x")


def test_a_min_tier_off_the_path_but_not_above_it_is_accepted() -> None:
    parse(with_type("{path: [cheap, top], min_tier: mid}").encode(), source="x")


@pytest.mark.parametrize(
    ("budget", "place", "said"),
    [
        ("{name: d, usd: 0}", "usd", "more than 0"),
        ("{name: d, usd: 10, critical_reserve_usd: 10}", "critical_reserve_usd", "less than usd (10)"),
        ("{name: d, usd: 10, stop_usd: 9}", "stop_usd", "at least usd (10)"),
        ("{name: d, usd: 10, taper_from: 0}", "taper_from", "more than 0"),
        ("{name: d, usd: 10, taper_from: 1.1}", "taper_from", "less than or equal to 1"),
        ("{name: d, usd: 10, per: rolling}", "window_h", "required"),
        ("{name: d, usd: 10, window_h: 5}", "window_h", "no use with per: day"),
        ("{name: d, usd: 10, scope: {payload_types: [invoce.extract]}}", "scope.payload_types[0]", "invoice.extract"),
        ("{name: d, usd: 10, scope: {group: ap}}", "scope.group", "unknown group 'ap'"),
        ("{usd: 10}", "name", "is required"),
        ("{name: d}", "usd", "is required"),
    ],
)
def test_a_budget_that_cannot_be_kept_is_refused(budget: str, place: str, said: str) -> None:
    problem = only_problem(f"{BASE}budgets:\n  - {budget}\n")
    assert (problem.path, problem.line) == (f"budgets[0].{place}", 7)
    assert said in problem.message


def test_two_budgets_of_one_name_are_refused() -> None:
    problem = only_problem(BASE + "budgets: [{name: d, usd: 10}, {name: d, usd: 20}]\n")
    assert problem.path == "budgets[1].name"


def test_a_budget_may_not_have_the_name_that_shadows_are_counted_under() -> None:
    problem = only_problem(BASE + "budgets: [{name: shadow_budget, usd: 10}]\n")
    assert problem.path == "budgets[0].name"
    assert "choose another" in problem.message


def test_the_same_model_twice_in_a_tier_is_refused_unless_it_is_another_deployment() -> None:
    same = BASE.replace("{model: a/small}", "{model: a/small}, {model: a/small}")
    assert only_problem(same).path == "tiers.cheap[1]"
    parse(same.replace("small}]", "small, api_base: 'http://127.0.0.1:1'}]").encode(), source="x")


@pytest.mark.parametrize("name", ['""', '"a\\tb"', '"a\\nb"', '"\\u2028"', '" a"', "''", '"\\ud83d"'])
def test_a_name_that_cannot_be_read_on_a_screen_is_refused(name: str) -> None:
    for text in (f"{BASE}  {name}: {{path: [cheap]}}\n", BASE + f"prices: {{{name}: {{input: 1, output: 1}}}}\n"):
        assert "as a name" in only_problem(text).message


def test_a_number_as_a_name_needs_quotes() -> None:
    assert "write it in quotes" in only_problem(BASE + "  12: {path: [cheap]}\n").message
    parse((BASE + "  '12': {path: [cheap]}\n").encode(), source="x")


def test_an_unknown_time_zone_is_refused_with_a_way_out() -> None:
    assert "did you mean 'Europe/Berlin'?" in only_problem(BASE + "timezone: Europe/Berln\n").message
    assert "IANA" in only_problem(BASE + "timezone: ../../etc/passwd\n").message


def test_a_pasted_key_is_refused_and_not_repeated() -> None:
    text = BASE.replace("{model: a/small}", "{model: a/small, api_key_env: sk-very-secret}")
    problem = only_problem(text)
    assert "name of an environment variable" in problem.message
    assert "very-secret" not in str(problem)


def test_only_known_calibrations_may_be_named() -> None:
    text = with_type("{path: [cheap], calibration: cal-1}")
    assert "calibrations/ beside the config" in only_problem(text).message


def test_a_calibration_is_read_with_the_config_that_names_it() -> None:
    name, data = make_calibration({"payload_type": "task"})
    text = with_type(f"{{path: [cheap], calibration: {name}}}")
    config = parse(text.encode(), source="x", calibrations={name: data})
    file = config.calibration_of(config.payload_types["task"])
    assert file is not None
    assert [entry.payload_type for entry in file.entries] == ["task"]
    assert config.calibration_of(config.payload_types["invoice.extract"]) is None


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"payload_type": "other"}, "was not fitted for this payload type, but for: other"),
        ({"a": 0}, "entries[0].a"),
        ({"a": "steep"}, "entries[0].a"),
        ({"method": "spline"}, "entries[0]"),
        ({"source": "none"}, "entries[0].source"),
        ({"source": "judge"}, "entries[0].judge"),
        ({"judge": "a/large"}, "entries[0].judge"),
        ({"slope": 1}, "entries[0].slope"),
    ],
)
def test_a_calibration_that_cannot_be_applied_is_refused_where_it_is_named(entry: dict[str, Any], said: str) -> None:
    name, data = make_calibration({"payload_type": "task"} | entry)
    problem = only_problem(with_type(f"{{path: [cheap], calibration: {name}}}"), calibrations={name: data})
    assert problem.path == "payload_types.task.calibration"
    assert said in problem.message


@pytest.mark.parametrize(
    ("knots", "said"),
    [
        ([[0.5, 0.5]], "entries[0].knots"),
        ([[0.5, 0.1], [0.4, 0.2]], "rising"),
        ([[0.1, 0.5], [0.2, 0.4]], "never fall"),
        ([[0.1, 0.5], [0.2, 1.4]], "entries[0].knots[1][1]"),
    ],
)
def test_knots_that_are_no_rising_curve_are_refused(knots: list[list[float]], said: str) -> None:
    entry = {"payload_type": "task", "model": "a/small", "source": "field", "method": "isotonic", "knots": knots}
    data = json.dumps({"version": 1, "entries": [entry]}).encode()
    name = calibration_id(data)
    problem = only_problem(with_type(f"{{path: [cheap], calibration: {name}}}"), calibrations={name: data})
    assert said in problem.message


def test_two_curves_for_the_same_are_refused() -> None:
    name, data = make_calibration({"payload_type": "task"}, {"payload_type": "task", "b": 1.0})
    problem = only_problem(with_type(f"{{path: [cheap], calibration: {name}}}"), calibrations={name: data})
    assert "two curves" in problem.message


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", make_calibration()[1] + b" "])
def test_a_file_that_is_not_what_it_was_named_for_is_refused(data: bytes) -> None:
    name, _ = make_calibration()
    problem = only_problem(with_type(f"{{path: [cheap], calibration: {name}}}"), calibrations={name: data})
    assert "put the original file back" in problem.message


JUDGED = "{path: [cheap, top], confidence: {source: judge}}"


@pytest.mark.parametrize(
    ("settings", "section", "said"),
    [
        (JUDGED, "", "there is no judge; name its tier"),
        (JUDGED, "judge: {tier: mid}", "nobody in tier 'mid' may judge a/small"),
        (
            "{path: [cheap, top], confidence: {source: judge}, limits: {attempts: 2}}",
            "judge: {tier: mid, same_family: true}",
            "at least 3 here, not 2",
        ),
        ("{path: [cheap, top], confidence: {source: agreement}}", "", "comparable: exact, json or number"),
        (
            "{path: [cheap, top], confidence: {source: agreement, samples: 5}, comparable: exact}",
            "",
            "at least 7 here, not 6",
        ),
    ],
)
def test_a_paid_confidence_that_could_never_be_had_is_refused(settings: str, section: str, said: str) -> None:
    problem = only_problem(f"{with_type(settings)}{section}\n")
    assert problem.path == "payload_types.task.confidence.source"
    assert said in problem.message


def test_a_paid_source_of_the_defaults_is_refused_there() -> None:
    text = f"{BASE}defaults: {{confidence: {{source: judge}}}}\n"
    assert only_problem(text).path == "defaults.confidence.source"


def test_a_judge_of_another_family_is_accepted_and_so_is_one_that_may_judge_its_own() -> None:
    other = BASE.replace("a/middle", "b/middle") + f"  task: {JUDGED}\njudge: {{tier: mid}}\n"
    parse(other.encode(), source="x")
    parse(f"{with_type(JUDGED)}judge: {{tier: mid, same_family: true}}\n".encode(), source="x")


def test_a_judge_needs_a_tier_that_there_is() -> None:
    assert only_problem(f"{BASE}judge: {{}}\n").path == "judge.tier"
    assert "unknown tier 'big'" in only_problem(f"{BASE}judge: {{tier: big}}\n").message


def test_a_number_in_quotes_is_an_amount_of_money_but_no_count() -> None:
    config = parse((BASE + "budgets: [{name: d, usd: '10.000000001'}]\n").encode(), source="x")
    assert str(config.budgets[0].usd) == "10.000000001"


def test_json_is_read_too() -> None:
    assert isinstance(parse(make_config_bytes(), source="x"), RoutingConfig)


def test_tasks_that_share_a_request_cannot_take_their_confidence_from_log_probabilities() -> None:
    kind = {"path": ["cheap"], "pack": {"max_items": 5}, "confidence": {"source": "logprob"}}
    problem = only_problem(make_config_bytes(payload_types={"x": kind}))
    assert problem.path == "payload_types.x.pack"
    assert "log-probabilities" in problem.message
