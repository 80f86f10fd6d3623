"""Who sits before a page, what they may do there, and why not.

Nobody is asked for a password here. On loopback the person at this machine is meant, under their name in the operating
system; with OIDC set up, whoever is signed in; behind a trusted proxy, whom its header names; else nobody, and nobody
may only look.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from router_core.control.access import Access, Right, least_role, may
from router_core.control.records import Actor

NOBODY: Final = Actor(name="nobody", role="viewer", auth="none")
WRITES_PER_MINUTE: Final = 10
_MINUTE_S = 60.0

Action = Literal["claim", "dismiss", "snooze", "propose", "import", "demo", "apply", "undo", "rollback"]

_NEEDS: Final[Mapping[Action, Right]] = {
    "claim": "decide",
    "dismiss": "decide",
    "snooze": "decide",
    "propose": "decide",
    "import": "decide",
    "demo": "decide",
    "apply": "change",
    "undo": "change",
    "rollback": "change",
}
_DOING: Final[Mapping[Action, str]] = {
    "claim": "reviewing a proposal",
    "dismiss": "dismissing a proposal",
    "snooze": "snoozing a proposal",
    "propose": "looking for moves",
    "import": "importing a log",
    "demo": "making demo data",
    "apply": "applying a change",
    "undo": "undoing a change",
    "rollback": "rolling back",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What the server knows about one browser session.

    Attributes:
        local: Whether only this machine can reach the server.
        os_name: Name of the user who runs the server.
        user: Claims of the signed-in user; ``is_logged_in`` is there when signing in is set up.
        proxied: Whether a proxy before the server says who asks, in a header that nobody else can set.
        now_s: Seconds since the epoch.
    """

    local: bool
    os_name: str
    user: Mapping[str, Any]
    now_s: float
    proxied: bool = False

    @property
    def can_sign_in(self) -> bool:
        """Whether signing in is set up."""
        return "is_logged_in" in self.user


def identify(session: Session, access: Access) -> Actor:
    """Return who acts in a session. An expired sign-in, or an address nobody vouches for, is nobody."""
    if session.can_sign_in:
        name = _signed_in(session)
        return NOBODY if name is None else Actor(name=name, role=access.role_of(name, local=False), auth="oidc")
    if session.proxied:
        # without the header nobody is meant: whoever came past the proxy is not the local user
        name = session.user.get("email")
        if not isinstance(name, str) or not name.strip():
            return NOBODY
        return Actor(name=name, role=access.role_of(name, local=False), auth="proxy")
    if session.local:
        return Actor(name=session.os_name, role=access.role_of(session.os_name, local=True), auth="local")
    return NOBODY


def _signed_in(session: Session) -> str | None:
    user = session.user
    if not user.get("is_logged_in") or user.get("email_verified", True) is not True:
        return None
    expires = user.get("exp")
    if isinstance(expires, int | float) and expires <= session.now_s:
        return None
    email = user.get("email")
    return email if isinstance(email, str) and email else None


def words(actor: Actor) -> str:
    """Return who acts, for the page: ``Local user · approver``. The name is anybody's text."""
    if actor.auth == "none":
        return "Nobody signed in · read-only"
    who = f"Local user ({actor.name})" if actor.auth == "local" else actor.name
    return f"{who} · {'viewer, read-only' if actor.role == 'viewer' else actor.role}"


def refusal(actor: Actor, action: Action) -> str | None:
    """Return why ``actor`` may not do something; None = they may."""
    if actor.auth != "none" and may(actor.role, _NEEDS[action]):
        return None
    doing = f"{_DOING[action].capitalize()} needs the role {least_role(_NEEDS[action])}"
    if actor.auth == "none":
        return f"{doing}, and nobody is signed in here: this page is read-only."
    return f"{doing}; {actor.name} is {actor.role}. Roles are in access.yaml beside the routing config."


def within_rate(writes_s: tuple[float, ...], now_s: float) -> tuple[float, ...] | None:
    """Return a session's writes of the last minute with this one, monotonic seconds; None = too many already."""
    recent = tuple(at_s for at_s in writes_s if now_s - at_s < _MINUTE_S)
    return None if len(recent) >= WRITES_PER_MINUTE else (*recent, now_s)
