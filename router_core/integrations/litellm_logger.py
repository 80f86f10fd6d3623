"""One line puts the calls of an application that uses LiteLLM, or of a LiteLLM proxy, into this log.

::

    litellm.callbacks = [TierwiseLogger()]                 # in an application

    litellm_settings:                                      # in a proxy's config; the home is $TIERWISE_HOME
      callbacks: router_core.integrations.litellm_logger.tierwise

What LiteLLM tells its callbacks is read as ``tierwise import`` reads an export of it: same columns, same ids, same
prices, so that a request that comes both ways counts once. Requests that LiteLLM tells of become rows as they end;
retries that a provider's own client makes inside of one request it does not tell of: set ``max_retries=0`` there.
Nothing here ever raises into a call, and no prompt and no answer is kept.
"""

import atexit
import datetime as dt
import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from litellm.integrations.custom_logger import CustomLogger

from router_core.call_log.filesystems import NETWORK_VARIABLE, refuse_network
from router_core.call_log.home import HOME_VARIABLE, home_beside
from router_core.call_log.importers.litellm_maps import LOGGING_PAYLOAD
from router_core.call_log.importers.maps import Broken, MapEdits, edited
from router_core.call_log.importers.rows import Row, RowMaker
from router_core.call_log.importers.tier_table import TierTable
from router_core.call_log.schema import ATTEMPT_COLUMNS
from router_core.call_log.spool import Spool
from router_core.control.config_file import config_of
from router_core.errors import ConfigError
from router_core.lines import Line
from router_core.prices import PriceBook
from router_core.types import Price, Role

# a failure after which nothing has come for so long was the last word on its call
_PATIENCE_S: Final = 120.0
# LiteLLM may tell of one request more than once; so many are remembered
_REMEMBERED: Final = 10_000
_SOURCE: Final = "logger"
_PAYLOAD: Final = "standard_logging_object"
_logger = logging.getLogger("router_core.litellm_logger")


@dataclass(slots=True)
class _Open:
    """A call whose requests have failed so far.

    Attributes:
        rows: Its requests, in order.
        until_s: Steady time after which no other is waited for.
    """

    rows: list[Row] = field(default_factory=list[Row])
    until_s: float = 0.0


