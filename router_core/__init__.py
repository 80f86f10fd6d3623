"""Tiered LLM routing inside your own process: cheap models first, better ones when needed, every dollar logged."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from router_core.errors import (
        CallError,
        ConfigError,
        Problem,
        RequestRejectedError,
        RouteExhaustedError,
        RouterError,
    )
    from router_core.router import Router
    from router_core.streaming import AsyncStream, Stream
    from router_core.types import Answer, AttemptRecord, CheckResult, Chunk, Confidence, Receipt, ShadowAnswer, Usage

__all__ = [
    "Answer",
    "AsyncStream",
    "AttemptRecord",
    "CallError",
    "CheckResult",
    "Chunk",
    "Confidence",
    "ConfigError",
    "Problem",
    "Receipt",
    "RequestRejectedError",
    "RouteExhaustedError",
    "Router",
    "RouterError",
    "ShadowAnswer",
    "Stream",
    "Usage",
]

_HOME = dict.fromkeys(__all__, "router_core.errors") | {
    "Router": "router_core.router",
    **dict.fromkeys(("AsyncStream", "Stream"), "router_core.streaming"),
    **dict.fromkeys(
        ("Answer", "AttemptRecord", "CheckResult", "Chunk", "Confidence", "Receipt", "ShadowAnswer", "Usage"),
        "router_core.types",
    ),
}


def __getattr__(name: str) -> Any:
    """Load a public name at its first use, so that commands that never route do not load the router."""
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)
