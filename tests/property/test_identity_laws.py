"""What tells requests apart, for any of them."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from router_core.decide.identity import key_of, target_of
from router_core.decide.plan import PlanTarget

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
requests = st.fixed_dictionaries(
    {
        "run": texts,
        "step": texts,
        "payload_type": texts,
        "messages": st.lists(st.fixed_dictionaries({"role": texts, "content": texts}), min_size=1, max_size=3),
        "response_format": st.none() | st.dictionaries(texts, plain, max_size=2),
        "params": st.dictionaries(texts, plain, max_size=3),
    }
)


def turned(value: Any) -> Any:
    """The same data with the keys of every mapping the other way round."""
    if isinstance(value, dict):
        return {key: turned(value[key]) for key in reversed(value)}
    return [turned(each) for each in value] if isinstance(value, list) else value


@settings(max_examples=150, deadline=None)
@given(requests, requests)
def test_keys_are_equal_exactly_where_requests_are(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert key_of(**one) == key_of(**turned(one))
    assert (key_of(**one) == key_of(**other)) == (same(one) == same(other))


@settings(max_examples=150, deadline=None)
@given(requests, st.sampled_from(["run", "step", "payload_type", "messages", "response_format", "params"]), requests)
def test_each_part_of_a_request_is_in_its_key(one: dict[str, Any], part: str, other: dict[str, Any]) -> None:
    changed = {**one, part: other[part]}
    assert (key_of(**changed) == key_of(**one)) == (same(changed) == same(one))


def same(value: Any) -> Any:
    """What two values have in common exactly where they are the same JSON: Python takes True for 1."""
    if isinstance(value, dict):
        return frozenset((key, same(inner)) for key, inner in value.items())
    return tuple(same(each) for each in value) if isinstance(value, list) else (type(value), value)


@given(
    st.lists(st.tuples(texts.filter(bool), st.none() | texts, st.none() | st.integers(1, 9)), min_size=2, max_size=2)
)
def test_targets_are_told_apart_by_model_address_and_length(parts: list[tuple[str, str | None, int | None]]) -> None:
    first, second = (PlanTarget(model=m, api_base=base or None, max_output_tokens=n) for m, base, n in parts)
    assert (target_of(first) == target_of(second)) == (first == second)
