"""Records of the hot path: frozen for the type checker, without what freezing costs at run time."""

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def record(cls: type[T]) -> type[T]:
    """Return the class as a record of keyword-only fields, equal and hashed by value, for what every call makes.

    A call makes some twenty records of 150 fields. A frozen dataclass sets each of them through ``object.__setattr__``,
    0.2 µs apiece: half of all that the router added to a call. Here an assignment after construction is an error of the
    type checker, which every commit passes, and of nobody at run time. What is made once per config, price or process
    stays a frozen dataclass.
    """
    return dataclass(slots=True, kw_only=True, unsafe_hash=True)(cls)
