"""The router: an application's one object for calling models by payload type."""

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from router_core.admission import admit, stopped_by
from router_core.backends import Backend
from router_core.background import Inline, Threads
from router_core.cache import Limits, RetryCache
from router_core.call_log.filesystems import NETWORK_VARIABLE, refuse_network
from router_core.call_log.home import HOME_VARIABLE, Home, home_beside
from router_core.call_log.outcome_lines import call_of, outcome_line
from router_core.call_log.spool import Spool
from router_core.checks import Check, refuse_awaited
from router_core.clock import CallTime, Clock, SystemClock, VirtualClock
from router_core.control.budgets import Guardrail, Logged
from router_core.course import Streams
from router_core.decide.breaker import Cause, Tally, Usual
from router_core.decide.capable import needs_of
from router_core.decide.holdback import held_back
from router_core.decide.plan import PackRule, Plan, as_judged, under_guard
from router_core.driving import adrive, drive
from router_core.effects import Flow
from router_core.errors import RequestRejectedError
from router_core.flow import CallFlow
from router_core.free import start_of
from router_core.health import Breakers, Care, Health
from router_core.lifetime import close_at_exit, follow_forks
from router_core.lines import CallFacts, Closed, call_line
from router_core.packer import ManyCalls, Packer, Seating
from router_core.prechecks import PreCheckFunction, Rules, compile_rules
from router_core.record import maker
from router_core.shadow import AnswerFunction, Shadows
from router_core.state import Observed, RouterState
from router_core.streaming import StreamedCalls
from router_core.task import ConfidenceFunction, Task, refuse_unusable, several, template_hash
from router_core.types import Answer, Message, OutcomeSource

# of one write to the log; others may write in between
_LINES_AT_ONCE = 1_000
if TYPE_CHECKING:  # the config brings pydantic: loaded when a router is opened
    from router_core.call_log.outcome_intake import OutcomeReport
    from router_core.config import RoutingConfig
    from router_core.control.config_file import ConfigFile
    from router_core.control.recorder import Recorder
    from router_core.decide.compile import Plans

_make_task = maker(Task)
_make_call = maker(CallFacts)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Routing:
    """One config version, ready to serve."""

    config: "RoutingConfig"
    plans: "Plans"
    state: RouterState
    rules: Rules


