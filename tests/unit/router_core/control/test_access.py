import os
from pathlib import Path
from typing import get_args

import pytest

from router_core.control.access import Access, Right, account_name, lesser, load_access, may, parse_access
from router_core.control.records import RoleName
from router_core.errors import ConfigError

GOOD = b"roles: {ada@example.com: approver, bob: analyst, local: viewer}\ntwo_person_above_usd_month: 5000\n"


def test_roles_and_limit_are_read() -> None:
    access = parse_access(GOOD, source="access.yaml")
    assert access.role_of("ada@example.com", local=False) == "approver"
    assert access.role_of("nobody", local=False) == "viewer"
    assert access.role_of("whoever sits here", local=True) == "viewer"
    assert access.two_person_above_usd_month == 5000


def test_without_a_file_only_the_local_user_may_anything() -> None:
    access = load_access(Path("no such folder") / "routing.yaml")
    assert access == Access()
    assert (access.role_of("x", local=True), access.role_of("x", local=False)) == ("approver", "viewer")


def test_somebody_called_local_elsewhere_is_not_the_local_user() -> None:
    assert parse_access(b"roles: {local: admin}", source="x").role_of("local", local=False) == "viewer"


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        (b"rolls: {}\nroles: {ada: king, 3: viewer}\ntwo_person_above_usd_month: many\n",
         ["rolls", "roles.ada", "roles.3", "two_person_above_usd_month"]),
        (b"roles: [ada]", ["roles"]),
        (b"roles: {ada: null}", ["roles.ada"]),
        (b"two_person_above_usd_month: -1", ["two_person_above_usd_month"]),
        (b"two_person_above_usd_month: true", ["two_person_above_usd_month"]),
        (b"two_person_above_usd_month: .inf", ["two_person_above_usd_month"]),
        (b"roles: {ada: viewer}\nroles: {ada: admin}", ["roles"]),
        (b"- roles", [""]),
        (b"", [""]),
        (b"# nothing\n", [""]),
        (b"roles: {", [""]),
    ],
)  # fmt: skip
def test_every_problem_is_told_at_once_with_its_place(text: bytes, paths: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_access(text, source="access.yaml")
    assert sorted(problem.path for problem in caught.value.problems) == sorted(paths)


def test_an_empty_file_is_not_taken_for_an_empty_config() -> None:
    with pytest.raises(ConfigError, match="write roles"):
        parse_access(b"\n", source="access.yaml")


@pytest.mark.parametrize(
    ("role", "rights"),
    [("viewer", []), ("analyst", ["decide"]), ("approver", ["decide", "change"]), ("admin", ["decide", "change"])],
)
def test_rights_grow_with_the_role(role: RoleName, rights: list[Right]) -> None:
    assert [right for right in get_args(Right) if may(role, right)] == rights


def test_the_lesser_of_two_roles_counts() -> None:
    assert lesser("admin", "viewer") == lesser("viewer", "admin") == "viewer"


def test_a_link_that_leads_nowhere_makes_everybody_a_viewer(tmp_path: Path) -> None:
    (tmp_path / "access.yaml").symlink_to("nowhere.yaml")
    access = load_access(tmp_path / "routing.yaml")
    assert access.role_of("x", local=True) == "viewer"
    assert "a link to a file that does not exist" in (access.problem or "")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "access.yaml")
    assert "not a regular file" in (load_access(tmp_path / "routing.yaml").problem or "")


def test_the_account_is_the_systems_and_not_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER"):
        monkeypatch.setenv(name, "somebody else")
    assert account_name() != "somebody else"
