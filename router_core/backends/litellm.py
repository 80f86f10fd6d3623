"""The litellm client: one request, one attempt, no retries of its own.

litellm is imported at the first request (it takes seconds and over 100 MB), with its price map read from the package
instead of the network.
"""

import asyncio
import functools
import math
import os
import sys
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from router_core.backends.keys import can_go_without, goes_to
from router_core.backends.litellm_errors import redacted, translated
from router_core.backends.litellm_fork import renew_after_fork
from router_core.backends.litellm_response import response_format_of, response_of
from router_core.backends.litellm_stream import GRACE_S, AsyncLiteLLMReading, LiteLLMReading
from router_core.backends.workers import Workers
from router_core.errors import CallError

if TYPE_CHECKING:
    from router_core.types import Request, Response

REQUEST_ID_HEADER: Final = "x-tierwise-request-id"
NO_KEY: Final = "none"
_STEPS: Final = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0)
# these make several requests out of one, which the log would not see
_HIDDEN_REQUESTS: Final = frozenset(
    {"fallbacks", "context_window_fallback_dict", "content_policy_fallbacks", "model_list", "retry_policy"}
    | {"retry_strategy", "num_retries", "max_retries", "cooldown_time"}
)
# what a label could have been instead is seldom further down
_ALTERNATIVES: Final = 5
_OWN: Final = frozenset({"model", "messages", "timeout", "request_timeout"})


class LiteLLMBackend:
    """Requests through ``litellm.completion`` and ``litellm.acompletion``.

    The request's id goes along as the header ``x-tierwise-request-id``.
    """

    def __init__(self) -> None:
        self._parameters: dict[str, frozenset[str]] = {}
        self._workers = Workers()
        alive = weakref.ref(self)

        def renew() -> None:
            backend = alive()
            if backend is not None and "_client" in vars(backend):
                renew_after_fork(backend._client)

        os.register_at_fork(after_in_child=renew)

    def warmup(self) -> None:
        """Import litellm now instead of at the first request."""
        _ = self._client

    def complete(self, request: "Request") -> "Response":
        """Return the target's answer.

        Raises:
            CallError: For every failure.
        """
        arguments = self._prepared(request)
        # the client's own timeout counts silence: a thread is the only way out of a provider that drips
        job = self._workers.begin(lambda: self._client.completion(**arguments))
        if not job.wait(request.timeout_s + GRACE_S):
            text = f"{request.model}: no answer in time, {request.timeout_s:g} s"
            raise CallError(text, kind="timeout", billed=None)
        if job.error is not None:
            raise translated(job.error, request.model) from job.error
        return _answer(job.value, request)

    async def acomplete(self, request: "Request") -> "Response":
        """Return the target's answer, without blocking the event loop (but for the import at the first request).

        Raises:
            CallError: For every failure but cancellation, which passes unchanged.
        """
        outer = sys.exception()
        arguments = self._prepared(request)
        try:
            async with asyncio.timeout(request.timeout_s + GRACE_S):
                raw = await self._client.acompletion(**arguments)
        except Exception as error:
            raise translated(error, request.model, outer=outer) from error
        return _answer(raw, request)

    def stream(self, request: "Request") -> LiteLLMReading:
        """Return the answer to be read piece by piece; nothing is sent before the first is asked for."""
        return LiteLLMReading(self._client, request, lambda: self._client.completion(**self._streamed(request)))

    def astream(self, request: "Request") -> AsyncLiteLLMReading:
        """Return the answer to be read in an event loop, like ``stream``."""
        return AsyncLiteLLMReading(self._client, request, lambda: self._client.acompletion(**self._streamed(request)))

    @functools.cached_property
    def _client(self) -> Any:
        os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        import litellm

        # otherwise every failure prints a request for feedback to the terminal
        litellm.suppress_debug_info = True
        return litellm

    @functools.cached_property
    def _no_retries(self) -> object:
        return self._client.types.router.RetryPolicy()

    def _prepared(self, request: "Request") -> dict[str, Any]:
        """Return the client's arguments; what fails here failed before anything was sent."""
        try:
            return self._arguments(request)
        except CallError:
            raise
        except Exception as error:
            text = f"{request.model}: the request could not be made ({type(error).__name__}: {redacted(str(error))})"
            raise CallError(text, kind="internal", billed=False) from error

    def _arguments(self, request: "Request") -> dict[str, Any]:
        params = dict(request.params)
        _refuse_hidden(params, request.model)
        headers = cast("Mapping[str, str]", params.pop("extra_headers", None) or {})
        arguments: dict[str, Any] = {
            **params,
            "model": request.model,
            "messages": [dict(message) for message in request.messages],
            "timeout": _coarse_s(request.timeout_s),
            "extra_headers": {**headers, REQUEST_ID_HEADER: request.request_id},
            "num_retries": 0,
            "max_retries": 0,
            # an empty policy also overrules a `litellm.num_retries` that the application has set
            "retry_policy": self._no_retries,
        }
        if params.get("tools"):
            # its gateway for MCP tools makes several requests out of one, and needs packages that are not installed
            arguments["_skip_mcp_handler"] = True
        if request.response_format is not None:
            arguments["response_format"] = response_format_of(request.response_format)
        if request.logprobs:
            arguments = self._logprobs(request) | arguments
        _limit_output(arguments, request.max_output_tokens)
        return arguments | _address(request)

    def _logprobs(self, request: "Request") -> dict[str, Any]:
        """Return the arguments that ask for log-probabilities, as far as the target takes them."""
        if request.only_known_logprobs and not self._is_known(request):
            return {}
        supported = self._supported(request.model)
        if "logprobs" not in supported:
            return {}
        asked: dict[str, Any] = {"logprobs": True}
        if request.alternatives and "top_logprobs" in supported:
            asked["top_logprobs"] = _ALTERNATIVES
        return asked

    def _is_known(self, request: "Request") -> bool:
        """Return whether the client's list has the model.

        Of any other it says that it takes whatever the API of its provider has, and so it does of what answers at an
        address of the user's own; either may refuse the request for such a parameter.
        """
        listed: Mapping[str, object] = self._client.model_cost
        return request.api_base is None and (request.model in listed or request.model.partition("/")[2] in listed)

    def _streamed(self, request: "Request") -> dict[str, Any]:
        # providers that know no such option are not sent it by the client
        options = cast("Mapping[str, Any]", request.params.get("stream_options") or {})
        return self._prepared(request) | {"stream": True, "stream_options": {**options, "include_usage": True}}

    def _supported(self, model: str) -> frozenset[str]:
        # looking it up takes a tenth of a millisecond, and it stays the same
        known = self._parameters.get(model)
        if known is None:
            found: list[str] | None = self._client.get_supported_openai_params(model)
            known = self._parameters[model] = frozenset(found or ())
        return known


