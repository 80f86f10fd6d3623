from types import SimpleNamespace
from typing import Any

import pytest

from router_core.backends.litellm_errors import redacted, translated


class BadRequestError(Exception):
    pass


class ContextWindowExceededError(BadRequestError):
    pass


class ContentPolicyViolationError(BadRequestError):
    pass


class AuthenticationError(Exception):
    pass


class APIError(Exception):
    pass


class InternalServerError(APIError):
    pass


# named as the clients name them
Timeout = type("Timeout", (APIError,), {})
ConnectTimeout = type("ConnectTimeout", (Exception,), {})
ReadTimeout = type("ReadTimeout", (Exception,), {})


class RemoteProtocolError(Exception):
    pass


class JSONDecodeError(ValueError):
    pass


class AnsweredError(Exception):
    """The transport's error for an answer with an error status."""

    def __init__(self, status: int, text: str = "", **headers: str) -> None:
        super().__init__(text)
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        self.response = SimpleNamespace(status_code=status, headers={"Content-Length": "2"} | named)


class MadeUpError(InternalServerError):
    """A failure of the client's own, with a response it made up."""

    def __init__(self, status: int, text: str = "") -> None:
        super().__init__(text)
        self.response = SimpleNamespace(status_code=status, headers={})


def caused(error: BaseException, *causes: BaseException) -> BaseException:
    """The error with its chain of causes, outermost first."""
    link = error
    for cause in causes:
        link.__cause__ = cause
        link = cause
    return error


@pytest.mark.parametrize(
    ("error", "kind", "status", "billed"),
    [
        (caused(InternalServerError("Connection error."), ConnectionRefusedError(111)), "connection", None, False),
        (caused(Timeout("timed out"), ConnectTimeout()), "connection", None, False),
        (caused(Timeout("timed out"), ReadTimeout()), "timeout", None, None),
        (Timeout("timed out"), "timeout", None, None),
        (TimeoutError(), "timeout", None, None),
        (caused(InternalServerError("Connection error."), RemoteProtocolError()), "connection", None, None),
        (caused(MadeUpError(500), JSONDecodeError("char 0")), "bad_response", None, None),
        (caused(MadeUpError(422), JSONDecodeError("char 0")), "bad_response", None, None),
        (MadeUpError(500, "Empty or invalid response from LLM endpoint"), "bad_response", None, None),
        (caused(APIError("x"), KeyError("choices")), "bad_response", None, None),
        (APIError("something"), "server", None, None),
        (RuntimeError("something"), "internal", None, None),
        (ContextWindowExceededError("too long"), "context_overflow", None, False),
        (ContentPolicyViolationError("no"), "content_policy", None, False),
        (BadRequestError("no"), "bad_request", None, False),
        (AuthenticationError("Missing Anthropic API Key - set ANTHROPIC_API_KEY"), "missing_key", None, False),
        (AuthenticationError("denied"), "auth", None, False),
        (caused(MadeUpError(500), AnsweredError(429)), "rate_limit", 429, False),
        (AnsweredError(429, "{'code': 'insufficient_quota'}"), "quota", 429, False),
        (AnsweredError(429, "You exceeded your current quota, retry in 12 s"), "rate_limit", 429, False),
        (AnsweredError(400, "Your credit balance is too low to access the API"), "quota", 400, False),
        (AnsweredError(400, "prompt is too long: 250000 tokens > 200000 maximum"), "context_overflow", 400, False),
        (AnsweredError(400, "ResponsibleAIPolicyViolation"), "content_policy", 400, False),
        (AnsweredError(418), "bad_request", 418, False),
        (AnsweredError(500, "context window service down"), "server", 500, False),
        (AnsweredError(502), "server", 502, None),
        (AnsweredError(504), "timeout", 504, None),
    ],
)
def test_failure_is_judged_by_its_causes(error: Exception, kind: str, status: int | None, billed: bool | None) -> None:
    got = translated(error, "p/m")
    assert (got.kind, got.status_code, got.billed) == (kind, status, billed)


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"retry_after": "3"}, 3.0),
        ({"Retry_After": "3"}, 3.0),
        ({"retry_after_ms": "250", "retry_after": "1"}, 0.25),
        ({"retry_after": "-4"}, 0.0),
        ({"retry_after": "nan"}, None),
        ({"retry_after": "soon"}, None),
        ({"retry_after": "Mon, 23 Nov 2026 10:00:30 GMT", "date": "Mon, 23 Nov 2026 10:00:00 GMT"}, 30.0),
        ({"retry_after": "Mon, 23 Nov 2026 10:00:00 GMT", "date": "Mon, 23 Nov 2026 10:00:09 GMT"}, 0.0),
        ({"retry_after": "Mon, 23 Nov 2026 10:00:30 GMT"}, None),
        ({}, None),
    ],
)
def test_wait_is_read_in_every_spelling(headers: dict[str, str], wait_s: float | None) -> None:
    assert translated(AnsweredError(429, "", **headers), "p/m").retry_after_s == wait_s


def test_failure_handled_outside_is_no_cause() -> None:
    outer = ConnectionRefusedError(111)
    error = caused(APIError("x"), outer)
    assert translated(error, "p/m", outer=outer).kind == "server"


def test_message_says_what_happened_without_the_clients_own_words() -> None:
    text = "litellm.RateLimitError: RateLimitError: OpenAIException - Rate limit reached for m in organization o"
    got = str(translated(caused(APIError(text), AnsweredError(429)), "openai/m"))
    assert got == "openai/m: rate limited (HTTP 429): Rate limit reached for m in organization o"


def test_message_of_a_connection_failure_names_the_reason() -> None:
    error = caused(InternalServerError("Connection error."), ConnectionRefusedError("[Errno 111] Connection refused"))
    assert str(translated(error, "p/m")) == "p/m: connection failed: [Errno 111] Connection refused"


def test_message_of_a_missing_key_names_the_variables() -> None:
    error = ValueError("Missing Gemini API key. Set the GEMINI_API_KEY or GOOGLE_API_KEY environment variable.")
    assert str(translated(error, "gemini/x")) == "gemini/x: no API key; set GEMINI_API_KEY or GOOGLE_API_KEY"


def test_unreadable_answer_is_never_quoted() -> None:
    error = caused(MadeUpError(500, "Received response the patient's name is X"), JSONDecodeError("X"))
    assert str(translated(error, "p/m")) == "p/m: the answer could not be read"


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abcDEF1234567890",
        "sk-ant-api03-aaaaaaaaaaaa",
        "AIzaSyA1234567890abcdefg",
        "gsk_abcdef1234567890",
        "Bearer abc.def.ghi",
        "0123456789abcdef0123456789abcdef",
        "sk-*****************************7890",
    ],
)
def test_keys_are_taken_out(secret: str) -> None:
    assert secret not in redacted(
        f"Incorrect API key provided: {secret}. Find yours at https://example.com/?key={secret}"
    )


def test_long_text_is_cut_and_on_one_line() -> None:
    text = redacted("word\n" * 500)
    assert (len(text), "\n" in text) == (200, False)


def test_traceback_is_left_out() -> None:
    assert redacted("it broke Traceback (most recent call last): File x") == "it broke "


def test_long_chains_end() -> None:
    errors: list[Any] = [RuntimeError(str(n)) for n in range(50)]
    assert translated(caused(errors[0], *errors[1:]), "p/m").kind == "internal"
