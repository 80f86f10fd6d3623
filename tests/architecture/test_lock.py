"""The lock file installs the same, unharmed packages everywhere."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements.lock"
OLD_DUCKDB = ROOT / "requirements-duckdb15.lock"
KNOWN_MALWARE = {("litellm", "1.82.7"), ("litellm", "1.82.8")}


@pytest.fixture(scope="module")
def entries() -> dict[tuple[str, str], str]:
    """The lock's entries: (name, version) to the text of the entry."""
    joined = re.sub(r"\\\n\s*", "", LOCK.read_text("utf-8"))
    return {
        (match["name"].lower(), match["version"]): line
        for line in joined.splitlines()
        if (match := re.match(r"(?P<name>[\w.\-\[\],]+)==(?P<version>[^\s;]+)", line))
    }


def test_every_package_is_pinned_with_a_hash(entries: dict[tuple[str, str], str]) -> None:
    assert len(entries) > 50
    assert [name for name, entry in entries.items() if "--hash=sha256:" not in entry] == []


def test_no_line_asks_for_anything_but_pinned_packages(entries: dict[tuple[str, str], str]) -> None:
    joined = re.sub(r"\\\n\s*", "", LOCK.read_text("utf-8"))
    wanted = [line for line in joined.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert sorted(wanted) == sorted(entries.values())


def test_no_address_is_in_the_lock() -> None:
    assert re.findall(r"\w+://|--(?:extra-)?index-url|--find-links|--trusted-host| @ ", LOCK.read_text("utf-8")) == []


def test_no_release_known_as_malware_is_in_the_lock(entries: dict[tuple[str, str], str]) -> None:
    assert not KNOWN_MALWARE & entries.keys()


def test_second_environment_pins_the_older_duckdb_alone() -> None:
    joined = re.sub(r"\\\n\s*", "", OLD_DUCKDB.read_text("utf-8"))
    (line,) = [line for line in joined.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert line.startswith("duckdb==1.5.5 --hash=sha256:")
    assert re.findall(r"\w+://|--(?:extra-)?index-url|--find-links|--trusted-host| @ ", joined) == []
