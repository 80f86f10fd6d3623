"""Reading a log in two processes, in a process of its own: ``python -m tests.split_reading HOW FOLDER``."""

import datetime as dt
import multiprocessing
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from router_core.call_log.importers.litellm_maps import SPEND_LOGS
from router_core.call_log.importers.reading import ImportRules, LogSource, Tally, read_rows
from router_core.call_log.importers.records import open_records
from router_core.errors import RouterError
from tests.log_sources import price_of, spend_row, write_csv


def broken(model: str) -> str | None:
    """Fail in the second process only."""
    if multiprocessing.parent_process() is not None:
        raise RuntimeError("no such tier")
    return model


def killed(model: str) -> str | None:
    """Die in the second process only."""
    if multiprocessing.parent_process() is not None:
        os.kill(os.getpid(), signal.SIGKILL)
    return model


def main(how: str, folder: Path) -> None:
    """Check that two processes read what one reads, or that the trouble of the second is said by the first."""
    rows = [spend_row(i, **({"spend": "dear"} if i % 700 == 3 else {})) for i in range(3_300)]
    file = write_csv(folder / "x.csv", rows)
    source = LogSource(name=file.name, sha256="0" * 64, open=lambda: open_records(file), size=1 << 30)
    tier_of = {"whole": lambda _: None, "broken": broken, "killed": killed}[how]
    rules = ImportRules(zone=dt.UTC, price_of=price_of, tier_of=tier_of)
    if how == "whole":
        one, two = (_read(one, rules, folder / f"{one.size}") for one in (replace(source, size=0), source))
        assert one[0] == two[0], (one[0], two[0])
        assert one[1] == two[1]
    else:
        with pytest.raises(RouterError, match={"broken": "RuntimeError: no such tier", "killed": "has died"}[how]):
            read_rows(source, SPEND_LOGS, rules, folder)
    sys.stdout.write("as it should\n")


def _read(source: LogSource, rules: ImportRules, folder: Path) -> tuple[tuple[object, ...], list[bytes]]:
    folder.mkdir()
    tally, paths = read_rows(source, SPEND_LOGS, rules, folder)
    assert len(paths) == (2 if source.size else 1), paths
    return _facts(tally), sorted(line for path in paths for line in path.read_bytes().splitlines())


def _facts(tally: Tally) -> tuple[object, ...]:
    return tally.read, tally.skipped(), tally.preview, tally.zoneless, tally.models, tally.place


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
