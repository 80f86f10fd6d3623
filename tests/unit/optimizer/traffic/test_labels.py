"""Which labels speak for which calls."""

from collections.abc import Mapping

import numpy as np

from optimizer.simulate.harm import NONE, SAME, Labels
from optimizer.simulate.rehearsal import Kind
from optimizer.traffic.labels import FEWEST_LABELS, Count, Counts, sort_labels

ENOUGH = Count(FEWEST_LABELS, 2)
TOO_FEW = Count(FEWEST_LABELS - 1, 2)


def kind(served: str | None, capped: str | None = "cheap", payload_type: str = "x") -> Kind:
    return Kind(payload_type=payload_type, tier_served=served, tier_capped=capped)


def sort(
    *kinds: Kind,
    served: Mapping[tuple[str | None, str | None], Count] | None = None,
    degraded: Mapping[tuple[str | None, str | None], Count] | None = None,
    unserved: Mapping[tuple[str | None, str | None, str | None], Count] | None = None,
) -> Labels:
    return sort_labels(kinds, np.full(len(kinds), 1e9), Counts(served or {}, degraded or {}, unserved or {}))


def test_shadows_on_calls_of_the_kind_speak_for_it() -> None:
    labels = sort(kind("top"), served={("x", "top"): Count(100, 3)}, unserved={("x", "top", "cheap"): ENOUGH})
    assert labels.sample.tolist() == [0]
    assert (labels.cheap[0], labels.cheap_wrong[0], labels.now[0], labels.now_wrong[0]) == (FEWEST_LABELS, 2, 100, 3)


def test_answers_of_another_tier_say_nothing_about_the_cheapest() -> None:
    labels = sort(kind("top"), served={("x", "top"): ENOUGH}, unserved={("x", "top", "mid"): ENOUGH})
    assert labels.sample.tolist() == [NONE]


def test_too_few_labels_on_either_side_say_nothing() -> None:
    for cheap, now in ((TOO_FEW, ENOUGH), (ENOUGH, TOO_FEW)):
        labels = sort(kind("top"), served={("x", "top"): now}, unserved={("x", "top", "cheap"): cheap})
        assert labels.sample.tolist() == [NONE]


def test_calls_that_the_cheapest_tier_served_keep_their_answer() -> None:
    assert sort(kind("cheap"), kind(None), kind("top", None)).sample.tolist() == [SAME, NONE, NONE]


def test_accepted_answers_of_the_cheapest_tier_do_not_speak_for_escalated_calls() -> None:
    """They were accepted because they looked right."""
    labels = sort(kind("cheap"), kind("top"), served={("x", "cheap"): ENOUGH, ("x", "top"): ENOUGH})
    assert labels.sample.tolist() == [SAME, NONE]


def test_calls_that_a_limit_moved_speak_for_the_whole_type() -> None:
    labels = sort(
        kind("cheap"),
        kind("top"),
        kind(None),
        served={("x", "cheap"): Count(30, 1), ("x", "top"): Count(10, 2)},
        degraded={("x", "cheap"): ENOUGH},
    )
    assert labels.sample.tolist() == [0, 0, NONE]
    assert (labels.now[0], labels.now_wrong[0]) == (40, 3)


def test_what_is_known_of_every_kind_goes_before_what_is_known_of_the_type() -> None:
    labels = sort(
        kind("cheap"),
        kind("top"),
        served={("x", "cheap"): ENOUGH, ("x", "top"): ENOUGH},
        degraded={("x", "cheap"): Count(500, 50)},
        unserved={("x", "top", "cheap"): Count(40, 4)},
    )
    assert labels.sample.tolist() == [SAME, 0]
    assert labels.cheap.tolist() == [40]


def test_each_type_speaks_for_itself() -> None:
    labels = sort(
        kind("top"),
        kind("top", payload_type="y"),
        served={("x", "top"): ENOUGH, ("y", "top"): ENOUGH},
        degraded={("y", "cheap"): ENOUGH},
    )
    assert labels.sample.tolist() == [NONE, 0]
