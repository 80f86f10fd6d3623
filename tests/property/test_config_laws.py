"""Laws of reading a routing config: what was dumped reads the same, and nothing but a ConfigError ever comes out."""

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from router_core.config import diff, dump, parse, unsupported
from router_core.config.document import format_path, read
from router_core.config.scalars import text_of
from router_core.config.tree import same
from router_core.config.write import flow
from router_core.errors import ConfigError
from tests.builders import make_config_data
from tests.yaml_documents import TEXTS, VALUES, yaml_files

TIERS = ("cheap", "mid", "top")
NAMES = st.one_of(
    st.sampled_from(
        ["invoice.extract", "größe", "a b", "on", "12", "null", "2026-12-07", "🙂", "x: y", "#1", "[", "'"]
    ),
    TEXTS.map(str.strip).filter(bool),
)
FRACTIONS = st.floats(0.5, 1)
USD = st.one_of(st.integers(1, 10**6), st.decimals("0.000000001", 1000, places=9), st.floats(0.001, 1000))
SECONDS = st.floats(0.001, 1e6)


def optional(**keys: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=keys)


STEPS = st.sampled_from(TIERS).flatmap(
    lambda tier: st.one_of(st.just(tier), optional(accept_at=FRACTIONS).map(lambda more: {"tier": tier, **more}))
)
PATHS = st.lists(STEPS, min_size=1, max_size=3, unique_by=lambda s: s if isinstance(s, str) else s["tier"]).map(
    lambda steps: sorted(steps, key=lambda s: TIERS.index(s if isinstance(s, str) else s["tier"]))
)
LIMITS = optional(attempts=st.integers(3, 100), deadline_s=SECONDS, cost_usd=USD, retries=st.integers(0, 10))
CONFIDENCE = optional(
    source=st.sampled_from(["auto", "judge", "none"]), on_missing=st.sampled_from(["escalate", "accept"]), field=NAMES
)
TYPES = st.builds(
    lambda path, more: {"path": path, **more},
    PATHS,
    optional(
        critical=st.booleans(),
        escalation=st.sampled_from(["redo", "correct"]),
        error_cost_usd=USD,
        confidence=CONFIDENCE,
        limits=LIMITS,
        shadow=st.just([{"tier": "top", "rate": 0.02}]),
        holdback=st.dates().map(lambda day: {"path": ["top"], "rate": 0.05, "until": day}),
        comparable=st.sampled_from(["exact", "json"]),
        latency_slo_s=SECONDS,
        group=NAMES,
        pre_checks=VALUES.map(lambda value: [{"name": "table", "table": {"x": value}}]),
    ),
)
TARGETS = st.lists(
    st.builds(lambda model, more: {"model": model, **more}, NAMES, optional(timeout_s=SECONDS)),
    min_size=1,
    max_size=3,
    unique_by=lambda target: target["model"],
)
CONFIGS = st.builds(
    lambda order, targets, types, more: {
        "version": 1,
        "tiers": {name: targets[name] for name in TIERS},
        "payload_types": types,
        "shadow_budget": {"usd": 1},
        "judge": {"tier": "top", "same_family": True},
        **more,
    },
    st.just(TIERS),
    st.fixed_dictionaries(dict.fromkeys(TIERS, TARGETS)),
    st.dictionaries(NAMES, TYPES, min_size=1, max_size=3),
    optional(
        timezone=st.sampled_from(["UTC", "Europe/Berlin"]),
        defaults=optional(confidence=CONFIDENCE, accept_at=FRACTIONS, limits=LIMITS),
        budgets=USD.map(lambda usd: [{"name": "daily", "usd": usd}]),
        prices=st.dictionaries(NAMES, st.fixed_dictionaries({"input": USD, "output": USD}), max_size=2),
        on_unpriced=st.sampled_from(["error", {"pessimistic": {"input": 15, "output": 75}}]),
        health=optional(failures=st.integers(1, 9), cooldown_s=SECONDS),
    ),
)


@settings(max_examples=80, deadline=None)
@given(data=CONFIGS)
def test_a_dumped_config_reads_back_equal(data: dict[str, Any]) -> None:
    config = parse(flow(data).encode(), source="test")
    again = parse(dump(config), source="test")
    assert again == config
    assert diff(config, again) == ()
    assert again.tier_names == TIERS
    said = [(problem.path, problem.message) for problem in unsupported(config)]
    assert [(problem.path, problem.message) for problem in unsupported(again)] == said


@settings(max_examples=150, deadline=None)
@given(value=VALUES)
def test_written_data_reads_back_the_same(value: Any) -> None:
    data = f"- {flow(value)}\n- k: {flow(value)}\n".encode()
    assert same(read(data, source="test").plain(), [value, {"k": value}])


@settings(max_examples=150, deadline=None)
@given(text=st.text(max_size=20))
def test_any_text_is_written_on_one_line_and_read_back(text: str) -> None:
    data = f"{{k: {text_of(text)}, {text_of(text)}: 1}}".encode()
    assert b"\n" not in data
    held = read(data, source="test").plain()
    assert held["k"] == text
    assert held[text] == 1 or text == "k"


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=200))
def test_random_bytes_are_refused_in_order(data: bytes) -> None:
    assert refusal(data) is not None


@settings(max_examples=60, deadline=None)
@given(data=yaml_files(anchors=True))
def test_random_yaml_is_refused_in_order(data: bytes) -> None:
    assert refusal(data) is not None


@settings(max_examples=150, deadline=None)
@given(text=st.text(alphabet="ab:-[]{},&*!|>'\"%@`#? \n\t0.<~\\", max_size=40))
def test_damaged_yaml_is_refused_in_order(text: str) -> None:
    assert refusal(text.encode()) is not None


@settings(max_examples=150, deadline=None)
@given(value=st.one_of(VALUES, st.just({"nonsense": 1})), draw=st.data())
def test_one_wrong_value_anywhere_is_reported_with_its_path(value: Any, draw: st.DataObject) -> None:
    raw = make_config_data(
        defaults={"accept_at": 0.8, "limits": {"attempts": 3}, "confidence": {"source": "auto"}},
        budgets=[{"name": "daily", "usd": 50, "scope": {"tag": {"team": "ap"}}}],
        on_unpriced={"pessimistic": {"input": 1, "output": 2}},
    )
    path = draw.draw(st.sampled_from(places(raw)))
    changed = copy.deepcopy(raw)
    holder = changed
    for part in path[:-1]:
        holder = holder[part]
    holder[path[-1]] = value
    written = flow(changed).encode()
    error = refusal(written)
    if error is None:
        assert parse(dump(parse(written, source="test")), source="test") == parse(written, source="test")
    else:
        assert all(problem.line == 1 and problem.message for problem in error.problems)
        place = format_path(path)
        assert any(p.path.startswith(place) or place.startswith(p.path) for p in error.problems), str(error)


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [found for key, value in children for found in [(*path, key), *places(value, (*path, key))]]


def refusal(data: bytes) -> ConfigError | None:
    try:
        parse(data, source="test")
    except ConfigError as error:
        return error if error.problems else None
    return None
