"""Which version of the config made each payload type's rule what it is."""

from dashboard.provenance import origins, shadows, steps
from router_core.config import RoutingConfig, parse
from router_core.control.records import ChangeKind, ConfigVersion


def config(**paths: str) -> RoutingConfig:
    types = "".join(f"  {name}: {{path: {path}}}\n" for name, path in paths.items())
    budget = "shadow_budget: {per: day, usd: 1.00}\n"
    text = f"version: 1\n{budget}tiers:\n  cheap: [{{model: a/s}}]\n  top: [{{model: a/l}}]\npayload_types:\n{types}"
    return parse(text.encode(), source="test")


def version(seq: int, kind: ChangeKind = "hand", *proposals: str) -> ConfigVersion:
    return ConfigVersion(seq=seq, version=f"v{seq}", since_us=seq, kind=kind, proposal_ids=proposals)


def test_a_rule_comes_from_the_version_that_changed_it_last() -> None:
    found = origins(
        config(a="[top]", b="[top]", c="[top]"),
        [
            (version(3, "apply", "P-0001"), config(a="[top]", b="[top]", c="[top]")),
            (version(2), config(a="[cheap]", b="[top]", c="[top]")),
            (version(1, "first"), config(a="[cheap]", b="[cheap]", c="[top]")),
        ],
    )
    assert {name: origin.source for name, origin in found.items()} == {
        "a": "P-0001",
        "b": "edited by hand",
        "c": "first seen",
    }
    assert {name: origin.version.seq for name, origin in found.items() if origin.version} == {"a": 3, "b": 2, "c": 1}


def test_a_rule_that_history_does_not_know_is_said_to_be_new() -> None:
    (origin,) = origins(config(a="[top]"), [(version(1), config(a="[cheap]"))]).values()
    assert (origin.version, origin.source) == (None, "not in history yet")


def test_a_version_that_never_ran_changed_nothing() -> None:
    past = [(version(3), config(a="[top]")), (version(2), None), (version(1, "first"), config(a="[top]"))]
    assert origins(config(a="[top]"), past)["a"].source == "first seen"


def test_no_more_of_history_is_read_than_it_takes() -> None:
    read: list[int] = []

    def past():
        for seq, path in ((3, "[top]"), (2, "[cheap]"), (1, "[cheap]")):
            read.append(seq)
            yield version(seq), config(a=path)

    assert origins(config(a="[top]"), past())["a"].version == version(3)
    assert 1 not in read or read == [3, 2, 1]


def test_without_history_nothing_is_claimed() -> None:
    assert origins(config(a="[top]"), [])["a"].source == "not in history yet"


def test_paths_and_shadows_are_put_in_words() -> None:
    text = "[{tier: cheap, accept_at: 0.82}, top], shadow: [{tier: top, rate: 0.02}]"
    rule = config(a=text).payload_types["a"]
    assert steps(rule.path) == "cheap (0.82) › top"
    assert shadows(rule) == "top 2%"
