import json
from typing import Any

import pytest
from pydantic import BaseModel

from router_core.decide.compare import Given, same_answer


class Total(BaseModel):
    total: float
    confidence: float = 0.5


def text(value: str) -> Given:
    return Given(text=value)


def parsed(value: Any) -> Given:
    return Given(text=value.model_dump_json() if isinstance(value, BaseModel) else json.dumps(value), parsed=value)


def same(kind: Any, served: Given, other: Given) -> bool | None:
    return same_answer(kind, served, other, "confidence")


@pytest.mark.parametrize(
    ("served", "other", "expected"),
    [
        ("refund", " refund\n", True),
        ("refund", "Refund", False),
        ("42", "42.0", False),
        ('{"a": 1}', '{"a":1}', False),
    ],
)
def test_exact_compares_texts_but_for_outer_space(served: str, other: str, expected: bool) -> None:
    assert same("exact", text(served), text(other)) is expected


@pytest.mark.parametrize("kind", ["exact", "json", "number"])
@pytest.mark.parametrize(
    ("served", "other", "expected"),
    [
        ({"answer": "x", "confidence": 0.9}, {"confidence": 0.2, "answer": "x"}, True),
        ({"answer": "x"}, {"answer": "x", "confidence": 0.2}, True),
        ({"answer": "x", "confidence": 0.9}, {"answer": "y", "confidence": 0.9}, False),
        ({"answer": ["a", {"b": 1}]}, {"answer": ["a", {"b": 1.0}]}, True),
        ({"answer": ["a", "b"]}, {"answer": ["b", "a"]}, False),
        ({"answer": ["a"]}, {"answer": ["a", "b"]}, False),
        ({"answer": True}, {"answer": 1}, False),
        ({"answer": None}, {"answer": 0}, False),
        ({"nested": {"confidence": 0.9}}, {"nested": {"confidence": 0.2}}, False),
        (Total(total=12.5, confidence=0.9), Total(total=12.5, confidence=0.1), True),
        (Total(total=12.5), Total(total=13), False),
    ],
)
def test_parsed_answers_are_compared_by_value_without_their_confidence(
    kind: str, served: Any, other: Any, expected: bool
) -> None:
    assert same(kind, parsed(served), parsed(other)) is expected


def test_the_confidence_field_goes_by_the_configured_name() -> None:
    served, other = parsed({"answer": "x", "sure": 1}), parsed({"answer": "x", "sure": 0})
    assert same_answer("exact", served, other, "sure") is True
    assert same_answer("exact", served, other, "confidence") is False


@pytest.mark.parametrize(
    ("served", "other", "expected"),
    [
        ('{"a": 1, "b": [2]}', '```json\n{"b": [2], "a": 1.0}\n```', True),
        ('{"a": 1, "confidence": 0.9}', '{"a": 1, "confidence": 0.1}', True),
        ('{"a": 1}', '{"a": 2}', False),
        ('{"a": 1}', "I cannot say", False),
        ("I cannot say", '{"a": 1}', None),
        ("I cannot say", "I cannot say ", True),
    ],
)
def test_json_texts_are_compared_by_value(served: str, other: str, expected: bool | None) -> None:
    assert same("json", text(served), text(other)) is expected


@pytest.mark.parametrize(
    ("served", "other", "expected"),
    [
        ("42", " 42.0", True),
        ("0.3", "0.30000000000000004", True),
        ("1e3", "1000", True),
        ("0", "-0.0", True),
        ("42", "42.1", False),
        ("42", "about 42", False),
        ("about 42", "42", None),
        ("inf", "nan", None),
        ("9" * 400, "1", None),
    ],
)
def test_numbers_are_compared_within_the_noise_of_floats(served: str, other: str, expected: bool | None) -> None:
    assert same("number", text(served), text(other)) is expected


def test_numbers_within_a_parsed_answer_are_compared_within_the_noise_too() -> None:
    served = parsed({"total": 119.3, "vat": "19.00", "currency": "EUR", "paid": True})
    assert same("number", served, parsed({"total": 119.30000000000001, "vat": 19, "currency": "EUR", "paid": True}))
    assert same("number", served, parsed({"total": 119.3, "vat": "19.00", "currency": "USD", "paid": True})) is False
    assert same("number", served, parsed({"total": 119.3, "vat": "19.00", "currency": "EUR", "paid": 1})) is False
    assert same("json", served, parsed({"total": 119.3, "vat": 19, "currency": "EUR", "paid": True})) is False
