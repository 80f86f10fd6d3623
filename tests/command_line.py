"""The console script, run in this process as a user runs it: arguments in, exit code and both outputs out."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from dashboard.cli import main

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """What it printed, as JSON."""
        return orjson.loads(self.out)


class Tierwise:
    """Runs commands and captures what they print."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: "str | Path") -> Ended:
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in arguments])
        printed = self._capsys.readouterr()
        code = caught.value.code
        assert isinstance(code, int | None)
        return Ended(code or 0, printed.out, printed.err)
