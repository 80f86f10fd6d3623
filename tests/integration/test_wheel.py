"""The built wheel works by itself: an environment with its core dependencies only, far away from the checkout."""

import json
import os
import re
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]

# runs in every Python of the environment, subprocesses included, and notes each file of the checkout that is opened
WATCHER = """
import os, sys
_checkout, _packages, _notes = {checkout!r}, {packages!r}, {notes!r}

def _watch(event, args, _busy=[]):
    if event == "open" and not _busy and isinstance(args[0], str):
        path = os.path.abspath(args[0])
        if path.startswith(_checkout) and not path.startswith(_packages):
            _busy.append(1)
            with open(_notes, "a") as notes:
                notes.write(path + chr(10))
            _busy.clear()

sys.addaudithook(_watch)
"""


def run(*command: str | Path, cwd: Path, **variables: str) -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": str(cwd), "LANG": "C.UTF-8", **variables}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def core_dependencies() -> set[str]:
    """Names of all distributions that installing `tierwise` without extras brings."""
    found: set[str] = set()
    waiting = [("tierwise", frozenset[str]())]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        found.add(name)
        for text in metadata.requires(name) or ():
            needed = Requirement(text)
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in (extras or {""})):
                waiting.append((re.sub(r"[-_.]+", "-", needed.name).lower(), frozenset(needed.extras)))
    return found - {"tierwise"}


def link_packages(names: set[str], folder: Path) -> None:
    """Put what the distributions installed here into another environment, as links."""
    for name in names:
        distribution = metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files or () if file.parts[0] not in {"..", "__pycache__"}}:
            target = Path(str(distribution.locate_file(top)))
            if not (folder / top).exists():
                (folder / top).symlink_to(target)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    return next(folder.glob("*.whl"))


class Installed:
    """The wheel in an environment of its own."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        self.elsewhere = folder / "elsewhere"
        self.elsewhere.mkdir()
        self.opened_in_checkout = folder / "opened.txt"
        self.bin = folder / "env" / "bin"
        run(sys.executable, "-m", "venv", "--without-pip", folder / "env", cwd=folder)
        run(
            sys.executable, "-m", "pip", "--python", self.bin / "python", "--disable-pip-version-check",
            "install", "--quiet", "--no-index", "--no-deps", wheel,
            cwd=folder,
        )  # fmt: skip
        self.site = next((folder / "env" / "lib").glob("python*/site-packages"))
        link_packages(core_dependencies(), self.site)
        packages = metadata.distribution("pytest").locate_file("")
        (self.site / "sitecustomize.py").write_text(
            WATCHER.format(checkout=f"{ROOT}/", packages=str(packages), notes=str(self.opened_in_checkout))
        )

    def tierwise(self, *arguments: str) -> str:
        return run(self.bin / "tierwise", *arguments, cwd=self.elsewhere)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(tmp_path_factory.mktemp("installed"), wheel)


@pytest.mark.slow
def test_wheel_holds_the_packages_and_the_data_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names} == {
        "router_core",
        "optimizer",
        "dashboard",
        f"tierwise-{metadata.version('tierwise')}.dist-info",
    }
    data = sorted(str(path.relative_to(ROOT / "data")) for path in (ROOT / "data").rglob("*") if path.is_file())
    assert data
    assert sorted(name.removeprefix("dashboard/_data/") for name in names if "/_data/" in name) == data


@pytest.mark.slow
def test_installed_command_shows_its_help(installed: Installed) -> None:
    assert "demo" in installed.tierwise("--help")


@pytest.mark.slow
def test_installed_demo_runs_without_the_checkout(installed: Installed) -> None:
    installed.tierwise("demo", "--no-serve", "--days", "3")
    spend = json.loads(installed.tierwise("spend", "--json", "--home", ".tierwise/demo"))
    assert spend
    assert not installed.opened_in_checkout.exists(), installed.opened_in_checkout.read_text()


@pytest.mark.slow
def test_installed_watcher_sees_what_is_opened_in_the_checkout(installed: Installed) -> None:
    run(installed.bin / "python", "-c", f"open({str(ROOT / 'pyproject.toml')!r}).close()", cwd=installed.elsewhere)
    assert installed.opened_in_checkout.read_text().split() == [str(ROOT / "pyproject.toml")]