class TierwiseLogger(CustomLogger):
    """Writes what LiteLLM tells its callbacks into the log.

    The payload type of a call is told by its tags, ``metadata={"tags": ["payload_type:invoice.extract"]}``, by the keys
    ``payload_type``, ``task``, ``type`` or ``feature`` of a proxy's ``spend_logs_metadata``, else by the model group.
    Tiers and prices are those of the config beside the home, where there is one.

    Args:
        home: Folder of the log; default ``$TIERWISE_HOME``, else ``.tierwise`` beside the config.
        config: The routing config.
        payload_type: Where else the payload type may stand, before all other places; as ``--payload-type-from`` of
            ``tierwise import``: ``tag:NAME``, ``metadata.user_api_key_team_id``, ``=NAME``.

    Raises:
        ConfigError: The home cannot be used.
    """

    def __init__(
        self,
        home: str | os.PathLike[str] | None = None,
        *,
        config: str | os.PathLike[str] = "routing.yaml",
        payload_type: str | tuple[str, ...] = (),
    ) -> None:
        super().__init__()  # pyright: ignore[reportUnknownMemberType]
        chosen = str(home) if home is not None else os.environ.get(HOME_VARIABLE)
        place = home_beside(Path(config), chosen)
        refuse_network(place.root, os.environ.get(NETWORK_VARIABLE))
        place.create()
        try:
            known = config_of(place)
        except ConfigError:
            known = None  # the log goes on without its tiers and prices
        tiers = () if known is None else [(tier, one.model) for tier, all_of in known.tiers.items() for one in all_of]
        book = PriceBook() if known is None else PriceBook(known.prices, version=known.content_hash)

        def price_of(model: str, at_us: int, service_tier: str | None) -> Price | None:
            return book.price(model, at_us, service_tier=service_tier)

        places = (payload_type,) if isinstance(payload_type, str) else payload_type
        self._map = edited(LOGGING_PAYLOAD, MapEdits(payload_type=places))
        self._maker = RowMaker(self._map, zone=dt.UTC, price_of=price_of, tier_of=TierTable(tiers).tier_of)
        self._spool = Spool(place.spool)
        self._lock = threading.RLock()
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._open: dict[tuple[str, str], _Open] = {}
        self._has_failed = False
        atexit.register(self.close)
        os.register_at_fork(after_in_child=self._after_fork)

    def log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        """Take in a request that was answered."""
        del response_obj, start_time, end_time  # LiteLLM passes them by name
        self._take(kwargs)

    def log_failure_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        """Take in a request that has failed."""
        del response_obj, start_time, end_time
        self._take(kwargs)

    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        """Take in a request that was answered."""
        del response_obj, start_time, end_time
        self._take(kwargs)

    async def async_log_failure_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        """Take in a request that has failed."""
        del response_obj, start_time, end_time
        self._take(kwargs)

    def close(self) -> None:
        """Write the calls that have failed so far, and close the log; also at exit. Later events open it again."""
        with self._lock:
            for place in list(self._open):
                self._end(place)
        self._spool.close()
        atexit.unregister(self.close)

    def _after_fork(self) -> None:
        """Begin anew in a forked child: calls in progress are the parent's."""
        self._lock = threading.RLock()
        self._open.clear()

    def _take(self, kwargs: object) -> None:
        try:
            told = cast("Mapping[str, Any]", kwargs).get(_PAYLOAD) if isinstance(kwargs, Mapping) else None
            if isinstance(told, Mapping):
                self._take_in(cast("Mapping[str, Any]", told))
        except Exception as error:  # noqa: BLE001 - the application's call is done, whatever becomes of its row
            if not self._has_failed:
                self._has_failed = True
                # the message of an error may quote what the call was about
                _logger.warning("a LiteLLM call was not logged (%s); this is said once", type(error).__name__)

    def _take_in(self, told: Mapping[str, Any]) -> None:
        for record in self._maker.rows(told):
            if not isinstance(record, Broken) and self._maker.reason_to_leave_out(record) is None:
                row = self._maker.make(record)
                with self._lock:
                    self._end_old()
                    if row["row_key"] not in self._seen:
                        self._remember(row["row_key"])
                        self._log(row)

    def _remember(self, key: str) -> None:
        self._seen[key] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)

    def _log(self, row: Row) -> None:
        place = (row.get("chain") or row["row_key"], row["payload_type"])
        if row.get("cache_hit"):
            self._spool.write(self._call_line([row], answered_by_cache=True))
            return
        before = self._open.pop(place, None) or _Open()
        before.rows.append(row)
        attempt = _attempt_line(before.rows)
        if row["status"] == "ok":
            self._spool.write(attempt, self._call_line(before.rows))
            return
        self._spool.write(attempt)
        before.until_s = time.monotonic() + _PATIENCE_S
        self._open[place] = before

    def _end_old(self) -> None:
        now_s = time.monotonic()
        for place in [place for place, call in self._open.items() if call.until_s < now_s]:
            self._end(place)

    def _end(self, place: tuple[str, str]) -> None:
        self._spool.write(self._call_line(self._open.pop(place).rows))

    def _call_line(self, rows: list[Row], *, answered_by_cache: bool = False) -> Line:
        first, last = rows[0], rows[-1]
        served = last["status"] == "ok"
        models = [row["request_model"] for row in rows]
        line: Line = {
            "k": "call",
            "call_id": first["row_key"],
            "ts": first["started_at"],
            "payload_type": first["payload_type"],
            "reason": "imported",
            "critical": False,
            "degraded": False,
            "escalations": 0,
            "fallbacks": sum(one != other for one, other in zip(models[1:], models, strict=False)),
            "cost_nusd": sum(row.get("cost_nusd") or 0 for row in rows),
            "attempts": 0 if answered_by_cache else len(rows),
            "status": "ok" if served else "failed",
            "cache_hit": answered_by_cache,
            "source": _SOURCE,
            "worker": self._spool.worker,
            "seq": self._spool.next_seq(),
        }
        ended = last.get("ended_at")
        told: dict[str, Any] = {
            "run": first.get("run"),
            "step": first.get("step"),
            "tags": last.get("tags"),
            "tier_planned": first.get("tier"),
            "latency_ms": None if ended is None else (ended - first["started_at"]) / 1000,
            "served_attempt_id": last["row_key"] if served and not answered_by_cache else None,
            "tier_served": last.get("tier") if served else None,
            "model_served": last["request_model"] if served else None,
            "error_type": None if served else last.get("error_type"),
        }
        return line | {name: value for name, value in told.items() if value is not None}


def _attempt_line(rows: list[Row]) -> Line:
    """Return the line of the last of a call's requests."""
    row, n = rows[-1], len(rows)
    role: Role = "serve"
    if n > 1:
        role = "retry" if rows[-2]["request_model"] == row["request_model"] else "fallback"
    columns = {name: value for name, value in row.items() if name in ATTEMPT_COLUMNS and value is not None}
    return {
        **columns,
        "k": "attempt",
        "attempt_id": row["row_key"],
        "request_id": row["row_key"],
        "call_id": rows[0]["row_key"],
        "n": n,
        "critical": False,
        "role": role,
        "source": _SOURCE,
    }


def __getattr__(name: str) -> Any:
    """Return ``tierwise``, a logger for the config of a proxy, made when it is first asked for."""
    if name != "tierwise":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = globals()["tierwise"] = TierwiseLogger()
    return made
