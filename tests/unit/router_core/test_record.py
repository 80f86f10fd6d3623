from dataclasses import field, replace
from typing import Any

import pytest

from router_core.record import maker, record


@record
class Point:
    x: int
    y: int = 2
    names: list[str] = field(default_factory=list[str], repr=False)


make_point = maker(Point)


def test_record_is_equal_and_told_by_value() -> None:
    assert Point(x=1) == Point(x=1, y=2)
    assert repr(Point(x=1)) == "Point(x=1, y=2)"
    assert replace(Point(x=1), y=5) == Point(x=1, y=5)


@pytest.mark.parametrize("given", [{"x": 1}, {"x": 1, "y": 5}, {"x": 1, "names": ["a"]}])
def test_maker_makes_what_the_class_makes(given: dict[str, Any]) -> None:
    made = make_point(**given)
    assert type(made) is Point
    assert made == Point(**given)


def test_maker_shares_no_default_between_records() -> None:
    make_point(x=1).names.append("a")
    assert make_point(x=1).names == []


@pytest.mark.parametrize("given", [{}, {"x": 1, "z": 3}])
def test_maker_refuses_what_the_class_refuses(given: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        Point(**given)
    with pytest.raises(TypeError):
        make_point(**given)
