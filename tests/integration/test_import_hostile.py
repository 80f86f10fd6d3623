"""Files that are broken or made to do harm: one clear error each, memory flat, nothing half imported."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from router_core.call_log.home import Home
from router_core.errors import ConfigError
from tests.command_line import Tierwise
from tests.import_process import import_measured
from tests.log_sources import bring, fetch, spend_row, table_row, write_csv, write_jsonl

MEMORY_MIB = 350


@pytest.fixture
def tierwise(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Tierwise:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TIERWISE_HOME", raising=False)
    return Tierwise(capsys)


def lines(*rows: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def csv_bytes(folder: Path, *rows: dict[str, Any]) -> bytes:
    return write_csv(folder / "source.csv", list(rows)).read_bytes()


def wide_parquet(folder: Path, columns: int) -> bytes:
    path = folder / "wide.parquet"
    with duckdb.connect() as con:
        con.execute(f"COPY (SELECT {', '.join(f'{i} AS c{i}' for i in range(columns))}) TO '{path}' (FORMAT parquet)")
    return path.read_bytes()


def parquet(folder: Path) -> bytes:
    path = folder / "x.parquet"
    with duckdb.connect() as con:
        con.execute(f"COPY (SELECT now() AS ts, 'm' AS model FROM range(9999)) TO '{path}' (FORMAT parquet)")
    return path.read_bytes()


def overwritten(data: bytes) -> bytes:
    return data[:20] + b"\xff" * (len(data) // 2) + data[20 + len(data) // 2 :]


HEADER = b"timestamp,model,cost\n"
ROW = b"2026-11-03T10:00:00Z,m,0.1\n"
HOSTILE: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "empty": (lambda _: b"", "is empty"),
    "only empty lines": (lambda _: b"\n\n\n", "nothing but empty lines"),
    "binary": (lambda _: bytes(range(256)) * 20, ""),
    "UTF-16": (lambda f: csv_bytes(f, table_row()).decode().encode("utf-16"), "is UTF-16"),
    "UTF-32": (lambda f: csv_bytes(f, table_row()).decode().encode("utf-32"), "is UTF-32"),
    "a web page": (lambda _: b"<!DOCTYPE html><html><body>Log in</body></html>\n", "HTML"),
    "an Arrow file": (lambda _: b"ARROW1" + bytes(100), "is an Arrow"),
    "lines that end in CR": (lambda _: (HEADER + ROW).replace(b"\n", b"\r"), "CR alone"),
    "a line without end": (lambda _: HEADER + ROW + bytes(90 << 20), "line 3 is longer than 64 MiB"),
    "lists in lists in lists": (lambda _: b"[" * 100_000 + b"]" * 100_000, "is not JSON"),
    "names that differ in blanks": (lambda _: b"timestamp,model, model \na,b,c\n", "names columns twice: 'model'"),
    "a zip archive": (lambda _: b"PK\x03\x04" + bytes(100), "is a zip archive"),
    "gzip cut short": (lambda f: gzip.compress(csv_bytes(f, *[table_row(i) for i in range(999)]))[:-20], "damaged"),
    "gzip of nothing else": (lambda _: b"\x1f\x8b" + bytes(200), "damaged"),
    "zstd of nothing else": (lambda _: b"\x28\xb5\x2f\xfd" + bytes(200), "if anything at all"),
    "Parquet cut short": (lambda f: parquet(f)[:-100], "cut short"),
    "Parquet overwritten": (lambda f: overwritten(parquet(f)), "damaged"),
    "Parquet with an endless footer": (lambda _: b"PAR1" + bytes(9) + b"\xff\xff\xff\x7fPAR1", "footer"),
    "header only": (lambda _: HEADER, "no row"),
    "duplicate headers": (lambda _: b"timestamp,model,model\na,b,c\n", "names columns twice: 'model'"),
    "a million columns": (
        lambda _: ",".join(f"c{i}" for i in range(1_000_000)).encode() + b"\n1\n",
        "more than 2,000 columns (1,000,000)",
    ),
    "a million keys": (lambda _: json.dumps(dict.fromkeys(map(str, range(1_000_000)), 1)).encode(), "2,000 columns"),
    "a wide Parquet": (lambda f: wide_parquet(f, 2_001), "more than 2,000 columns (2,001)"),
    "NULs in the header": (lambda _: b"time\x00stamp,model\n1,2\n", "NUL"),
    "NULs in a value": (lambda _: HEADER + ROW + b"2026-11-03T10:00:00Z,m\x00m,0.1\n", "model holds a NUL character"),
    "mixed encodings": (
        lambda _: HEADER + ROW + "2026-11-03T10:00:00Z,é,1\n".encode("latin-1"),
        "is not UTF-8 (line 3)",
    ),
    "a header that is not UTF-8": (lambda _: b"timestamp,mod\xe9l\n1,2\n", "header is not UTF-8"),
    "a quote that never closes": (lambda _: HEADER + b'2026-11-03T10:00:00Z,"m,0.1\n' + ROW * 9, "as CSV in line"),
    "ragged rows": (lambda _: HEADER + ROW + b"2026-11-03T10:00:00Z,m\n", "cells as the header (3) (line 3)"),
    "a huge field": (lambda _: HEADER + b'2026-11-03T10:00:00Z,"' + b"x" * (17 << 20) + b'",1\n', "MiB"),
    "a huge line of JSON": (
        lambda _: lines(table_row()) + b'{"x": "' + b"y" * (17 << 20) + b'"}\n',
        "longer than 16 MiB",
    ),
    "no JSON": (lambda _: lines(table_row()) + b"{nonsense}\n", "is not JSON (line 2)"),
    "JSON that is no object": (lambda _: lines(table_row()) + b"[1, 2]\n", "is not a JSON object (line 2)"),
    "a JSON list cut short": (lambda _: json.dumps([table_row(i) for i in range(99)]).encode()[:-9], "damaged"),
    "JSON without end": (lambda _: b'{"a": ' * 200_000, ""),
    "wrong types": (
        lambda _: lines(table_row(), table_row(1, **{"Cost (USD)": {"usd": 1}})),
        "Cost (USD) is not a number",
    ),
    "a list as model": (lambda _: lines(table_row(), table_row(1, Model=["m"])), "Model is not text (line 2)"),
    "a cost of infinity": (lambda _: HEADER + b"2026-11-03T10:00:00Z,m,inf\n", "cost is not a number"),
    "a cost with an endless exponent": (lambda _: HEADER + b"2026-11-03T10:00:00Z,m,1e999999999\n", "is not a number"),
    "an absurd cost": (lambda _: HEADER + b"2026-11-03T10:00:00Z,m,1e12\n", "is above 1,000,000 USD"),
    "an absurd time": (lambda _: HEADER + b"9999999999999999999999,m,1\n", "is no instant"),
    "a time before there were models": (lambda _: HEADER + b"1887-01-01,m,1\n", "is no instant"),
    "metadata that is no JSON": (
        lambda f: csv_bytes(f, spend_row(metadata={"mark": 1})).replace(b'{""additional', b'{{""additional'),
        "metadata is not JSON (line 2)",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_gets_one_clear_error(tierwise: Tierwise, tmp_path: Path, name: str) -> None:
    make, said = HOSTILE[name]
    (tmp_path / "in").mkdir()
    file = tmp_path / "in" / "log.dat"
    file.write_bytes(make(tmp_path / "in"))
    ended = tierwise("import", file)
    assert (ended.code, "Traceback" in ended.err, "internal error" in ended.err) == (2, False, False), ended.err
    assert said in ended.err
    assert "log.dat" in ended.err
    assert not (tmp_path / ".tierwise").exists(), "something was written"


@pytest.mark.parametrize("packing", ["gzip", "zstd"])
@pytest.mark.parametrize("content", ["one endless line", "endless rows"])
def test_zip_bomb_is_refused_in_bounded_memory(tmp_path: Path, packing: str, content: str) -> None:
    """A file of a few hundred kilobytes that unpacks to 2 GiB."""
    bomb = tmp_path / "bomb.csv"
    row = bytes(1 << 20) if content == "one endless line" else (HEADER + ROW * 100_000)
    pack = {"gzip": _gzip_bomb, "zstd": _zstd_bomb}[packing]
    pack(bomb, row, (2 << 30) // len(row))
    code, said, peak_mib = import_measured(tmp_path, bomb)
    assert code == 2
    assert "times its size" in said or "MiB" in said or "damaged" in said, said
    assert peak_mib < MEMORY_MIB


def _gzip_bomb(path: Path, row: bytes, times: int) -> None:
    # members of a gzip file follow each other: the second half of the same bytes over and over
    member = gzip.compress(row)
    path.write_bytes(member * times)


def _zstd_bomb(path: Path, row: bytes, times: int) -> None:
    source = path.with_suffix(".src.csv")
    source.write_bytes(row if b"\n" in row else row.replace(b"\x00", b"0") + b"\n")
    with duckdb.connect() as con:
        con.execute(
            f"""COPY (SELECT line FROM read_csv('{source}', columns = {{'line': 'VARCHAR'}}, header = false, quote = '',
                escape = '', delim = '\x01', auto_detect = false), range({min(times, 100)})) TO '{path}'
                (FORMAT csv, HEADER false, QUOTE '', ESCAPE '', DELIMITER '\x01', COMPRESSION zstd)"""
        )
    source.unlink()
    # frames of a zstd file follow each other too
    frame = path.read_bytes()
    path.write_bytes(frame * max(1, times // 100))


def test_big_file_is_imported_in_the_same_memory_as_a_small_one(tmp_path: Path) -> None:
    peaks: list[int] = []
    for count in (2_000, 40_000):
        file = write_jsonl(tmp_path / f"{count}.jsonl", [table_row(i, question="x" * 2_000) for i in range(count)])
        code, said, peak_mib = import_measured(tmp_path, file)
        assert code == 0, said
        peaks.append(peak_mib)
    assert peaks[1] < MEMORY_MIB, peaks


def test_rows_that_look_like_sql_or_formulas_come_back_as_they_are(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    name = "=1+1'; DROP TABLE calls; --\x1b[2J\u202e"
    bring(home, write_jsonl(tmp_path / "x.jsonl", [table_row(Task=name, Model=name)]))
    assert fetch(home, "SELECT payload_type, request_model FROM attempts") == [(name, name)]


def test_error_while_reading_leaves_nothing_behind(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    rows = [table_row(i) for i in range(5_000)]
    packed = gzip.compress(write_csv(tmp_path / "x.csv", rows).read_bytes())
    file = tmp_path / "x.csv.gz"
    file.write_bytes(packed[:-8] + bytes(8))
    with pytest.raises(ConfigError, match="damaged"):
        bring(home, file, skip_bad=True)
    assert not home.root.exists()
