"""The one background process: whoever wins the election ingests, again and again, until told to stop."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from router_core.call_log.access import LogBusyError, LogUnavailableError, NoLogError, elected, is_watched
from router_core.call_log.backlog import read_offsets, unread_bytes
from router_core.call_log.home import Home
from router_core.call_log.kept import list_kept
from router_core.call_log.read import reading
from router_core.call_log.segments import Segment, is_alive, list_segments, list_workers
from router_core.control.burial import bury_dead
from router_core.errors import RouterError

if TYPE_CHECKING:
    from types import FrameType

    from router_core.alerting import Alerting
    from router_core.call_log.ingest import Ingester, IngestReport

PARENT_VARIABLE: Final = "TIERWISE_WATCH_PARENT"
# lines written after a tick has begun wait for the next one
_TICK_S: Final = 1.0
_ONE_SHOT_TIMEOUT_S: Final = 600.0
_MAX_ONE_SHOTS: Final = 3
_STALLED_S: Final = 30.0
_POLL_S: Final = 0.05
_WAITS: Final = "ingest waits: %s"
_TRIED_AGAIN: Final = "ingest failed and will be tried again: %s"
_logger = logging.getLogger("router_core.watch")


class IngestFailedError(RouterError):
    """The log could not be brought up to date; the message is the ingesting process's own."""


def watch(
    home: Home, *, interval_s: float = 1.0, stop: threading.Event | None = None, keep_days: float | None = None
) -> None:
    """Ingest every ``interval_s`` until stopped; while another process does so, stand by.

    It may be ended at any moment, by any signal: nothing is lost, the next one goes on. Without ``stop``, SIGTERM and
    SIGINT end it after the tick in hand. When ``TIERWISE_WATCH_PARENT`` names a parent, it ends when that process does.
    Segments are kept for ``keep_days`` after they were read; None = as long as nobody removes them.

    Raises:
        ConfigError: The home or the log is unusable.
    """
    if stop is None:
        stop = threading.Event()
        _stop_on_signals(stop)
    ending = _ends_with_parent(stop)
    home.create()
    while not ending():
        if not home.root.is_dir():
            _logger.warning("%s is gone: nothing is left to watch", home.root)
            return
        # a home that is removed and made anew has a lock file, and perhaps a watcher, of its own
        try:
            with elected(home) as election:
                if election:
                    ingester, alerting = _new_ingester(home, keep_days), _new_alerting(home)
                    _ingest_until(lambda: ending() or not election, home, ingester, alerting, stop, interval_s)
        except FileNotFoundError:
            pass
        except OSError as error:
            _logger.warning(_TRIED_AGAIN, error)
        stop.wait(interval_s)


def ensure_ingested(home: Home) -> None:
    """Bring what is spooled by now into the log: wait for whoever watches, else run a one-shot ``tierwise ingest``.

    Raises:
        IngestFailedError: The one-shot process failed.
        ConfigError: The log is unusable.
    """
    goal = list_segments(home.spool)
    one_shots, missing, changed_s = 0, -1, time.monotonic()
    while one_shots < _MAX_ONE_SHOTS:
        before, missing = missing, _missing(home, goal)
        if not missing and not _has_dead_workers(home) and not _must_be_made_anew(home):
            return
        if not is_watched(home):
            _ingest_in_subprocess(home)
            one_shots += 1
            continue
        if missing != before:
            changed_s = time.monotonic()
        if not missing or time.monotonic() - changed_s > _STALLED_S:
            return
        time.sleep(_POLL_S)


