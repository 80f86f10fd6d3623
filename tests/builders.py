"""Things that are valid by default; a test names only what it is about."""

import datetime as dt
import json
from dataclasses import replace
from typing import Any

from router_core.config import RoutingConfig, parse
from router_core.config.calibration import calibration_id
from router_core.decide.plan import Plan, PlanStep, PlanTarget
from router_core.lines import CallFacts

DEMO_LAST_DAY = dt.date(2026, 11, 22)
START_US = 1_790_000_000_000_000  # a fixed instant in September 2026


def make_config_data(**sections: Any) -> dict[str, Any]:
    """Return a routing config as data: two tiers, three payload types; sections given replace the default ones."""
    return {
        "version": 1,
        "tiers": {"cheap": [{"model": "sim/small"}], "top": [{"model": "sim/large"}]},
        "payload_types": {
            "invoice.extract": {"path": ["cheap", "top"], "error_cost_usd": 2.5},
            "policy.decide": {"path": ["top"], "critical": True},
            "*": {"path": ["cheap"]},
        },
        "prices": {"sim/small": {"input": 0.1, "output": 0.4}, "sim/large": {"input": 2, "output": 8}},
        **sections,
    }


def make_config_bytes(**sections: Any) -> bytes:
    """Return the same config as a file's bytes (JSON, which is YAML)."""
    return json.dumps(make_config_data(**sections), indent=2).encode()


def make_config(**sections: Any) -> RoutingConfig:
    """Return the same config, parsed."""
    return parse(make_config_bytes(**sections), source="routing.yaml")


def make_calibration(*entries: dict[str, Any]) -> tuple[str, bytes]:
    """Return the id and the bytes of a calibration; entries name what differs from a curve that halves the odds."""
    plain = {
        "payload_type": "invoice.extract",
        "model": "sim/small",
        "source": "field",
        "method": "logistic",
        "a": 1.0,
        "b": -0.6931471805599453,
    }
    data = json.dumps({"version": 1, "entries": [plain | entry for entry in entries or ({},)]}).encode()
    return calibration_id(data), data


def make_plan(*models_by_step: tuple[str, ...], **fields: Any) -> Plan:
    """Return a plan with one step per tuple of models; default one step with one model."""
    steps = tuple(
        PlanStep(tier=f"t{index}", targets=tuple(PlanTarget(model=model) for model in models), accept_at=0.8)
        for index, models in enumerate(models_by_step or (("sim/small",),))
    )
    return replace(Plan(payload_type="invoice.extract", config_version="v1", steps=steps), **fields)


def make_call(**fields: Any) -> CallFacts:
    """Return what is the same on all lines of a call."""
    known: dict[str, Any] = {
        "call_id": "c-1", "opened_us": START_US, "payload_type": "invoice.extract", "run": None, "step": None,
        "tags": None, "prompt_hash": None,
    }  # fmt: skip
    return CallFacts(**known | fields)


def make_attempt_line(**columns: Any) -> dict[str, Any]:
    """Return the spool line of an attempt that went well."""
    return {
        "k": "attempt",
        "attempt_id": "a-1",
        "request_id": "r-1",
        "call_id": "c-1",
        "n": 1,
        "started_at": START_US,
        "ended_at": START_US + 800_000,
        "payload_type": "invoice.extract",
        "config_version": "v1",
        "critical": False,
        "role": "serve",
        "propensity": 1.0,
        "tier": "cheap",
        "provider_name": "sim",
        "request_model": "sim/small",
        "input_tokens": 1000,
        "output_tokens": 100,
        "cost_nusd": 140_000,
        "cost_status": "exact",
        "latency_ms": 800.0,
        "status": "ok",
        "confidence": 0.9,
        "confidence_source": "field",
        "source": "router",
        **columns,
    }


def make_call_line(**columns: Any) -> dict[str, Any]:
    """Return the spool line of the call that ``make_attempt_line`` belongs to."""
    return {
        "k": "call",
        "call_id": "c-1",
        "ts": START_US,
        "payload_type": "invoice.extract",
        "config_version": "v1",
        "served_attempt_id": "a-1",
        "tier_planned": "cheap",
        "tier_served": "cheap",
        "model_served": "sim/small",
        "reason": "accepted",
        "critical": False,
        "guard_state": "normal",
        "degraded": False,
        "escalations": 0,
        "fallbacks": 0,
        "confidence": 0.9,
        "confidence_source": "field",
        "cost_nusd": 140_000,
        "attempts": 1,
        "error_cost_nusd": 2_500_000_000,
        "latency_ms": 801.0,
        "status": "ok",
        "cache_hit": False,
        "worker": "w-1",
        "seq": 1,
        "source": "router",
        **columns,
    }


def make_started_line(*items: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Return the spool line before a request; default one item, the one ``make_attempt_line`` answers."""
    item = {
        "attempt_id": "a-1",
        "call_id": "c-1",
        "n": 1,
        "payload_type": "invoice.extract",
        "run": "run-1",
        "step": "step-1",
        "config_version": "v1",
        "critical": False,
        "role": "serve",
        "propensity": 1.0,
        "tier": "cheap",
        "tier_planned": "cheap",
        "provider_name": "sim",
        "request_model": "sim/small",
        "error_cost_nusd": 2_500_000_000,
        "tags": {"team": "ap"},
        "reserved_nusd": 150_000,
    }
    return {
        "k": "started",
        "request_id": "r-1",
        "at": START_US,
        "items": [item | given for given in items or ({},)],
        **fields,
    }


def make_outcome_line(**columns: Any) -> dict[str, Any]:
    """Return the spool line of a label that says the answer of ``make_call_line`` was wrong."""
    return {
        "k": "outcome",
        "call_id": "c-1",
        "received_at": START_US + 3_600_000_000,
        "correct": 0.0,
        "source": "user",
        "label_propensity": 1.0,
        **columns,
    }
