import pytest

from router_core.config import parse, unsupported

BASE = """\
version: 1
tiers: {cheap: [{model: a/small}], top: [{model: a/large}]}
payload_types:
  task: {path: [cheap, top]}
"""
BUDGET = "{name: daily, per: day, usd: 50"

BUILT = f"""\
version: 1
timezone: Europe/Berlin
tiers:
  cheap:
    - {{model: a/small, timeout_s: 5, max_output_tokens: 100, api_base: "http://127.0.0.1:1", api_key_env: KEY}}
    - {{model: a/other}}
  mid: [{{model: a/middle}}]
  top: [{{model: a/large}}]
defaults:
  confidence: {{source: field, on_missing: accept, field: sure}}
  accept_at: 0.7
  limits: {{attempts: 3, deadline_s: 9, cost_usd: 1, retries: 0}}
payload_types:
  task:
    path: [{{tier: cheap, accept_at: 0.5, straight_to_last_below: 0.2}}, mid, top]
    critical: true
    escalation: correct
    holdback: {{path: [top], rate: 0.1, unit: run, until: 2026-12-07, proposal: P-0001}}
    error_cost_usd: 3
    confidence: {{source: logprob}}
    limits: {{attempts: 2}}
    comparable: exact
    shadow: [{{tier: top, on: accepted, rate: 0.1}}, {{tier: mid, on: all, rate: 0.02}}]
    min_tier: mid
    latency_slo_s: 3
    group: ap
    pre_checks:
      - {{name: order, regex: '^order (?P<answer>[0-9]+)$'}}
      - {{name: hello, regex: '^(?P<word>hi|hello)$', answer: {{label: smalltalk, said: '\\g<word>'}}}}
      - {{name: known, table: {{ACME: V-1}}}}
      - {{name: rules, callable: "billing.rules:classify"}}
  judged: {{path: [cheap, top], confidence: {{source: judge}}}}
  sampled: {{path: [cheap, top], confidence: {{source: agreement, samples: 1}}, comparable: exact}}
  checked: {{path: [cheap, top], confidence: {{source: check}}, pack: {{max_items: 5, max_wait_s: 0.01}}}}
  "*": {{path: [cheap], confidence: {{source: caller}}}}
judge: {{tier: mid, same_family: true, prompt: Judge it.}}
budgets:
  - {BUDGET}, on_limit: cheapest, critical_reserve_usd: 5, on_store_failure: closed, switch_at: call}}
  - {BUDGET.replace("daily", "d2")}, on_limit: reject, taper_from: 0.8, on_store_failure: open, switch_at: task}}
  - {{name: w, usd: 1, per: week, stop_usd: 80, scope: {{group: ap}}}}
  - {{name: m, usd: 1, per: month, scope: {{tag: {{team: ap}}}}}}
  - {{name: r, usd: 1, per: rolling, window_h: 5, scope: {{payload_types: [task], run: true}}}}
shadow_budget: {{per: day, usd: 1}}
prices: {{a/small: {{input: 0, output: 0, cached: 0, write_5m: 0, write_1h: 0}}}}
on_unpriced: {{pessimistic: {{input: 15, output: 75}}}}
health: {{failures: 2, cooldown_s: 5}}
cache: {{enabled: true, ttl_s: 60, max_mb: 8}}
log: {{durability: fsync}}
storage: {{sink: duckdb}}
alerts: {{webhook: 'http://127.0.0.1:1', call_above_usd: 2}}
"""


def test_everything_that_is_built_is_accepted() -> None:
    assert unsupported(parse(BUILT.encode(), source="x")) == ()


@pytest.mark.parametrize(
    ("section", "path"),
    [
        ("storage: {sink: ducklake}", "storage.sink"),
        ("storage: {catalog: x}", "storage.catalog"),
    ],
)
def test_a_section_that_is_not_built_yet_says_so(section: str, path: str) -> None:
    (problem,) = unsupported(parse(f"{BASE}{section}\n".encode(), source="x"))
    assert problem.path == path
    assert "not yet supported" in problem.message
    assert problem.line == 5


def test_all_of_it_is_said_at_once() -> None:
    config = parse(f"{BASE}storage: {{sink: ducklake, catalog: x}}\n".encode(), source="x")
    assert [problem.path for problem in unsupported(config)] == ["storage.sink", "storage.catalog"]
