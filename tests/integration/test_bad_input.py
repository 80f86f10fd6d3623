"""Bad input: one clear message with the place and the way out, exit code 2, nothing half written, no traceback."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.builders import make_config_bytes, make_config_data
from tests.command_line import Ended, Tierwise
from tests.outcome_files import make_row, make_rows, write_outcomes

VALID = make_config_bytes()
TARGET = {"model": "sim/small"}
CHEAP_PATH = {"path": ["cheap"]}


@pytest.fixture
def tierwise(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Tierwise:
    monkeypatch.chdir(tmp_path)
    for name in ("TIERWISE_HOME", "TIERWISE_DEBUG", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return Tierwise(capsys)


def assert_refused(ended: Ended, *said: str) -> None:
    assert ended.code == 2, ended
    assert "Traceback" not in ended.err + ended.out
    assert "internal error" not in ended.err
    assert ended.err.startswith("tierwise: "), ended.err
    for text in said:
        assert text in ended.err


# --- routing.yaml

NO_YAML: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty"),
    "only comments": (b"# nothing\n", "is empty"),
    "not UTF-8": (b"version: 1\nname: \xff\xfe\n", "is not UTF-8"),
    "not YAML": (b"version: [1\ntiers: {", "YAML"),
    "a tab as indentation": (b"version: 1\ntiers:\n\tcheap: []\n", "YAML"),
    "a control character": (b"version: 1\nx: \x00\n", "not allowed in YAML"),
    "a list": (b"- 1\n- 2\n", "file"),
    "a word": (b"hello\n", "file"),
    "two documents": (b"version: 1\n---\nversion: 1\n", "document"),
    "a key twice": (b"version: 1\nversion: 1\n", "version"),
    "an alias to nothing": (b"version: *nowhere\n", "nowhere"),
    "an object tag": (b"version: !!python/object/apply:os.system [ls]\n", "tag"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "is not UTF-8"),
}
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "version of the future": ({"version": 2}, "version"),
    "unknown section": ({"budgetts": []}, "budgetts"),
    "no tier": ({"tiers": {}}, "tiers"),
    "tier without a target": ({"tiers": {"cheap": [], "top": [TARGET]}}, "tiers.cheap"),
    "unknown key of a target": ({"tiers": {"cheap": [{**TARGET, "tiemout_s": 3}], "top": [TARGET]}}, "tiemout_s"),
    "timeout of zero": ({"tiers": {"cheap": [{**TARGET, "timeout_s": 0}], "top": [TARGET]}}, "timeout_s"),
    "a number where text belongs": ({"tiers": {"cheap": [{"model": 5}], "top": [TARGET]}}, "tiers.cheap[0].model"),
    "no payload type": ({"payload_types": {}}, "payload_types"),
    "unknown tier in a path": ({"payload_types": {"x": {"path": ["chaep"]}}}, "chaep"),
    "empty path": ({"payload_types": {"x": {"path": []}}}, "payload_types.x.path"),
    "threshold above one": (
        {"payload_types": {"x": {"path": [{"tier": "cheap", "accept_at": 1.2}, "top"]}}},
        "accept_at",
    ),
    "negative error cost": ({"payload_types": {"x": {**CHEAP_PATH, "error_cost_usd": -1}}}, "error_cost_usd"),
    "unknown lowest tier": ({"payload_types": {"x": {**CHEAP_PATH, "min_tier": "gold"}}}, "min_tier"),
    "unknown calibration": ({"payload_types": {"x": {**CHEAP_PATH, "calibration": "cal-0"}}}, "calibration"),
    "unknown zone": ({"timezone": "Europe/Berlln"}, "timezone"),
    "reserve above its limit": ({"budgets": [{"name": "d", "usd": 5, "critical_reserve_usd": 9}]}, "budgets[0]"),
    "negative price": ({"prices": {"sim/small": {"input": -1, "output": 1}}}, "prices"),
    "no attempts allowed": ({"defaults": {"limits": {"attempts": 0}}}, "attempts"),
    "key instead of its variable": (
        {"tiers": {"cheap": [{**TARGET, "api_key_env": "sk-secret-0123"}], "top": [TARGET]}},
        "api_key_env",
    ),
}


@pytest.mark.parametrize("name", NO_YAML)
def test_file_that_is_no_config(tierwise: Tierwise, name: str) -> None:
    data, said = NO_YAML[name]
    Path("routing.yaml").write_bytes(data)
    assert_refused(tierwise("check"), "routing.yaml", said)


@pytest.mark.parametrize("name", WRONG)
def test_config_that_cannot_be_used(tierwise: Tierwise, name: str) -> None:
    sections, place = WRONG[name]
    Path("routing.yaml").write_bytes(make_config_bytes(**sections))
    assert_refused(tierwise("check"), "routing.yaml", place)


def test_all_problems_of_a_config_come_at_once(tierwise: Tierwise) -> None:
    Path("routing.yaml").write_bytes(make_config_bytes(version=3, budgetts=[], timezone="Nowhere"))
    ended = tierwise("check")
    assert_refused(ended, "3 problems", "version", "budgetts", "timezone")


def test_value_of_a_key_is_never_shown(tierwise: Tierwise) -> None:
    sections = WRONG["key instead of its variable"][0]
    Path("routing.yaml").write_bytes(make_config_bytes(**sections))
    assert "sk-secret" not in tierwise("check").err


def test_feature_that_is_not_built_yet_is_named(tierwise: Tierwise) -> None:
    Path("routing.yaml").write_bytes(make_config_bytes(storage={"sink": "ducklake"}))
    assert_refused(tierwise("check"), "storage.sink", "not yet supported")


def test_missing_config_says_how_to_get_one(tierwise: Tierwise) -> None:
    assert_refused(tierwise("check"), "routing.yaml", "tierwise init")


def test_folder_instead_of_a_config(tierwise: Tierwise, tmp_path: Path) -> None:
    assert_refused(tierwise("check", tmp_path), str(tmp_path))


def test_missing_key_is_named(tierwise: Tierwise) -> None:
    tiers = {"cheap": [{"model": "openai/gpt-5-nano"}], "top": [{"model": "sim/large"}]}
    Path("routing.yaml").write_bytes(make_config_bytes(tiers=tiers))
    assert_refused(tierwise("check"), "tiers.cheap[0]", "OPENAI_API_KEY")


def test_target_without_a_price_is_named(tierwise: Tierwise) -> None:
    tiers = {"cheap": [{"model": "ollama/nobody-knows-me"}], "top": [{"model": "sim/large"}]}
    Path("routing.yaml").write_bytes(make_config_bytes(tiers=tiers))
    assert_refused(tierwise("check"), "tiers.cheap[0]", "ollama/nobody-knows-me", "prices:", "on_unpriced")


def test_json_of_a_bad_check_is_json(tierwise: Tierwise) -> None:
    tiers = {"cheap": [{"model": "openai/gpt-5-nano"}], "top": [{"model": "sim/large"}]}
    Path("routing.yaml").write_bytes(make_config_bytes(tiers=tiers))
    ended = tierwise("check", "--json")
    assert (ended.code, ended.json()["ok"], ended.json()["problems"][0]["path"]) == (2, False, "tiers.cheap[0]")


def test_good_config_passes(tierwise: Tierwise, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    sections = make_config_data()
    sections["tiers"]["cheap"] = [{"model": "openai/gpt-5-nano"}]
    Path("routing.yaml").write_bytes(make_config_bytes(**sections))
    assert tierwise("check").code == 0


def test_existing_config_is_never_overwritten(tierwise: Tierwise) -> None:
    Path("routing.yaml").write_bytes(VALID)
    assert_refused(tierwise("init"), "routing.yaml", "tierwise check")
    assert Path("routing.yaml").read_bytes() == VALID


def test_example_config_is_valid(tierwise: Tierwise, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, "x")
    assert tierwise("init").code == 0
    assert tierwise("check").code == 0


# --- files to import


def corrupt(path: Path) -> Path:
    """Return the file with its middle overwritten: magic and footer stay."""
    data = bytearray(path.read_bytes())
    data[20 : len(data) // 2] = b"\xff" * (len(data) // 2 - 20)
    path.write_bytes(data)
    return path


def cut(path: Path) -> Path:
    """Return the file without its end."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def parquet(folder: Path, *rows: dict[str, Any], **types: str) -> Path:
    return write_outcomes(folder / "x.parquet", list(rows), **types)


