"""Questions about the rows that a log holds, asked by its writer before it locks the file.

Nobody else writes, so an answer stays true until the writer's own next commit. A small log is asked over the writer's
connection. A large one is asked by a process of its own, ``python -m router_core.call_log.lookup FILE``, which opens
the file read-only for each set of questions, beside all readers: looking through ten million rows with the file locked
would keep readers out for a second, and the writing process must not open the file in any other way.
"""

import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

import orjson

from router_core.call_log.access import LogUnavailableError
from router_core.call_log.home import Home

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

LARGE_BYTES: Final = 64 << 20
_SETTINGS: Final = (
    "SET memory_limit = '256MB'",
    "SET threads = 2",
    "SET enable_progress_bar = false",
)
Attached = Callable[[], AbstractContextManager["DuckDBPyConnection"]]


class Question(NamedTuple):
    """A query of the log, which is attached as ``log``; instants come and go as microseconds.

    Attributes:
        query: The SQL.
        lists: Lists of values for its parameters.
    """

    query: str
    lists: tuple[Sequence[Any], ...] = ()


class Lookup(Protocol):
    """Who answers."""

    def ask(self, *questions: Question) -> list[list[Sequence[Any]]]:
        """Return the rows of each question's answer, all of them as of one moment.

        Raises:
            LogUnavailableError: The log cannot be asked now; nothing is lost.
        """
        ...


class OwnLookup:
    """Asks over the writer's own connection, the file locked meanwhile.

    Args:
        attached: Attaches the log for the length of a block.
    """

    def __init__(self, attached: Attached) -> None:
        self._attached = attached

    def ask(self, *questions: Question) -> list[list[Sequence[Any]]]:
        """Return the rows of each question's answer."""
        with self._attached() as con:
            return [list(con.execute(query, list(lists)).fetchall()) for query, lists in questions]


class LookupProcess:
    """Asks a process beside this one; it is started at the first question and ends with this one.

    Args:
        home: Whose log.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, *questions: Question) -> list[list[Sequence[Any]]]:
        """Return the rows of each question's answer."""
        process = self._started()
        if process.stdin is None or process.stdout is None:
            raise AssertionError
        try:
            # orjson takes no named tuples
            asked = [list(question) for question in questions]
            process.stdin.write(orjson.dumps(asked, option=orjson.OPT_APPEND_NEWLINE))
            process.stdin.flush()
            answer = process.stdout.readline()
        except OSError:
            answer = b""
        if not answer:
            self.close()
            message = f"{self._home.log} cannot be asked now: the process that reads it has ended; nothing is lost"
            raise LogUnavailableError(message)
        found = orjson.loads(answer)
        if "error" in found:
            message = f"{self._home.log} cannot be read now ({found['error']}); nothing is lost, try again"
            raise LogUnavailableError(message)
        return found["answers"]

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(OSError), process:
            process.kill()

    def _started(self) -> "subprocess.Popen[bytes]":
        if self._process is None:
            command = [sys.executable, "-m", "router_core.call_log.lookup", str(self._home.log)]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        return self._process


class SizedLookup:
    """Asks over the writer's own connection while the log is small, then a process beside this one.

    Args:
        home: Whose log.
        attached: Attaches the log for the length of a block.
    """

    def __init__(self, home: Home, attached: Attached) -> None:
        self._home = home
        self._own = OwnLookup(attached)
        self._process = LookupProcess(home)

    def ask(self, *questions: Question) -> list[list[Sequence[Any]]]:
        """Return the rows of each question's answer."""
        try:
            is_large = self._home.log.stat().st_size >= LARGE_BYTES
        except FileNotFoundError:
            is_large = False
        return (self._process if is_large else self._own).ask(*questions)

    def close(self) -> None:
        """End the process, if there is one."""
        self._process.close()


def serve(log: Path) -> None:
    """Answer lines of questions from standard input until it ends."""
    import duckdb

    con = duckdb.connect(":memory:")
    for setting in (*_SETTINGS, f"SET temp_directory = '{_quoted(log.parent / 'stage' / 'lookup')}'"):
        con.execute(setting)
    for line in sys.stdin.buffer:
        try:
            con.execute(f"ATTACH '{_quoted(log)}' AS log (READ_ONLY)")
            try:
                answers = [con.execute(query, lists).fetchall() for query, lists in orjson.loads(line)]
            finally:
                con.execute("DETACH log")
            answer: dict[str, Any] = {"answers": answers}
        except duckdb.Error as error:
            answer = {"error": str(error).splitlines()[0][:300]}
        sys.stdout.buffer.write(orjson.dumps(answer, option=orjson.OPT_APPEND_NEWLINE))
        sys.stdout.buffer.flush()


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


if __name__ == "__main__":
    # ctrl-c reaches this process, too; it ends when the one that asks does, which first ends what it is at
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(Path(sys.argv[1]))
