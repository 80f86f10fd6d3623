"""Tables as CSV."""

import csv
import io

from dashboard.components import tables
from dashboard.sums import Row, Sums


def read(table: tables.Table) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(table.csv())))


def test_a_csv_holds_all_rows_with_units_in_the_header_and_unrounded_numbers() -> None:
    rows = [Row(name=f"t{i}", sums=Sums(calls=3, spend_nusd=1, attempts=3, priced=3)) for i in range(1_500)]
    found = read(tables.by_type(rows, price_nusd=None))
    assert len(found) == 1_500
    assert found[0]["spend_usd"] == "1e-09"
    assert float(found[0]["cost_per_1k_calls_usd"]) * 3 == 1e-6
    assert found[0]["wrong_rate"] == ""


def test_formulas_in_names_are_inert_in_a_csv_and_hold_every_character() -> None:
    name = '=HYPERLINK("https://evil.example")\n,' + "x" * 500
    (found,) = read(tables.by_type([Row(name=name, sums=Sums(calls=1))], price_nusd=None))
    assert found["payload_type"] == "'" + name


def test_shares_add_up_to_the_whole() -> None:
    rows = [Row(name=str(i), sums=Sums(calls=1, spend_nusd=i * 1_000, attempts=1)) for i in range(1, 5)]
    assert sum(float(row["spend_share"]) for row in read(tables.by_tier(rows, price_nusd=None))) == 1
