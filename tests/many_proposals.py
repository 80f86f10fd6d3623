"""A store with many proposals that are over, or put away."""

from dataclasses import replace

from router_core.control import proposals
from router_core.control.states import DAY_US, EXPIRY_US, QUIET_US, Standing
from router_core.control.store import Store
from tests.decisions import Place, make_draft

QUIET_TYPES = 3_000


def fill(place: Place, count: int) -> None:
    """Add proposals that are dismissed, snoozed and expired, a third each; many of them of one type and change."""
    long_ago = place.now_us - QUIET_US - DAY_US
    draft = make_draft()
    with Store(place.home).writing() as con:
        for n in range(count):
            kind = ("dismissed", "snoozed", "expired")[n % 3]
            payload_type = "x.extract" if kind != "snoozed" else f"quiet.{n % QUIET_TYPES}"
            entry = proposals.add(con, replace(draft, payload_type=payload_type), long_ago, long_ago + EXPIRY_US)
            standing = Standing(
                state=kind,
                since_us=long_ago,
                expires_us=long_ago + EXPIRY_US,
                until_us=place.now_us + 365 * DAY_US if kind == "snoozed" else None,
            )
            proposals.save(con, proposals.number_of(entry.proposal.proposal_id), standing)