def _coarse_s(timeout_s: float) -> float:
    """Return a timeout rounded up to one of ten per decade.

    litellm keeps a client and its connections per timeout, and what is left of a call's time is never twice the same.
    """
    digit = 10.0 ** math.floor(math.log10(timeout_s))
    return next((step * digit for step in _STEPS if step * digit >= timeout_s * (1 - 1e-9)), 10 * digit)


def _answer(raw: object, request: "Request") -> "Response":
    response = response_of(raw)
    if response is None:
        raise CallError(f"{request.model}: there is no answer in the response", kind="bad_response", billed=None)
    return response


def _refuse_hidden(params: Mapping[str, Any], model: str) -> None:
    own = sorted(params.keys() & (_HIDDEN_REQUESTS | _OWN))
    if own:
        text = f"{model}: {', '.join(own)} cannot be passed along: the router itself decides about it"
        raise CallError(text, kind="bad_request")
    if params.get("stream"):
        raise CallError(f"{model}: stream=True cannot be passed along; use router.stream", kind="bad_request")


def _limit_output(arguments: dict[str, Any], limit: int | None) -> None:
    """The caller's own limit holds where it is the smaller one."""
    key = "max_completion_tokens" if arguments.get("max_completion_tokens") else "max_tokens"
    asked = arguments.get(key)
    if limit is not None:
        arguments[key] = min(limit, asked) if isinstance(asked, int) else limit


def _address(request: "Request") -> dict[str, Any]:
    """Return where the request goes, with a key if the client's own choice of one must not go there."""
    address: dict[str, Any] = {} if request.api_base is None else {"api_base": request.api_base}
    if request.api_key_env is not None:
        key = os.environ.get(request.api_key_env)
        if not key:
            text = f"{request.model}: no API key; set {request.api_key_env}"
            raise CallError(text, kind="missing_key")
        return address | {"api_key": key}
    if "api_key" in request.params or goes_to(request.model, request.api_base):
        return address
    if not can_go_without(request.model):
        text = f"{request.model}: this machine's credentials do not go to {request.api_base}; name a key: api_key_env"
        raise CallError(text, kind="missing_key")
    # any key at all keeps the client from looking for one; servers of one's own mostly want none, but it insists
    return address | {"api_key": NO_KEY}
