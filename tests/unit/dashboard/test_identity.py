"""Who acts in a session, and what they may do."""

from typing import Any

import pytest

from dashboard.identity import WRITES_PER_MINUTE, Action, Session, identify, refusal, within_rate, words
from router_core.control.access import Access
from router_core.control.records import Actor, RoleName

ACCESS = Access(roles={"ada@example.com": "admin", "local": "analyst"})


def session(*, local: bool = True, user: dict[str, Any] | None = None) -> Session:
    return Session(local=local, os_name="root", user=user or {}, now_s=1_000.0)


def signed_in(**claims: Any) -> Actor:
    user = {"is_logged_in": True, "email": "ada@example.com"} | claims
    return identify(session(user=user), ACCESS)


def test_on_loopback_the_person_at_this_machine_is_meant() -> None:
    assert identify(session(), ACCESS) == Actor(name="root", role="analyst", auth="local")
    assert identify(session(), Access()).role == "approver"


def test_elsewhere_nobody_is_and_nobody_may_only_look() -> None:
    nobody = identify(session(local=False), Access())
    assert (nobody.auth, nobody.role) == ("none", "viewer")


@pytest.mark.parametrize("local", [True, False])
def test_who_signed_in_has_the_role_that_is_written_down(local: bool) -> None:
    user = {"is_logged_in": True, "email": "ada@example.com"}
    assert identify(session(local=local, user=user), ACCESS) == Actor(name="ada@example.com", role="admin", auth="oidc")


@pytest.mark.parametrize(
    "claims",
    [{"is_logged_in": False}, {"email_verified": False}, {"exp": 999}, {"exp": 1_000}, {"email": ""}, {"email": 7}],
)
def test_where_signing_in_is_set_up_nobody_else_acts_not_even_on_loopback(claims: dict[str, Any]) -> None:
    assert signed_in(**claims).auth == "none"


def test_a_sign_in_that_lasts_counts() -> None:
    assert signed_in(exp=1_001, email_verified=True).role == "admin"
    assert signed_in(email="bob@example.com").role == "viewer"


def test_who_signs_in_as_local_is_not_the_local_user() -> None:
    assert signed_in(email="local").role == "viewer"


def test_a_broken_access_file_makes_everybody_a_viewer() -> None:
    assert identify(session(), Access(problem="broken")).role == "viewer"


@pytest.mark.parametrize(
    ("role", "may"),
    [
        ("viewer", ()),
        ("analyst", ("claim", "dismiss", "snooze", "propose")),
        ("approver", ("claim", "dismiss", "snooze", "propose", "apply", "undo", "rollback")),
        ("admin", ("claim", "dismiss", "snooze", "propose", "apply", "undo", "rollback")),
    ],
)
def test_roles_allow_what_they_are_for(role: RoleName, may: tuple[Action, ...]) -> None:
    actor = Actor(name="eve", role=role, auth="oidc")
    actions: tuple[Action, ...] = ("claim", "dismiss", "snooze", "propose", "apply", "undo", "rollback")
    assert tuple(action for action in actions if refusal(actor, action) is None) == may


def test_a_refusal_names_the_role_it_takes_and_where_roles_are() -> None:
    said = refusal(Actor(name="eve", role="analyst", auth="oidc"), "apply")
    assert said is not None
    assert said.startswith("Applying a change needs the role approver; eve is analyst.")
    assert "access.yaml" in said


def test_nobody_is_refused_whatever_role_they_claim() -> None:
    assert "nobody is signed in" in str(refusal(Actor(name="x", role="admin", auth="none"), "apply"))


def test_identity_is_put_in_words() -> None:
    assert words(Actor(name="ada", role="approver", auth="local")) == "Local user (ada) · approver"
    assert words(Actor(name="eve@example.com", role="viewer", auth="oidc")) == "eve@example.com · viewer, read-only"
    assert words(Actor(name="nobody", role="viewer", auth="none")) == "Nobody signed in · read-only"


def test_only_so_many_writes_a_minute() -> None:
    writes: tuple[float, ...] = ()
    for at_s in range(WRITES_PER_MINUTE):
        writes = within_rate(writes, float(at_s)) or ()
    assert len(writes) == WRITES_PER_MINUTE
    assert within_rate(writes, 59.0) is None
    assert within_rate(writes, 60.0) is not None


def proxied(email: object) -> Actor:
    user = {} if email is None else {"email": email}
    who = Session(local=False, os_name="root", user=user, now_s=1_000.0, proxied=True)
    return identify(who, ACCESS)


def test_a_trusted_proxy_says_who_asks() -> None:
    assert proxied("ada@example.com") == Actor(name="ada@example.com", role="admin", auth="proxy")
    assert proxied("bob@example.com").role == "viewer"


@pytest.mark.parametrize("email", [None, "", "  ", 7, ["ada@example.com"]])
def test_past_the_proxy_nobody_is_anybody(email: object) -> None:
    assert proxied(email).auth == "none"


def test_nobody_becomes_the_local_user_through_a_proxy() -> None:
    assert proxied("local").role == "viewer"
    assert identify(Session(local=True, os_name="root", user={}, now_s=1_000.0, proxied=True), ACCESS).auth == "none"
