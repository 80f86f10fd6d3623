"""What went wrong in litellm, in this package's words.

litellm's own class is not enough to tell: a refused connection, a missing key and an unreadable answer all come as
``InternalServerError`` 500, and headers get lost on the way. So the whole chain of causes is read: the provider's HTTP
status if it answered at all, else the transport error, else litellm's class and words. Classes are known by name, so
this module needs no client library.
"""

import datetime as dt
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, cast

from router_core.errors import CallError

if TYPE_CHECKING:
    from router_core.errors import ErrorKind

    Verdict = tuple[ErrorKind, bool | None]

MAX_MESSAGE: Final = 200
_CHAIN: Final = 12
_QUOTA: Final = re.compile(
    r"insufficient[_ ](?:quota|balance|funds|credits?)|credit balance is too low|billing[_ ]hard[_ ]limit"
    r"|payment required|out of credits",
    re.I,
)
_MISSING_KEY: Final = re.compile(
    r"missing credentials|missing [\w ]*api[ _]key|no (?:api )?key is set|api_key client option must be set"
    r"|unable to locate credentials|api key (?:is )?not (?:set|found)",
    re.I,
)
_KEY_VARIABLE: Final = re.compile(r"\b[A-Z][A-Z0-9_]*(?:_API_KEY|_AUTH_TOKEN|_TOKEN|_ACCESS_KEY(?:_ID)?)\b")
_POLICY: Final = re.compile(
    r"content[_ ]filter|content[_ ]policy|content management policy|responsibleaipolicyviolation", re.I
)
_CONTEXT: Final = re.compile(
    r"context_length_exceeded|maximum (?:context|prompt) length|context (?:window|size)|(?:prompt|input) is too long"
    r"|exceeds the maximum number of tokens",
    re.I,
)
_SECRET: Final = re.compile(
    r"\b(?:sk|pk|rk|gsk|xai|r8|hf|ya29|AIza|AKIA)[-_.]?[A-Za-z0-9_\-*.]{6,}|\bBearer\s+\S+"
    r"|(?<=key=)[^\s&]+|\b(?=[A-Za-z]*\d)[A-Za-z0-9_\-]{32,}\b"
)
_CLIENT_PREFIX: Final = re.compile(r"^(?:litellm\.)?[A-Z]\w*(?:Error|Timeout|Exception)?\s?(?:Error)?(?:: | - )")
_TAIL: Final = re.compile(r"(?:Traceback \(most recent|, Received response|, response:|\. ?Error_str:).*", re.DOTALL)

# before anything was sent
_NEVER_REACHED: Final = frozenset(
    {"ConnectError", "ConnectTimeout", "ConnectionRefusedError", "gaierror", "ClientConnectorError", "PoolTimeout"}
    | {"ClientConnectorDNSError", "ProxyError", "UnsupportedProtocol", "InvalidURL", "ConnectionTimeoutError"}
)
_TIMED_OUT: Final = frozenset({"ReadTimeout", "WriteTimeout", "SocketTimeoutError", "ServerTimeoutError"})
# after sending: the provider may have worked, and charged
_BROKEN_OFF: Final = frozenset(
    {"RemoteProtocolError", "ReadError", "WriteError", "ServerDisconnectedError", "ClientPayloadError"}
    | {"ConnectionResetError", "BrokenPipeError", "ClientOSError", "IncompleteRead"}
)
_UNREADABLE: Final = frozenset({"JSONDecodeError", "APIResponseValidationError", "DecodingError", "UnicodeDecodeError"})
_MISREAD: Final = frozenset({"ValidationError", "AttributeError", "KeyError", "TypeError", "IndexError"})
# what cannot be written down is never sent: the next target would not get it either
_UNWRITABLE: Final = "UnicodeEncodeError"
_UNWRITABLE_TEXT: Final = re.compile(r"is not JSON serializable")
_UNREADABLE_TEXT: Final = re.compile(r"empty or invalid response|invalid response object|unable to parse", re.I)

