"""What is wrong with a home's control store and with who may do what, and how to mend it."""

from pathlib import Path

from router_core.call_log.doctor import Finding
from router_core.call_log.home import Home
from router_core.control import audit, intents
from router_core.control.access import access_file, load_access
from router_core.control.store import Store
from router_core.errors import RouterError


def control_findings(home: Home, config: Path) -> list[Finding]:
    """Return what was found; nothing for what is not there. Nothing is changed.

    Args:
        home: The home to look at.
        config: The routing config that belongs to it.
    """
    return [*_access(config), *_store(home)]


def _access(config: Path) -> list[Finding]:
    path = access_file(config)
    if not path.exists():
        return []
    access = load_access(config)
    if access.problem is not None:
        return [Finding(name="access", state="wrong", text=access.problem, mend=f"correct {path}")]
    return [Finding(name="access", state="ok", text=f"{path.name}, {len(access.roles)} names")]


def _store(home: Home) -> list[Finding]:
    try:
        with Store(home).reading() as con:
            if con is None:
                return []
            broken, unfinished = audit.verify(con), intents.unfinished(con)
    except RouterError as error:
        return [Finding(name="control", state="wrong", text=str(error), mend="restore it from a backup")]
    findings = [Finding(name="audit", state="ok", text="the chain holds")]
    if broken is not None:
        text = f"row {broken} is not as it was written: the audit was tampered with from there on"
        findings = [Finding(name="audit", state="wrong", text=text, mend="compare it with a backup, keep both")]
    if unfinished:
        text = "a change of the routing config was cut off"
        mend = (
            "a running router settles it, and so does every command that changes something: tierwise history --observe"
        )
        findings.append(Finding(name="change", state="wrong", text=text, mend=mend))
    return findings
