"""Records of the hot path: frozen for the type checker, without what freezing costs at run time.

A call makes some twenty records of 150 fields together. A frozen dataclass sets each of them through
``object.__setattr__``, 0.1 µs apiece; a class that is called by keyword packs its arguments into a dict and out of it
again. Both together were half of all that the router added to a call.
"""

from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ParamSpec, TypeVar, cast, dataclass_transform

P = ParamSpec("P")
T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def record(cls: type[T]) -> type[T]:
    """Return the class as a record of keyword-only fields, equal and hashed by value, for what every call makes.

    An assignment after construction is an error of the type checker, which every commit passes, and of nobody at run
    time. What is made once per config, price or process stays a frozen dataclass.
    """
    return dataclass(slots=True, kw_only=True, unsafe_hash=True)(cls)


def maker(cls: Callable[P, T]) -> Callable[P, T]:
    """Return a function that makes a record as its class does, from the same arguments, in a third of the time.

    It is generated from the names of the fields, as a dataclass's ``__init__`` is; it runs no ``__post_init__``.
    """
    names: dict[str, Any] = {"cls": cls, "new": object.__new__, "MISSING": MISSING}
    takes: list[str] = []
    does: list[str] = []
    for each in fields(cast("Any", cls)):
        name = each.name
        value = name
        if each.default_factory is not MISSING:
            names[f"make_{name}"] = each.default_factory
            takes.append(f"{name}=MISSING")
            value = f"make_{name}() if {name} is MISSING else {name}"
        elif each.default is not MISSING:
            names[f"default_{name}"] = each.default
            takes.append(f"{name}=default_{name}")
        else:
            takes.append(name)
        does.append(f"    self.{name} = {value}")
    source = [f"def make(*, {', '.join(takes)}):", "    self = new(cls)", *does, "    return self"]
    exec("\n".join(source), names)  # noqa: S102 - from the names of fields alone
    return names["make"]


def blank(cls: type[Any]) -> Any:
    """Return a record whose fields are still to be set, all of them, by whoever has asked for it.

    For those of more than ten fields that every call makes, each at one place: passing so many arguments by name takes
    as long again as all else about them, because each name is looked for among all others.
    """
    return object.__new__(cls)
