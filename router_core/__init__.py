"""Tiered LLM routing inside your own process: cheap models first, better ones when needed, every dollar logged."""

from router_core.errors import CallError, ConfigError, Problem, RequestRejectedError, RouteExhaustedError, RouterError
from router_core.router import Router
from router_core.types import Answer, AttemptRecord, CheckResult, Confidence, Receipt, Usage

__all__ = [
    "Answer",
    "AttemptRecord",
    "CallError",
    "CheckResult",
    "Confidence",
    "ConfigError",
    "Problem",
    "Receipt",
    "RequestRejectedError",
    "RouteExhaustedError",
    "Router",
    "RouterError",
    "Usage",
]