_FIRST_ERROR: Final = 400
_FIRST_SERVER_ERROR: Final = 500
_REFUSALS: Final = frozenset({400, 403, 413, 422})
_BY_STATUS: Final[dict[int, "Verdict"]] = {
    401: ("auth", False),
    402: ("quota", False),
    403: ("auth", False),
    404: ("not_found", False),
    # a gateway gave up waiting; what stands behind it may have worked
    408: ("timeout", None),
    409: ("server", False),
    # a gateway's bound on the body: a window too, if of bytes
    413: ("context_overflow", False),
    425: ("server", False),
    429: ("rate_limit", False),
    502: ("server", None),
    504: ("timeout", None),
}
_BY_CLASS: Final[tuple["tuple[str, ErrorKind, bool | None]", ...]] = (
    # subclasses of BadRequestError first
    ("ContextWindowExceededError", "context_overflow", False),
    ("ContentPolicyViolationError", "content_policy", False),
    ("PaymentRequiredError", "quota", False),
    ("BudgetExceededError", "quota", False),
    ("BadRequestError", "bad_request", False),
    ("UnprocessableEntityError", "bad_request", False),
    ("AuthenticationError", "auth", False),
    ("PermissionDeniedError", "auth", False),
    ("NotFoundError", "not_found", False),
    ("RateLimitError", "rate_limit", False),
    ("Timeout", "timeout", None),
    ("APITimeoutError", "timeout", None),
    ("TimeoutError", "timeout", None),
)
_SAYING: Final[dict["ErrorKind", str]] = {
    "rate_limit": "rate limited",
    "quota": "quota or credit used up",
    "timeout": "no answer in time",
    "server": "the provider failed",
    "connection": "connection failed",
    "bad_response": "the answer could not be read",
    "auth": "access denied",
    "not_found": "model not found",
    "context_overflow": "prompt too long for the model",
    "content_policy": "refused by the provider's content filter",
    "bad_request": "request not accepted",
    "missing_key": "no API key",
    "internal": "internal failure",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """What the chain of causes says.

    Attributes:
        names: Class names of every error in the chain, base classes included.
        text: Everything the errors say, for pattern matching only.
        first: What the client's own error says.
        last: What the innermost error says.
        status: HTTP status with which the provider refused; None = it did not answer with an error.
        headers: Headers of that answer, names in lower case.
    """

    names: frozenset[str]
    text: str
    first: str
    last: str
    status: int | None
    headers: Mapping[str, str]


def translated(error: BaseException, model: str, *, outer: BaseException | None = None) -> CallError:
    """Return the failure of a request as a ``CallError``.

    ``billed`` is False where the provider refused or was never reached, None where it may have worked: timeouts after
    sending, connections that broke, answers that could not be read, gateways that gave up (408, 502, 504).

    Args:
        error: What the client raised.
        model: The target's model, for the message.
        outer: The exception the caller was handling when it made the request; it is no cause of this one.
    """
    facts = _facts(tuple(_chain(error, outer)))
    kind, billed = _judged(facts)
    return CallError(
        _message(model, kind, facts),
        kind=kind,
        status_code=facts.status,
        retry_after_s=_retry_after_s(facts.headers),
        billed=billed,
    )


def redacted(text: str) -> str:
    """Return the text on one line, without keys, tracebacks or quoted answers, at most 200 characters."""
    short = _SECRET.sub("[key]", _TAIL.sub("", " ".join(text[:4000].split())))
    return short if len(short) <= MAX_MESSAGE else f"{short[: MAX_MESSAGE - 1]}…"


def _chain(error: BaseException, outer: BaseException | None) -> Iterator[BaseException]:
    link: BaseException | None = error
    for _ in range(_CHAIN):
        if link is None or link is outer:
            return
        yield link
        link = link.__cause__ or link.__context__


def _facts(chain: tuple[BaseException, ...]) -> _Facts:
    status: int | None = None
    headers: Mapping[str, str] = {}
    for link in chain:
        # litellm makes up responses for failures of its own; only one that was really received has headers
        response = getattr(link, "response", None)
        received = _headers(response)
        code = getattr(response, "status_code", None)
        if received and isinstance(code, int) and code >= _FIRST_ERROR:
            status, headers = code, received
            break
    return _Facts(
        names=frozenset(cls.__name__ for link in chain for cls in type(link).__mro__),
        text="\n".join(str(link)[:4000] for link in chain),
        first=str(chain[0])[:4000],
        last=str(chain[-1])[:4000],
        status=status,
        headers=headers,
    )


def _headers(response: object) -> Mapping[str, str]:
    found = getattr(response, "headers", None)
    if not isinstance(found, Mapping):
        return {}
    return {str(key).lower(): str(value) for key, value in cast("Mapping[Any, Any]", found).items()}


def _judged(facts: _Facts) -> "Verdict":
    if facts.status is not None:
        return _by_status(facts.status, facts)
    if _MISSING_KEY.search(facts.text):
        return "missing_key", False
    if _UNWRITABLE in facts.names or ("TypeError" in facts.names and _UNWRITABLE_TEXT.search(facts.text)):
        return "bad_request", False
    return _by_transport(facts) or _by_class(facts)


def _by_status(status: int, facts: _Facts) -> "Verdict":
    if status < _FIRST_SERVER_ERROR and "ContextWindowExceededError" not in facts.names:
        if _QUOTA.search(facts.text):
            return "quota", False
        if status in _REFUSALS and ("ContentPolicyViolationError" in facts.names or _POLICY.search(facts.text)):
            return "content_policy", False
    if status in _REFUSALS and ("ContextWindowExceededError" in facts.names or _CONTEXT.search(facts.text)):
        return "context_overflow", False
    return _BY_STATUS.get(status, ("server" if status >= _FIRST_SERVER_ERROR else "bad_request", False))


def _by_transport(facts: _Facts) -> "Verdict | None":
    if facts.names & _NEVER_REACHED:
        return "connection", False
    if facts.names & _TIMED_OUT:
        return "timeout", None
    if facts.names & _BROKEN_OFF:
        return "connection", None
    if facts.names & _UNREADABLE or _UNREADABLE_TEXT.search(facts.text):
        return "bad_response", None
    return None


def _by_class(facts: _Facts) -> "Verdict":
    for name, kind, billed in _BY_CLASS:
        if name in facts.names:
            return kind, billed
    if facts.names & _MISREAD:
        return "bad_response", None
    return ("server", None) if "APIError" in facts.names else ("internal", None)


def _message(model: str, kind: "ErrorKind", facts: _Facts) -> str:
    code = f" (HTTP {facts.status})" if facts.status is not None else ""
    if kind == "missing_key":
        names = list(dict.fromkeys(_KEY_VARIABLE.findall(facts.text)))
        return redacted(f"{model}: {_SAYING[kind]}; set {' or '.join(names[:3]) or 'the key of the provider'}")
    if kind == "bad_response":
        return redacted(f"{model}: {_SAYING[kind]}{code}")
    said = facts.last if kind == "connection" else facts.first
    while (shorter := _CLIENT_PREFIX.sub("", said)) != said:
        said = shorter
    return redacted(f"{model}: {_SAYING[kind]}{code}: {said}".rstrip(": "))


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the wait the provider asks for, seconds; dates are read against its own clock, the ``date`` header."""
    for key, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            wait = float(headers[key]) * scale
        except (KeyError, ValueError):
            continue
        return max(0.0, wait) if math.isfinite(wait) else None
    until, now = _date(headers.get("retry-after")), _date(headers.get("date"))
    return max(0.0, (until - now).total_seconds()) if until and now else None


def _date(value: str | None) -> dt.datetime | None:
    try:
        parsed = parsedate_to_datetime(value or "")
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=dt.UTC)