class Router(StreamedCalls, ManyCalls):
    """Routes each payload type to a tier, escalates, falls back, keeps to the limit, and logs every attempt.

    One router serves any number of threads and tasks. Use ``Router.open``.
    """

    def __init__(
        self,
        config_file: "ConfigFile",
        home: Home,
        backend: Backend,
        clock: Clock,
        on_shadow: AnswerFunction | None = None,
    ) -> None:
        self._config_file = config_file
        self._home = home
        self._backend = backend
        self._clock = clock
        self._observed = Observed()
        self._health = Health()
        self._breakers = Breakers(self._breaker_event)
        self._switch = threading.Lock()
        self._closed = False
        self._spool = Spool(home.spool)
        now_us = None if isinstance(clock, VirtualClock) else clock.now_us
        logged = Logged(claim=self._spool.claim, spool=home.spool, now_us=now_us)
        self._guardrail = Guardrail(home.control, self._event, logged)
        self._shadow_budget = Guardrail(home.control, self._event, logged)
        background = Inline(clock) if isinstance(clock, VirtualClock) else Threads()
        self._cache = RetryCache(home.cache, self._event, background.submit)
        self._shadows = Shadows(
            backend=backend,
            budget=self._shadow_budget,
            background=background,
            on_event=self._event,
            on_answer=on_shadow,
        )
        self._packer = Packer(self._begin, backend, clock)
        self._streams = Streams()
        self._recorder: Recorder | None = None
        self._routing = self._make_routing(config_file.current)
        follow_forks(self)

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str] = "routing.yaml",
        *,
        home: str | os.PathLike[str] | None = None,
        backend: Backend | None = None,
        clock: Clock | None = None,
        on_shadow: AnswerFunction | None = None,
    ) -> "Router":
        """Return a router for a routing config.

        The log and the control state live in ``home``, else in ``$TIERWISE_HOME``, else in ``.tierwise`` beside the
        file. The file is watched: a valid edit is used from the next call on, at most one second later; an invalid one
        is refused with a warning and the last good version stays.

        Args:
            path: The routing config.
            home: Folder of log and control state.
            backend: Model client; default litellm, loaded at the first call.
            clock: Time, chance and ids; default the machine's. With another clock the file is not watched.
            on_shadow: Told of each shadow that has ended (a ``ShadowAnswer``), to keep or label its answer. It is
                called from a background thread, may come before the call itself returns, and hurts nobody by raising.

        Raises:
            ConfigError: The config or the home cannot be used; lists everything that is wrong.
            TypeError: ``on_shadow`` is async.
        """
        from router_core.control.config_file import ConfigFile
        from router_core.control.recorder import Recorder

        if on_shadow is not None:
            refuse_awaited("on_shadow", on_shadow)
        file = Path(path)
        chosen = str(home) if home is not None else os.environ.get(HOME_VARIABLE)
        now_us = (clock or SystemClock()).now_us
        config_file = ConfigFile(file, admit=lambda config: admit(config, str(file), now_us()))
        admit(config_file.current, str(file), now_us())
        place = home_beside(file, chosen)
        refuse_network(place.root, os.environ.get(NETWORK_VARIABLE))
        place.create()
        if backend is None:
            from router_core.backends.litellm import LiteLLMBackend

            backend = LiteLLMBackend()
        router = cls(config_file, place, backend, clock or SystemClock(), on_shadow)
        config_file.on_event = router._config_event
        router._config_event("config", {"version": config_file.current.content_hash, "previous": None, "changed": []})
        if isinstance(clock, VirtualClock):  # nothing happens by itself there
            router._guardrail.bury_dead()
        if clock is None:
            config_file.record = router._recorder = Recorder(place, file, now_us, router._config_event)
            config_file.start()
        close_at_exit(router)
        return router

    def complete(
        self,
        payload_type: str,
        *,
        messages: Sequence[Message],
        response_format: Any = None,
        checks: Sequence[Check] | None = (),
        pre_checks: Sequence[PreCheckFunction] | None = (),
        confidence: ConfidenceFunction | None = None,
        run: str | None = None,
        step: str | None = None,
        tags: Mapping[str, str] | None = None,
        **params: Any,
    ) -> Answer:
        """Return the answer to one call.

        Args:
            payload_type: What kind of task this is; decides the path.
            messages: Chat messages.
            response_format: pydantic model class or JSON schema that the answer must fit; also sent to the model.
            checks: Free checks. A function, never an async one, gets the parsed answer (the text without
                ``response_format``); falsy or an exception means invalid, None means passed. A compiled pattern must be
                found in the answer's text, which must fit a pydantic model class or a JSON schema.
            pre_checks: Functions that may answer without any model, asked before those of the config. Each gets the
                messages and returns text, or data to be written as JSON, or None.
            confidence: Tells how sure an answer is, 0..1 or None; gets what the checks get.
            run: The job this call belongs to; like ``step`` and the tags a name of at most 500 characters.
            step: The step within the job; where the config has the cache enabled, a step that is run again with the
                same request takes up what an earlier run has paid for.
            tags: Labels for reports, e.g. ``{"team": "ap"}``; at most 50.
            **params: Passed to the model client unchanged (temperature, tools, ...).

        Raises:
            RequestRejectedError: The payload type is unknown, or the router is closed.
            TypeError, ValueError: An argument cannot be used; nothing was sent.
            RouteExhaustedError: No target of the path gave a valid answer.
        """
        task = _make_task(
            payload_type=payload_type,
            messages=messages,
            response_format=response_format,
            checks=several("checks", checks),
            pre_checks=several("pre_checks", pre_checks),
            confidence=confidence,
            run=run,
            step=step,
            tags=tags,
            params=params,
        )
        return drive(self._begin(task), self._backend, self._clock)

    async def acomplete(
        self,
        payload_type: str,
        *,
        messages: Sequence[Message],
        response_format: Any = None,
        checks: Sequence[Check] | None = (),
        pre_checks: Sequence[PreCheckFunction] | None = (),
        confidence: ConfidenceFunction | None = None,
        run: str | None = None,
        step: str | None = None,
        tags: Mapping[str, str] | None = None,
        **params: Any,
    ) -> Answer:
        """Return the answer to one call without blocking the event loop; arguments and errors as ``complete``."""
        task = _make_task(
            payload_type=payload_type,
            messages=messages,
            response_format=response_format,
            checks=several("checks", checks),
            pre_checks=several("pre_checks", pre_checks),
            confidence=confidence,
            run=run,
            step=step,
            tags=tags,
            params=params,
        )
        rule = self._pack_rule(payload_type)
        if rule is not None:
            return await self._packer.acomplete(task, rule)
        return await adrive(self._begin(task), self._backend, self._clock)

    def outcome(
        self,
        call_id: str | None = None,
        *,
        correct: bool | float | None = None,
        error_usd: float | None = None,
        source: OutcomeSource = "user",
        attempt_id: str | None = None,
        label_propensity: float | None = None,
    ) -> None:
        """Log what was learned about an answer, any time later and from any process.

        Args:
            call_id: The call, ``answer.call_id``; may be left out when ``attempt_id`` is given.
            correct: True, False or a grade 0..1; may be left out when ``error_usd`` is given (then 0).
            error_usd: What the mistake cost, USD; default the payload type's ``error_cost_usd``.
            source: Who says so; gold beats user beats judge beats transfer, then the latest wins.
            attempt_id: A certain attempt of the call, e.g. a shadow; default the served one.
            label_propensity: Probability with which this call was chosen to be labelled, if it was chosen by chance.

        Raises:
            ValueError: A value is out of its range, or there is nothing to log.
        """
        if call_id is None and attempt_id is None:
            raise ValueError("outcome: give the call_id or the attempt_id")
        try:
            line = outcome_line(
                call_of(str(attempt_id)) if call_id is None else call_id,
                attempt_id=attempt_id,
                received_us=self._clock.now_us(),
                correct=correct,
                error_usd=error_usd,
                source=source,
                label_propensity=label_propensity,
            )
        except ValueError as error:
            raise ValueError(f"outcome: {error}") from error
        self._spool.write(line)

    def outcomes(self, labels: object, *, source: OutcomeSource = "user") -> "OutcomeReport":
        """Log many labels at once, and return what they have met.

        Each row has ``correct`` (0..1) or ``error_usd`` or both, and names its answer: ``call_id``, or ``attempt_id``,
        or ``run``, which means every served call of the job that is on record by now, with ``payload_type`` those of
        that type and with ``step`` the newest of that step. It may have ``source``, ``label_propensity`` and
        ``received_at``; other columns are left alone. Labels that are there already are not written again.

        Args:
            labels: Path of a CSV, JSON lines or Parquet file; a data frame of pandas, Polars or Arrow; or mappings.
            source: Who says so where a row does not.

        Raises:
            ConfigError: Rows cannot be used; says which and why. Nothing was logged then.
        """
        from router_core.call_log.outcome_intake import outcome_lines

        report, lines = outcome_lines(self._home, labels, default_source=source, now_us=self._clock.now_us())
        for start in range(0, len(lines), _LINES_AT_ONCE):
            self._spool.write(*lines[start : start + _LINES_AT_ONCE])
        return report

    def reload(self) -> None:
        """Look at the config file now instead of within a second; needs two looks, as every reload does."""
        for _ in range(2):
            self._config_file.poll()

    @property
    def config_version(self) -> str:
        """Content hash of the config that the next call will use."""
        return self._config_file.current.content_hash

    def close(self) -> None:
        """Stop watching the config, let running shadows end for two seconds at most, and close the log.

        Nothing is lost without it either.
        """
        if not self._closed:
            self._closed = True
            self._config_file.stop()
            self._streams.close()
            self._shadows.close(self._clock.now_us())
            self._guardrail.close()
            self._shadow_budget.close()
            self._cache.close()
            self._spool.close()

    def __enter__(self) -> "Router":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _pack_rule(self, payload_type: str) -> PackRule | None:
        plan = None if self._closed else self._current().plans.plan_for(payload_type)
        return None if plan is None else plan.pack

    def _begin(self, task: Task, seating: Seating | None = None) -> Flow:
        if self._closed:
            raise RequestRejectedError("the router is closed")
        refuse_unusable(task)
        routing, time = self._current(), CallTime(self._clock)
        state = routing.state if seating is None else seating(routing.state)
        now_us = time.start_us
        call = _make_call(
            call_id=self._clock.new_id(now_us),
            opened_us=now_us,
            payload_type=task.payload_type,
            run=task.run,
            step=task.step,
            tags=task.tags,
            prompt_hash=template_hash(task.messages),
        )
        plan = routing.plans.plan_for(task.payload_type)
        if plan is None:
            raise self._rejected(routing, call)
        if plan.holdback_rule is not None:
            plan = held_back(plan, task.run, call.call_id, now_us)
        needs = needs_of(task.messages, task.params, task.response_format)
        start = start_of(self._cache, routing.rules.of(plan), task, plan, now_us)
        if start.is_answered:
            return CallFlow(state, task, plan, call, self._shadows, time, start, needs).run()
        verdict = state.guardrail.verdict(now_us, call)
        if verdict.state == "stopped" and not plan.critical and start.recalled is None:
            raise stopped_by(state, as_judged(plan, verdict), call)
        if start.recalled is not None:
            plan = as_judged(plan, verdict)
        elif (verdict.state, verdict.budget) != (plan.guard_state, plan.budget):
            wanted = verdict.state == "capped" and not plan.critical
            candidates = state.candidates(plan, needs, now_us) if wanted else ()
            plan = under_guard(plan, verdict, state.tiers, candidates)
        return CallFlow(state, task, plan, call, self._shadows, time, start, needs).run()

    def _rejected(self, routing: _Routing, call: CallFacts) -> RequestRejectedError:
        known = sorted(routing.plans.by_type)
        nowhere = Plan(payload_type=call.payload_type, config_version=routing.config.content_hash)
        closed = Closed(
            status="rejected", reason="unknown_type", ended_us=call.opened_us, error_type="unknown_payload_type"
        )
        routing.state.log_call(call_line(nowhere, call, closed))
        return RequestRejectedError(
            f"unknown payload type {call.payload_type!r}: add it to payload_types in {self._config_file.path}, or a "
            f"'*' entry for all unknown ones; known are {', '.join(known[:20]) or 'none'}"
        )

    def _current(self) -> _Routing:
        routing, config = self._routing, self._config_file.current
        if routing.config is config:
            return routing
        with self._switch:
            if self._routing.config is not config:
                self._routing = self._make_routing(config)
            return self._routing

    def _make_routing(self, config: "RoutingConfig") -> _Routing:
        from router_core.decide.compile import breaker_rule_of, compile_plans, cool_down_of
        from router_core.prices import PriceBook

        prices = PriceBook(config.prices, config.on_unpriced, version=config.content_hash)
        now_us = self._clock.now_us()
        zone = ZoneInfo(config.timezone)
        plans = compile_plans(config, lambda model: prices.abilities(model, now_us), zone)
        self._guardrail.keep_to(plans.limits, zone)
        self._shadow_budget.keep_to((plans.shadow_limit,), zone)
        self._spool.keep_to(config.log.durability)
        self._cache.keep_to(
            Limits(ttl_us=round(config.cache.ttl_s * 1e6), max_bytes=config.cache.max_mb << 20)
            if config.cache.enabled
            else None
        )
        state = RouterState(
            clock=self._clock,
            log=self._spool,
            prices=prices,
            guardrail=self._guardrail,
            on_event=self._event,
            tiers=plans.tiers,
            observed=self._observed,
            care=Care(
                health=self._health,
                breakers=self._breakers,
                cool_down=cool_down_of(config),
                breaker=breaker_rule_of(config),
            ),
        )
        return _Routing(config=config, plans=plans, state=state, rules=compile_rules(config))

    def _event(self, name: str, details: dict[str, object], at_us: int) -> None:
        self._spool.write({"k": "event", "at": at_us, "worker": self._spool.worker, "event": name, "details": details})

    def _breaker_event(
        self, payload_type: str, tier: str, cause: Cause, is_open: bool, tally: Tally, usual: Usual
    ) -> None:
        details: dict[str, object] = {
            "payload_type": payload_type,
            "tier": tier,
            "cause": cause,
            "state": "open" if is_open else "closed",
            "calls": tally.calls,
            "would_leave": tally.left,
            "usual_share": round(usual.share, 4),
        }
        self._event("breaker", details, self._clock.now_us())

    def renew_after_fork(self) -> None:
        """Give a forked child locks, a store connection and reservations of its own; runs by itself."""
        self._switch = threading.Lock()
        for part in self.store_users():
            part.after_fork()
        self._streams.after_fork()
        self._packer.after_fork()
        self._shadows.after_fork()
        self._health.after_fork()
        self._breakers.after_fork()

    def store_users(self) -> "tuple[Guardrail | Recorder | RetryCache, ...]":
        """Return what uses SQLite from threads of this process."""
        stores = (self._guardrail, self._shadow_budget, self._cache)
        return stores if self._recorder is None else (self._recorder, *stores)

    def _config_event(self, name: str, details: dict[str, object]) -> None:
        self._event(name, details, self._clock.now_us())