def without(name: str) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != name} for row in make_rows(1)]


def text(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.write_text(content)
    return path


def binary(path: Path) -> Path:
    path.write_bytes(bytes(range(256)))
    return path


def traffic(folder: Path) -> Path:
    path = folder / "traffic.parquet"
    with duckdb.connect() as con:
        con.execute(f"COPY (SELECT now() AS timestamp, 5 AS prompt_tokens) TO '{path}' (FORMAT parquet)")
    return path


NO_IMPORT: dict[str, tuple[Callable[[Path], Path], tuple[str, ...]]] = {
    "missing": (lambda f: f / "x.parquet", ("x.parquet", "no such file")),
    "a folder": (lambda f: f, ("is a folder",)),
    "empty": (lambda f: text(f, "x.parquet", ""), ("is empty",)),
    "of an unknown kind": (lambda f: text(f, "x.xlsx", "PK"), (".xlsx", ".parquet")),
    "CSV named as Parquet": (
        lambda f: write_outcomes(f / "x.csv", make_rows()).rename(f / "y.parquet"),
        ("y.parquet", "named as Parquet but is not"),
    ),
    "Parquet named as CSV": (lambda f: parquet(f, *make_rows()).rename(f / "y.csv"), ("holds Parquet",)),
    "corrupt": (lambda f: corrupt(parquet(f, *make_rows(50))), ("x.parquet", "damaged")),
    "cut short": (lambda f: cut(parquet(f, *make_rows(50))), ("x.parquet", "damaged")),
    "broken JSON": (lambda f: text(f, "x.jsonl", '{"dataset": "a"\nnonsense\n'), ("x.jsonl", "damaged")),
    "binary as CSV": (lambda f: binary(f / "x.csv"), ("x.csv",)),
    "another schema": (traffic, ("missing columns dataset", "prompt_tokens")),
    "without one column": (lambda f: parquet(f, *without("cost_usd")), ("missing column cost_usd",)),
    "without rows": (parquet, ("no row",)),
    "text where numbers belong": (
        lambda f: parquet(f, make_row(correct="yes"), correct="VARCHAR"),
        ("correct: holds VARCHAR, expected numbers",),
    ),
    "text in a number of a CSV": (
        lambda f: write_outcomes(
            f / "x.csv", [make_row(), make_row(query_id="q2", cost_usd="free")], cost_usd="VARCHAR"
        ),
        ("cost_usd is not a number (1 row, row 2)",),
    ),
    "correct above one": (lambda f: parquet(f, make_row(correct=55.0)), ("correct is outside 0..1 (1 row, row 1)",)),
    "negative cost": (
        lambda f: parquet(f, make_row(), *(make_row(query_id=f"n{i}", cost_usd=-0.1) for i in range(3))),
        ("cost_usd is negative (3 rows, first is row 2)", "--skip-bad"),
    ),
    "cost that is no number": (lambda f: parquet(f, make_row(cost_usd=float("nan"))), ("cost_usd is not a number",)),
    "endless cost": (lambda f: parquet(f, make_row(cost_usd=float("inf"))), ("cost_usd is not a number",)),
    "absurd cost": (lambda f: parquet(f, make_row(cost_usd=1e300)), ("cost_usd is above",)),
    "negative tokens": (lambda f: parquet(f, make_row(prompt_tokens=-5)), ("prompt_tokens is negative",)),
    "confidence above one": (lambda f: parquet(f, make_row(confidence=80.0)), ("confidence is outside 0..1",)),
    "no query id": (lambda f: parquet(f, make_row(query_id=None)), ("query_id is empty",)),
    "empty model": (lambda f: parquet(f, make_row(model="")), ("model is empty",)),
    "the same row twice": (lambda f: parquet(f, make_row(), make_row()), ("same dataset, query_id and model", "row 2")),
    "a query of two types": (
        lambda f: parquet(f, make_row(), make_row(model="large", payload_type="other")),
        ("queries with more than one payload type: 1 ", "bench q1"),
    ),
}


@pytest.mark.parametrize("name", NO_IMPORT)
def test_file_that_cannot_be_imported(tierwise: Tierwise, tmp_path: Path, name: str) -> None:
    make, said = NO_IMPORT[name]
    (tmp_path / "in").mkdir()
    file = make(tmp_path / "in")
    ended = tierwise("import", file, "--format", "outcomes")
    assert_refused(ended, str(file), *said)
    assert not (tmp_path / ".tierwise").exists(), "something was written"


@pytest.mark.parametrize(
    ("tiers", "said"),
    [
        ("top=lagre", "closest: large"),
        ("top", "is not tier=model"),
        ("a=large,b=large", "named twice"),
        ("", "no tier"),
    ],
)
def test_unusable_mapping(tierwise: Tierwise, tmp_path: Path, tiers: str, said: str) -> None:
    file = write_outcomes(tmp_path / "x.parquet", make_rows(1))
    assert_refused(tierwise("import", file, "--tiers", tiers), "--tiers", said)


# --- homes


HOMES: dict[str, Callable[[Path], str]] = {
    "below a file": lambda f: str(text(f, "a-file", "x") / "home"),
    "where nobody can write": lambda _: "/proc/tierwise",
    "a file": lambda f: str(text(f, "a-file", "x")),
}


@pytest.mark.parametrize("name", HOMES)
def test_home_that_cannot_be_written(tierwise: Tierwise, tmp_path: Path, name: str) -> None:
    home = HOMES[name](tmp_path)
    file = write_outcomes(tmp_path / "x.parquet", make_rows(1))
    before = sorted(tmp_path.rglob("*"))
    assert_refused(tierwise("import", file, "--home", home), home, "TIERWISE_HOME or --home")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("command", [("spend",), ("calls",), ("ingest",), ("calls", "abc")])
def test_home_without_a_log_says_how_to_make_one(tierwise: Tierwise, tmp_path: Path, command: tuple[str, ...]) -> None:
    assert_refused(tierwise(*command), str(tmp_path / ".tierwise"), "tierwise demo")
    assert list(tmp_path.iterdir()) == [], "reading made something"


# --- options


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--since", "yesterday"), "--since"),
        (("--timezone", "Mars/Base"), "IANA"),
        (("--only", "colour=red"), "payload_type, tier, model, role, source"),
        (("--only", "role"), "NAME=VALUE"),
    ],
)
def test_unusable_option_of_spend(tierwise: Tierwise, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    (tmp_path / ".tierwise" / "spool").mkdir(parents=True)
    assert_refused(tierwise("spend", *arguments), said)


@pytest.mark.parametrize(
    "arguments", [("spend", "--by", "colour"), ("nonsense",), ("import",), ("calls", "--limit", "0")]
)
def test_wrong_usage_is_bad_input(tierwise: Tierwise, arguments: tuple[str, ...]) -> None:
    ended = tierwise(*arguments)
    assert (ended.code, "Traceback" in ended.err) == (2, False)


def test_end_of_the_demo_that_is_no_day(tierwise: Tierwise, tmp_path: Path) -> None:
    assert_refused(tierwise("demo", "--no-serve", "--end", "tomorrow"), "--end", "2026-11-22")
    assert list(tmp_path.iterdir()) == []


# --- the process itself


def run(*arguments: str, cwd: Path, **options: Any) -> "subprocess.CompletedProcess[str]":
    environ = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(
        [sys.executable, "-m", "dashboard.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=environ,
        timeout=60,
        **options,
    )


def test_exit_code_and_message_of_the_process(tmp_path: Path) -> None:
    done = run("check", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("tierwise: routing.yaml: 1 problem\n")


def test_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    environ = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "dashboard.cli", "--help"]
    done = subprocess.run(
        command, stdout=writes, stderr=subprocess.PIPE, text=True, check=False, cwd=tmp_path, env=environ, timeout=60
    )
    os.close(writes)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
