"""Free checks of an answer."""

import enum
import re
from functools import partial
from typing import Any

import pytest
from pydantic import BaseModel

from router_core.checks import refuse_unusable_check, refuse_unusable_format, run_checks
from router_core.decide.confidence import LabelField
from router_core.labels import declares, label_field

SCHEMA = {"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]}


class Invoice(BaseModel):
    total: float


@pytest.mark.parametrize(
    "wanted", [Invoice, SCHEMA, {"type": "json_schema", "json_schema": {"name": "i", "schema": SCHEMA}}]
)
def test_answer_is_parsed_into_the_wanted_format(wanted: Any) -> None:
    checked = run_checks('{"total": 12.5}', wanted, ())
    assert checked.valid
    assert dict(checked.parsed) == {"total": 12.5}


@pytest.mark.parametrize("text", ["", "total: 12", '{"total": "much"}', "{}", '{"total": 1'])
@pytest.mark.parametrize("wanted", [Invoice, SCHEMA])
def test_answer_that_does_not_fit_is_invalid_and_later_checks_do_not_run(wanted: Any, text: str) -> None:
    ran: list[Any] = []
    checked = run_checks(text, wanted, (ran.append,))
    assert (checked.valid, checked.parsed, ran) == (False, None, [])
    assert [(result.name, result.verdict) for result in checked.results] == [("format", "failed")]


def test_answer_in_a_code_fence_is_unwrapped() -> None:
    assert run_checks('```json\n{"total": 1}\n```', Invoice, ()).valid


def test_check_passes_on_none_and_fails_on_anything_falsy() -> None:
    verdicts = {value: run_checks("x", None, (lambda _, v=value: v,)).valid for value in (None, True, 1, False, 0, "")}
    assert verdicts == {None: True, True: True, False: False, "": False}


def test_check_that_raises_fails_the_answer_with_its_reason() -> None:
    def total_matches(text: str) -> bool:
        raise ValueError("no total")

    (result,) = run_checks("x", None, (total_matches,)).results
    assert (result.name, result.verdict, result.detail) == ("total_matches", "error", "ValueError: no total")


def test_any_json_is_accepted_when_only_json_is_asked_for() -> None:
    assert run_checks("[1]", {"type": "json_object"}, ()).parsed == [1]
    assert not run_checks("one", {"type": "json_object"}, ()).valid


def test_reference_to_another_document_is_never_fetched() -> None:
    schema = {"$ref": "http://127.0.0.1:9/never.json"}
    checked = run_checks("{}", schema, ())
    assert not checked.valid


@pytest.mark.parametrize("wanted", [int, "json", 3, [SCHEMA]])
def test_format_that_is_no_format_is_refused(wanted: Any) -> None:
    with pytest.raises(TypeError, match="pydantic model class or a JSON schema"):
        refuse_unusable_format(wanted)


def test_broken_schema_is_refused_with_its_fault() -> None:
    with pytest.raises(ValueError, match="not a JSON schema: 'objct' is not valid"):
        refuse_unusable_format({"type": "objct"})


class Kind(enum.Enum):
    INVOICE = "invoice"
    SPAM = "spam"


class Classified(BaseModel):
    kind: Kind
    page: int
    confidence: float = 0.5


ENUM = {"type": "object", "properties": {"kind": {"enum": ["invoice", "spam"]}, "page": {"type": "integer"}}}
KIND = LabelField(key="kind", labels=("invoice", "spam"))


@pytest.mark.parametrize(
    ("response_format", "comparable", "label"),
    [
        (ENUM, None, KIND),
        ({"type": "json_schema", "json_schema": {"name": "x", "schema": ENUM}}, None, KIND),
        (Classified, None, KIND),
        ({"properties": {"a": {"enum": ["x"]}, "b": {"enum": ["y"]}}}, "exact", None),
        ({"properties": {"a": {"enum": [1, 2]}, "b": True}}, "exact", None),
        ({"type": "json_object"}, "exact", None),
        (None, "exact", LabelField(key=None)),
        (None, "json", None),
        (None, None, None),
    ],
)
def test_label_is_the_only_field_with_a_closed_list_or_a_text_that_is_compared_exactly(
    response_format: Any, comparable: Any, label: LabelField | None
) -> None:
    assert label_field(response_format, comparable) == label


def test_format_declares_the_fields_at_its_top() -> None:
    assert declares(Classified, "confidence")
    assert not declares(ENUM, "confidence")
    assert declares({"properties": {"confidence": {"type": "number"}}}, "confidence")
    assert not declares({"type": "json_object"}, "confidence")
    assert not declares(None, "confidence")


@pytest.mark.parametrize(
    ("said", "verdict", "grade"),
    [(0.7, "passed", 0.7), (1.0, "passed", 1.0), (0.0, "failed", 0.0), (True, "passed", None), (3, "passed", None)],
)
def test_check_that_returns_a_fraction_grades(said: Any, verdict: str, grade: float | None) -> None:
    (result,) = run_checks("text", None, [lambda text: said]).results
    assert (result.verdict, result.grade) == (verdict, grade)


@pytest.mark.parametrize("said", [7.0, 1.0000001, -0.1, float("nan"), float("inf")])
def test_float_that_is_no_grade_passes_nothing(said: float) -> None:
    checked = run_checks("text", None, [lambda text: said])
    (result,) = checked.results
    assert (checked.valid, result.verdict, result.grade) == (False, "error", None)
    assert "0..1" in str(result.detail)


async def looks(text: str) -> bool:
    return False


async def looks_often(text: str) -> Any:
    yield False


class Looking:
    async def __call__(self, text: str) -> bool:
        return False

    async def look(self, text: str) -> bool:
        return False


@pytest.mark.parametrize("check", [looks, looks_often, Looking(), Looking().look, partial(looks, "x")])
def test_async_check_is_refused(check: Any) -> None:
    with pytest.raises(TypeError, match="checks takes plain functions, not async ones"):
        refuse_unusable_check(check)


def test_check_that_returns_what_has_to_be_awaited_passes_nothing() -> None:
    (result,) = run_checks("text", None, [lambda text: looks(text + text)]).results
    assert (result.verdict, result.detail) == (
        "error",
        "TypeError: a check must be a plain function: what it returned has to be awaited",
    )


def test_names_of_checks_hold_no_pattern_and_are_all_different() -> None:
    def total(answer: Any) -> bool:
        return True

    secret = re.compile("sk-[0-9]+" + "x?" * 5000)
    checks: list[Any] = [secret, re.compile("1"), total, total, SCHEMA, SCHEMA, Invoice, lambda _: True]
    names = [result.name for result in run_checks('{"total": 1}', SCHEMA, checks).results]
    assert names == [
        "format", "regex", "regex_2", "total", "total_2", "schema", "schema_2", "Invoice", "<lambda>",
    ]  # fmt: skip


def test_check_that_is_called_like_the_format_has_a_name_of_its_own() -> None:
    def format(answer: Any) -> bool:
        return True

    format.__name__ = "format"
    assert [result.name for result in run_checks('{"total": 1}', SCHEMA, [format]).results] == ["format", "format_2"]
    long = "x" * 5000
    format.__name__ = long
    (result, other) = run_checks("text", None, [format, format]).results
    assert (result.name, other.name) == (long[:100], f"{long[:100]}_2")


@pytest.mark.parametrize(
    "inner", [{}, {"json_schema": None}, {"json_schema": {"name": "x"}}, {"json_schema": {"schema": "object"}}]
)
def test_format_of_type_json_schema_without_a_schema_is_refused(inner: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="response_format of type json_schema has no schema"):
        refuse_unusable_format({"type": "json_schema", **inner})
    with pytest.raises(ValueError, match="a check of type json_schema has no schema"):
        refuse_unusable_check({"type": "json_schema", **inner})
