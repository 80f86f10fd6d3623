"""Free checks of an answer."""

from typing import Any

import pytest
from pydantic import BaseModel

from router_core.checks import refuse_unusable_format, run_checks

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
