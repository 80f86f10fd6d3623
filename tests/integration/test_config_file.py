"""A routing config that is edited while it is followed: by hand, by editors, badly, half-way."""

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from router_core.control.calibrations import calibrations_beside, keep_calibration
from router_core.control.config_file import ConfigFile, load
from router_core.control.splice import splice
from router_core.errors import ConfigError
from tests.builders import make_calibration, make_config_bytes
from tests.timing import best_of

TEXT = """\
version: 1
tiers: {cheap: [{model: a/small}], top: [{model: a/large}]}
payload_types:
  task: {path: [cheap, top]}   # a comment
"""


class Told:
    """Events, in order; can be waited for."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []
        self._arrived = threading.Condition()

    def __call__(self, name: str, details: dict[str, object]) -> None:
        with self._arrived:
            self.events.append((name, details))
            self._arrived.notify_all()

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.events]

    def wait_for(self, count: int, timeout_s: float = 30) -> None:
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.events) >= count, timeout_s), self.events


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "routing.yaml"
    file.write_text(TEXT)
    return file


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def file(path: Path, told: Told) -> Iterator[ConfigFile]:
    followed = ConfigFile(path, told)
    yield followed
    followed.stop()


def moved(text: str = TEXT) -> str:
    return text.replace("[cheap, top]", "[top]")


def looks(file: ConfigFile, count: int = 2) -> list[bool]:
    return [file.poll() for _ in range(count)]


def test_a_change_runs_after_the_second_look(file: ConfigFile, path: Path, told: Told) -> None:
    before = file.current
    path.write_text(moved())
    assert looks(file, 3) == [False, True, False]
    assert [step.tier for step in file.current.payload_types["task"].path] == ["top"]
    assert before.payload_types["task"].path[0].tier == "cheap", "calls in flight keep their own version"
    assert told.events == [
        (
            "config",
            {
                "version": file.current.content_hash,
                "previous": before.content_hash,
                "changed": ["payload_types.task.path"],
            },
        )
    ]


def test_an_edit_of_equal_length_and_time_is_seen(file: ConfigFile, path: Path) -> None:
    status = path.stat()
    path.write_text(TEXT.replace("a/small", "a/other"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert looks(file) == [False, True]


def test_a_save_that_is_still_going_on_never_counts(file: ConfigFile, path: Path, told: Told) -> None:
    new = moved() + "budgets: [{name: daily, usd: 50}]\n"
    with path.open("w") as slow:
        for character in new:
            slow.write(character)
            slow.flush()
            assert not file.poll()
    assert told.events == []
    assert file.poll(), "the last look of the loop was the first at the finished file"
    assert file.current.budgets


def test_an_editor_that_saves_by_renaming_is_seen(file: ConfigFile, path: Path, told: Told) -> None:
    path.rename(path.with_suffix(".yaml~"))
    assert not file.poll()
    fresh = path.with_suffix(".new")
    fresh.write_text(moved())
    fresh.replace(path)
    assert looks(file) == [False, True]
    assert told.names == ["config"]


@pytest.mark.parametrize(
    ("bad", "where"),
    [
        (TEXT.replace("cheap, top", "cheep, top"), "payload_types.task.path[0].tier"),
        (TEXT + "storage: {catalog: x}\n", "storage.catalog"),
        (TEXT[:50], ""),
        ("", ""),
    ],
)
def test_a_bad_edit_is_refused_loudly_once_and_the_last_good_one_stays(
    file: ConfigFile, path: Path, told: Told, bad: str, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    good = file.current
    path.write_text(bad)
    with caplog.at_level(logging.WARNING):
        assert looks(file, 5) == [False] * 5
    assert file.current is good
    (event,) = told.events
    assert event[0] == "config_refused"
    assert event[1]["kept"] == good.content_hash
    assert where in [problem["path"] for problem in event[1]["problems"]]
    json.dumps(event[1])
    (record,) = (record for record in caplog.records if record.name == "router_core.config")
    assert "is not used" in record.getMessage()
    assert good.content_hash in record.getMessage()


def test_the_next_good_edit_after_a_bad_one_runs(file: ConfigFile, path: Path, told: Told) -> None:
    path.write_text("version: [")
    looks(file)
    path.write_text(moved())
    assert looks(file) == [False, True]
    assert told.names == ["config_refused", "config"]


def test_taking_a_bad_edit_back_is_said_and_changes_nothing(file: ConfigFile, path: Path, told: Told) -> None:
    good = file.current
    path.write_text("version: [")
    looks(file)
    path.write_text(TEXT)
    assert looks(file) == [False, False]
    assert file.current is good
    assert told.names == ["config_refused", "config"]
    assert told.events[1][1]["changed"] == []


def test_a_deleted_file_is_said_once_and_the_last_good_one_stays(file: ConfigFile, path: Path, told: Told) -> None:
    path.unlink()
    assert looks(file, 5) == [False] * 5
    assert told.names == ["config_missing"]
    assert "does not exist" in told.events[0][1]["reason"]
    path.write_text(moved())
    assert looks(file) == [False, True]


def test_the_applications_own_check_can_refuse(path: Path, told: Told) -> None:
    def no_top(config: Any) -> None:
        if config.payload_types["task"].path[0].tier == "top":
            raise ConfigError("x", load_problems)

    with pytest.raises(ConfigError) as caught:
        load(path.parent / "none.yaml")
    load_problems = caught.value.problems
    file = ConfigFile(path, told, admit=no_top)
    path.write_text(moved())
    assert looks(file) == [False, False]
    assert told.names == ["config_refused"]


def test_a_calibration_that_arrives_later_makes_an_edit_good(file: ConfigFile, path: Path, told: Told) -> None:
    admitted = ConfigFile(path, told, admit=lambda config: None)
    name, data = make_calibration({"payload_type": "task"})
    path.write_text(TEXT.replace("{path", f"{{calibration: {name}, path"))
    assert looks(admitted) == [False, False]
    (path.parent / "calibrations").mkdir()
    calibration = path.parent / "calibrations" / f"{name}.json"
    calibration.write_bytes(data[:10])  # copied by hand, and half of it is there
    assert looks(admitted) == [False, False]
    calibration.write_bytes(data)
    assert looks(admitted) == [False, True]
    assert admitted.current.payload_types["task"].calibration == name


def test_another_working_folder_does_not_lose_the_file(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = ConfigFile(Path(path.name))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    path.write_text(moved())
    assert looks(file) == [False, True]


def test_an_idle_process_runs_a_change_within_a_second(file: ConfigFile, path: Path, told: Told) -> None:
    def change_s() -> float:
        other = "cheap" if file.current.payload_types["task"].path[0].tier == "top" else "top"
        seen = len(told.events)
        path.write_bytes(splice(path.read_bytes(), ("payload_types", "task", "path"), [other]))
        saved = time.monotonic()
        told.wait_for(seen + 1)
        took_s = time.monotonic() - saved
        assert file.current.payload_types["task"].path[0].tier == other
        return took_s

    file.start()
    assert best_of(change_s, limit_s=1, tries=3) <= 1


def test_a_stopped_file_is_followed_no_more(file: ConfigFile, path: Path) -> None:
    file.start()
    file.stop()
    assert "tierwise-config" not in [thread.name for thread in threading.enumerate()]


def test_a_file_that_nobody_holds_is_followed_no_more(path: Path) -> None:
    ConfigFile(path).start()
    wait_until(lambda: "tierwise-config" not in [thread.name for thread in threading.enumerate()])


def test_a_listener_that_fails_does_not_end_the_following(
    path: Path, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(name: str, details: dict[str, object]) -> None:
        told(name, details)
        if len(told.events) == 1:
            raise RuntimeError("listener")

    file = ConfigFile(path, failing)
    file.start()
    path.write_text(moved())
    told.wait_for(1)
    path.write_text(TEXT)
    told.wait_for(2)
    file.stop()
    assert "could not be followed this time" in caplog.text


FORKED = """
import os, sys, time
from pathlib import Path
from router_core.control.config_file import ConfigFile

