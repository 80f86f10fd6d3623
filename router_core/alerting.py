"""Tells of what somebody should know: to the log, and to a webhook that is signed and tried again until it answers.

What was told is kept in a file of the home, by key: no restart tells the same again. A message whose delivery a crash
has cut off is sent once more with the id it had, so that a receiver can tell.
"""

import hashlib
import hmac
import json
import logging
import sqlite3
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol
from zoneinfo import ZoneInfo

from router_core.call_log.home import Home
from router_core.call_log.ingest import IngestReport
from router_core.call_log.lookup import Question
from router_core.call_log.spool import Spool
from router_core.config import RoutingConfig
from router_core.control.config_file import config_of
from router_core.control.limits_now import limit_states
from router_core.decide.alerts import Alert, of_backlog, of_call, of_day, of_limit, of_store
from router_core.errors import ConfigError
from router_core.types import usd_to_nusd

KEY_VARIABLE: Final = "TIERWISE_WEBHOOK_KEY"
SIGNATURE_HEADER: Final = "Tierwise-Signature"
ID_HEADER: Final = "Tierwise-Alert-Id"
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS alerts (
    key TEXT PRIMARY KEY, at_us INTEGER NOT NULL, body TEXT NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0, due_us INTEGER, done_us INTEGER
) WITHOUT ROWID"""
_DAY_US: Final = 86_400_000_000
_DAYS_OF_USUAL: Final = 28
_LOOK_US: Final = 1_000_000
_LOOK_AT_DAYS_US: Final = 60_000_000
_BACKLOG_BYTES: Final = 64 << 20
_POST_TIMEOUT_S: Final = 10.0
_FIRST_WAIT_US: Final = 1_000_000
_LONGEST_WAIT_US: Final = 900_000_000
_STORE_WAIT_S: Final = 5.0
_logger = logging.getLogger("router_core.alerts")

PostFunction = Callable[[str, bytes, Mapping[str, str]], int]
"""Gets an address, a body and headers; returns the HTTP status. Raises ``OSError`` when nobody answers."""


class Reader(Protocol):
    """Answers questions about the log."""

    def ask(self, *questions: Question) -> list[list[Sequence[Any]]]:
        """Return the rows of each question's answer."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """Where alerts are posted to.

    Attributes:
        url: The address.
        key: What they are signed with; b"" = there is none, and nothing is posted.
    """

    url: str
    key: bytes


class Alerting:
    """The alerts of one home.

    Args:
        home: Whose.
        key: Signs what is posted; b"" = nothing is posted.
        post: Posts.
    """

    def __init__(self, home: Home, key: bytes, post: "PostFunction | None" = None) -> None:
        self._home = home
        self._key = key
        self._post = post or post_http
        self._spool: Spool | None = None
        self._config: RoutingConfig | None = None
        self._looked_us = self._looked_at_days_us = 0
        self._is_new = True
        self._warned = False

    def look(self, report: IngestReport, log: Reader, now_us: int) -> int:
        """Tell of what is new; return how many alerts that were.

        Args:
            report: What the log has just taken in.
            log: The log.
            now_us: The present instant, microseconds since the epoch.
        """
        if 0 <= now_us - self._looked_us < _LOOK_US and not report.rows:
            return 0
        self._looked_us = now_us
        with suppress(ConfigError):  # the last good one stays
            self._config = config_of(self._home)
        config = self._config
        if config is None:
            return 0
        found = [*self._of_limits(config, now_us), *self._of_log(config, report, log, now_us)]
        if report.backlog_bytes >= _BACKLOG_BYTES:
            found.append(of_backlog(report.backlog_bytes, now_us))
        return self._tell(found, config, now_us)

    def deliver(self, now_us: int) -> int:
        """Post what is due; return how many were delivered. What fails is tried again, later and later, for a day."""
        config, webhook = self._config, self._webhook()
        if config is None or webhook is None or not self._home.alerts.exists():
            return 0
        delivered = 0
        with closing(self._store()) as store:
            due = store.execute(
                "SELECT key, at_us, body, tries FROM alerts WHERE due_us <= ? AND done_us IS NULL ORDER BY at_us",
                (now_us,),
            ).fetchall()
            for key, at_us, body, tries in due:
                if self._posted(webhook, key, body, now_us):
                    store.execute("UPDATE alerts SET done_us = ?, tries = tries + 1 WHERE key = ?", (now_us, key))
                    delivered += 1
                    continue
                wait_us = min(_FIRST_WAIT_US << min(tries, 20), _LONGEST_WAIT_US)
                after = None if now_us - at_us > _DAY_US else now_us + wait_us
                store.execute("UPDATE alerts SET tries = tries + 1, due_us = ? WHERE key = ?", (after, key))
        return delivered

    def deliver_until(self, stop: threading.Event, now_us: Callable[[], int]) -> None:
        """Post what is due, again and again, until told to stop."""
        while not stop.wait(1.0):
            try:
                self.deliver(now_us())
            except sqlite3.Error as error:
                _logger.warning("alerts cannot be delivered: %s", error)

    def close(self) -> None:
        """Close the log."""
        if self._spool is not None:
            self._spool.close()
            self._spool = None

    def _of_limits(self, config: RoutingConfig, now_us: int) -> Iterable[Alert]:
        zone = ZoneInfo(config.timezone)
        try:
            states = limit_states(self._home.control, config, now_us)
        except sqlite3.Error as error:
            _logger.warning("how the limits stand cannot be read: %s", error)
            return [of_store(now_us - now_us % 3_600_000_000, "watch")]
        found: list[Alert] = []
        for state in states:
            at_us = state.forecast.at_us
            clock = None if at_us is None else f"{datetime.fromtimestamp(at_us / 1e6, zone):%H:%M on %Y-%m-%d}"
            found += of_limit(state, now_us, clock)
        return found

    def _of_log(self, config: RoutingConfig, report: IngestReport, log: Reader, now_us: int) -> Iterable[Alert]:
        since_us = now_us - _DAY_US  # what is older never alerts
        is_first, self._is_new = self._is_new, False
        above = config.alerts.call_above_usd
        if above is not None and (is_first or report.rows.get("calls")):
            above_nusd = usd_to_nusd(above)
            (rows,) = log.ask(
                Question(f"""
                SELECT call_id, payload_type, cost_nusd, epoch_us(ts) FROM log.calls
                WHERE source = 'router' AND cost_nusd > {above_nusd} AND ts >= make_timestamp({since_us})""")
            )
            for call_id, payload_type, cost_nusd, at_us in rows:
                yield of_call(call_id, payload_type, cost_nusd, at_us, above_nusd)
        if is_first or report.rows.get("events"):
            (rows,) = log.ask(
                Question(f"""
                SELECT epoch_us("at"), worker FROM log.events WHERE event = 'budget_store'
                AND json_extract_string(details, '$.state') = 'unavailable' AND "at" >= make_timestamp({since_us})""")
            )
            yield from (of_store(at_us, worker) for at_us, worker in rows)
        if not 0 <= now_us - self._looked_at_days_us < _LOOK_AT_DAYS_US:
            self._looked_at_days_us = now_us
            yield from self._of_days(ZoneInfo(config.timezone), log, now_us)

    def _of_days(self, zone: ZoneInfo, log: Reader, now_us: int) -> Iterable[Alert]:
        since_us = now_us - (_DAYS_OF_USUAL + 1) * _DAY_US
        (rows,) = log.ask(
            Question(f"""
            SELECT epoch_us(hour), CAST(sum(cost_nusd) AS BIGINT) FROM log.rollup_attempts
            WHERE source = 'router' AND hour >= make_timestamp({since_us}) GROUP BY 1""")
        )
        days: Counter[str] = Counter()
        for hour_us, nusd in rows:
            days[datetime.fromtimestamp(hour_us / 1e6, zone).date().isoformat()] += nusd or 0
        today = datetime.fromtimestamp(now_us / 1e6, zone).date().isoformat()
        found = of_day(today, days[today], [nusd for day, nusd in days.items() if day < today and nusd], now_us)
        return () if found is None else (found,)

    def _tell(self, alerts: Sequence[Alert], config: RoutingConfig, now_us: int) -> int:
        if not alerts:
            return 0
        told = 0
        due_us = None if config.alerts.webhook is None else now_us
        with closing(self._store()) as store:
            for alert in alerts:
                row = (alert.key, alert.at_us, _body(alert), due_us)
                done = store.execute("INSERT OR IGNORE INTO alerts (key, at_us, body, due_us) VALUES (?, ?, ?, ?)", row)
                if done.rowcount:
                    told += 1
                    self._log(alert, now_us)
        return told

    def _log(self, alert: Alert, now_us: int) -> None:
        _logger.warning("%s", alert.text)
        if self._spool is None:
            self._spool = Spool(self._home.spool)
        details = {"kind": alert.kind, "key": alert.key, "text": alert.text, **alert.facts}
        self._spool.write(
            {"k": "event", "at": now_us, "worker": self._spool.worker, "event": "alert", "details": details}
        )

    def _webhook(self) -> Webhook | None:
        url = None if self._config is None else self._config.alerts.webhook
        if url is None:
            return None
        if not self._key:
            if not self._warned:
                self._warned = True
                _logger.warning("alerts are not posted: their key is missing; set %s", KEY_VARIABLE)
            return None
        return Webhook(url=url, key=self._key)

    def _posted(self, webhook: Webhook, key: str, body: str, now_us: int) -> bool:
        data = body.encode()
        headers = {
            "Content-Type": "application/json",
            ID_HEADER: hashlib.sha256(key.encode()).hexdigest()[:32],
            SIGNATURE_HEADER: signature(webhook.key, data, now_us // 1_000_000),
        }
        try:
            status = self._post(webhook.url, data, headers)
        except OSError as error:
            _logger.warning("the webhook does not answer and will be tried again: %s", type(error).__name__)
            return False
        if not 200 <= status < 300:  # noqa: PLR2004 - the success class of HTTP
            _logger.warning("the webhook answers with %d and will be tried again", status)
            return False
        return True

    def _store(self) -> sqlite3.Connection:
        store = sqlite3.connect(self._home.alerts, timeout=_STORE_WAIT_S, isolation_level=None)
        store.execute("PRAGMA journal_mode = WAL")
        store.execute(_SCHEMA)
        self._home.alerts.chmod(0o600)
        return store


def signature(key: bytes, body: bytes, at_s: int) -> str:
    """Return what vouches for a message: its time, and the HMAC-SHA256 of ``<time>.<body>``, hex."""
    digest = hmac.new(key, b"%d." % at_s + body, hashlib.sha256).hexdigest()
    return f"t={at_s},v1={digest}"


def post_http(url: str, body: bytes, headers: Mapping[str, str]) -> int:
    """Post to an address; redirects are not followed.

    Raises:
        OSError: Nobody answers.
    """
    request = urllib.request.Request(url, data=body, headers=dict(headers), method="POST")  # noqa: S310 - http(s) only
    try:
        with urllib.request.build_opener(_NoRedirects).open(request, timeout=_POST_TIMEOUT_S) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, newurl: Any) -> None:
        """Follow none."""


def _body(alert: Alert) -> str:
    at = datetime.fromtimestamp(alert.at_us / 1e6, UTC).isoformat()
    return json.dumps({"key": alert.key, "kind": alert.kind, "text": alert.text, "at": at, "facts": alert.facts})