def start_watch(home: Home) -> "subprocess.Popen[bytes] | None":
    """Start ``tierwise watch`` as a child that ends with this process; None when somebody watches already."""
    if is_watched(home.create()):
        return None
    return subprocess.Popen(
        _command("watch", home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env=os.environ | {PARENT_VARIABLE: str(os.getpid())},
        start_new_session=True,
    )


def _ingest_until(
    ending: Callable[[], bool],
    home: Home,
    ingester: "Ingester",
    alerting: "Alerting",
    stop: threading.Event,
    interval_s: float,
) -> None:
    """Tick until the end, or until trouble that calls for a fresh start."""
    from duckdb import Error as DuckDBError

    delivered = threading.Event()
    thread = threading.Thread(target=alerting.deliver_until, args=(delivered, _now_us), name="tierwise-alerts")
    thread.daemon = True
    thread.start()
    try:
        while not ending():
            try:
                report = ingester.tick(max_s=_TICK_S)
                is_behind = report.is_behind
                _look_around(home, report, ingester, alerting)
            except LogBusyError as error:
                _logger.warning(_WAITS, error)
                is_behind = False
            except LogUnavailableError as error:
                _logger.warning(_WAITS, error)
                return
            except (DuckDBError, OSError) as error:
                _logger.warning(_TRIED_AGAIN, error)
                return
            if not is_behind:
                stop.wait(interval_s)
    finally:
        delivered.set()
        alerting.close()
        ingester.close()


def _look_around(home: Home, report: "IngestReport", ingester: "Ingester", alerting: "Alerting") -> None:
    """Close the books of dead processes, and tell of what is new; neither keeps the log from going on."""
    try:
        bury_dead(home.control, home.spool)
        alerting.look(report, ingester, _now_us())
    except Exception as error:  # noqa: BLE001 - the log goes on, whatever keeps somebody from looking at it
        _logger.warning("alerts: could not look (%s); it is tried again", type(error).__name__)


def _new_alerting(home: Home) -> "Alerting":
    from router_core.alerting import KEY_VARIABLE as WEBHOOK_KEY_VARIABLE
    from router_core.alerting import Alerting

    return Alerting(home, os.environ.get(WEBHOOK_KEY_VARIABLE, "").encode())


def _now_us() -> int:
    return time.time_ns() // 1000


def _new_ingester(home: Home, keep_days: float | None) -> "Ingester":
    from router_core.call_log.ingest import Ingester, wall_clock_us

    return Ingester(home, now_us=wall_clock_us, keep_days=keep_days)


def _stop_on_signals(stop: threading.Event) -> None:
    def end(number: int, frame: "FrameType | None") -> None:
        del number, frame
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)


def _ends_with_parent(stop: threading.Event) -> Callable[[], bool]:
    parent = os.environ.get(PARENT_VARIABLE, "")
    if not parent.isdigit():
        return stop.is_set
    return lambda: stop.is_set() or os.getppid() != int(parent)


def _missing(home: Home, goal: Sequence[Segment]) -> int:
    """Return how many bytes of the goal are not in the log."""
    if not goal:
        return 0
    try:
        with reading(home) as con:
            offsets = read_offsets(con)
    except NoLogError:
        offsets = {}
    return unread_bytes(goal, offsets)


def _must_be_made_anew(home: Home) -> bool:
    """Return whether the log's file is gone while what was in it is kept."""
    return not home.log.exists() and any(list_kept(home.spool))


def _has_dead_workers(home: Home) -> bool:
    return any(not is_alive(home.spool, worker) for worker in list_workers(home.spool))


def _command(name: str, home: Home) -> list[str]:
    return [sys.executable, "-m", "dashboard.cli", name, "--home", str(home.root)]


def _ingest_in_subprocess(home: Home, timeout_s: float = _ONE_SHOT_TIMEOUT_S) -> None:
    try:
        done = subprocess.run(
            _command("ingest", home),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        message = f"the log is far behind: {timeout_s:g} s did not suffice to catch up; run: tierwise ingest"
        raise IngestFailedError(message) from error
    if done.returncode != 0:
        message = done.stderr.strip().removeprefix("tierwise: ") or f"tierwise ingest ended with {done.returncode}"
        raise IngestFailedError(message)