path = Path(sys.argv[1])
file = ConfigFile(path)
file.start()
if os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
before = file.current.content_hash
path.write_text(path.read_text() + "# changed")
until = time.monotonic() + 30
while file.current.content_hash == before and time.monotonic() < until:
    time.sleep(0.02)
os._exit(0 if file.current.content_hash != before else 3)
"""


def test_a_forked_child_goes_on_following(path: Path) -> None:
    subprocess.run([sys.executable, "-c", FORKED, str(path)], check=True, timeout=60)


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe"])
def test_what_cannot_be_read_is_one_clear_error(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "routing.yaml"
    if kind == "folder":
        file.mkdir()
    if kind == "pipe":
        os.mkfifo(file)
    with pytest.raises(ConfigError) as caught:
        ConfigFile(file)
    assert len(caught.value.problems) == 1
    assert str(file) in str(caught.value)


def test_calibrations_beside_the_file_are_known(tmp_path: Path) -> None:
    path = tmp_path / "routing.yaml"
    name = keep_calibration(path, make_calibration({"payload_type": "a"})[1])
    path.write_bytes(make_config_bytes(payload_types={"a": {"path": ["cheap"], "calibration": name}}))
    assert load(path).payload_types["a"].calibration == name


def test_a_calibration_is_kept_once_and_never_half(tmp_path: Path) -> None:
    path = tmp_path / "routing.yaml"
    name, data = make_calibration()
    assert [keep_calibration(path, data) for _ in range(2)] == [name, name]
    assert {file.name: file.read_bytes() for file in (tmp_path / "calibrations").iterdir()} == {f"{name}.json": data}
    with pytest.raises(ConfigError):
        keep_calibration(path, data + b" {")
    assert list(calibrations_beside(path)) == [name]


def test_a_calibration_that_was_changed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "routing.yaml"
    name = keep_calibration(path, make_calibration({"payload_type": "a"})[1])
    path.write_bytes(make_config_bytes(payload_types={"a": {"path": ["cheap"], "calibration": name}}))
    file = tmp_path / "calibrations" / f"{name}.json"
    file.write_bytes(file.read_bytes().replace(b"1.0", b"2.0"))
    with pytest.raises(ConfigError, match="put the original file back"):
        load(path)


def test_the_example_that_is_shipped_is_valid_and_fully_supported() -> None:
    example = Path(__file__).resolve().parents[2] / "data" / "routing.yaml"
    assert ConfigFile(example).current.tier_names == ("cheap", "mid", "top")
    ConfigFile(example).admit(load(example))


def wait_until(condition: Callable[[], bool], timeout_s: float = 30) -> None:
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)
