"""docs/log-schema.md lists the tables, views and columns that a log really has."""

import re
from pathlib import Path

import pytest

from router_core.call_log.home import Home
from router_core.call_log.ingest import ingest_once
from router_core.call_log.read import reading
from tests.log_files import write_log

PAGE = Path(__file__).resolve().parents[2] / "docs" / "log-schema.md"
# how far ingesting is, and what is in flight: nobody's to query
INTERNAL = {
    "forgotten_segments",
    "ledger",
    "outcome_queue",
    "pending_attempts",
    "pending_calls",
    "progress",
    "rollup_state",
    "schema_version",
    "unplaced_outcomes",
}
Columns = dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Columns:
    home = Home(tmp_path_factory.mktemp("log") / "home")
    write_log(home, days=1, per_day=4)
    ingest_once(home)
    found: Columns = {}
    with reading(home) as log:
        rows = log.execute(
            "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE NOT internal ORDER BY column_index"
        ).fetchall()
    for table, column, kind in rows:
        found.setdefault(table, {})[column] = kind
    return found


def documented() -> Columns:
    found: Columns = {}
    for section in re.split(r"^## ", PAGE.read_text("utf-8"), flags=re.MULTILINE)[1:]:
        name, _, text = section.partition("\n")
        base = re.search(r"A view: all columns of `(\w+)`", text)
        columns = dict(re.findall(r"^\| `(\w+)` \| (\w+) \| [^|]+ \|$", text, re.MULTILINE))
        found[name.strip()] = (found[base[1]] if base else {}) | columns
    return found


def test_page_lists_every_table_view_and_column_with_its_type(there: Columns) -> None:
    public = {name: columns for name, columns in there.items() if name not in INTERNAL}
    assert public == documented()


def test_what_the_page_leaves_out_is_there(there: Columns) -> None:
    assert there.keys() >= INTERNAL


def test_query_on_the_page_runs(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    write_log(home, days=1, per_day=4)
    [block] = re.findall(r"^```sql\n(.*?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    with reading(home) as log:
        assert len(log.execute(block).description or []) == 3
