"""The error tree of the router.

::

    RouterError
    ├── ConfigError            the routing config, the home or an input file is not usable; carries every problem
    ├── RequestRejectedError   refused before any request was made (unknown payload type, guardrail says reject)
    ├── CallError              one request to one target failed; ``kind`` says how
    ├── RouteExhaustedError    no target of the path gave a valid answer; carries every attempt
    └── ChangeRefusedError     a decision about a proposal or the config was refused; nothing was changed
        ├── NotAllowedError    the role does not allow it
        ├── StaleError         the config is not the one that was reviewed; carries its version and the new diff
        └── ConflictError      another save came in between; both texts are kept

Adapters translate foreign errors into this tree once, with ``raise ... from``.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router_core.types import AttemptRecord

ErrorKind = Literal[
    "rate_limit",
    "quota",
    "timeout",
    "server",
    "connection",
    "bad_response",
    "auth",
    "not_found",
    "context_overflow",
    "content_policy",
    "bad_request",
    "missing_key",
    "spoiled",  # not this task's request, but one that it shared with others
    "internal",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong with an input.

    Attributes:
        path: Where it is, e.g. ``payload_types.invoice.extract.path[1].tier``; empty for the whole input.
        message: What is wrong and what to do.
        line: 1-based line in the file, when known.
    """

    path: str
    message: str
    line: int | None = None

    def __str__(self) -> str:
        where = self.path or "file"
        if self.line is not None:
            where = f"{where} (line {self.line})"
        return f"{where}: {self.message}"


def place_of(error: BaseException) -> str:
    """Return an error's type and the place that raised it, for logs.

    What it says, and the lines of its traceback, may quote a prompt, an answer or a key.
    """
    trace = error.__traceback__
    if trace is None:
        return type(error).__name__
    while trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code
    file = code.co_filename.replace("\\", "/").rpartition("/")[2]
    return f"{type(error).__name__} in {code.co_qualname} ({file}, line {trace.tb_lineno})"


class RouterError(Exception):
    """Any error this package raises on purpose.

    It travels between processes with all it carries: a worker's error that cannot be read in the parent breaks a
    ``ProcessPoolExecutor``, and hangs a ``multiprocessing.Pool``.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how a copy is made: as it is, for what made it is not among its ``args``."""
        return _copied, (type(self), self.args), vars(self)


def _copied(kind: type[RouterError], args: tuple[object, ...]) -> RouterError:
    return kind.__new__(kind, *args)


class ConfigError(RouterError):
    """A config, home or input file that cannot be used; ``problems`` lists everything that is wrong with it."""

    def __init__(self, source: str, problems: "Sequence[Problem]") -> None:
        self.source = source
        self.problems = tuple(problems)
        listed = "\n".join(f"  - {problem}" for problem in self.problems)
        super().__init__(f"{source}: {len(self.problems)} problem{'s' * (len(self.problems) != 1)}\n{listed}")


class RequestRejectedError(RouterError):
    """A call that was refused before any request was made."""


class CallError(RouterError):
    """One request to one target failed.

    Attributes:
        kind: What happened, one of ``ErrorKind``.
        status_code: HTTP status, when there was one.
        retry_after_s: Seconds the provider asked to wait, when it did.
        billed: False when the provider certainly charged nothing (it refused the request or was never reached);
            None when it may have charged (a timeout after sending).
    """

    def __init__(
        self,
        message: str,
        *,
        kind: ErrorKind,
        status_code: int | None = None,
        retry_after_s: float | None = None,
        billed: bool | None = False,
    ) -> None:
        super().__init__(message)
        self.kind: ErrorKind = kind
        self.status_code = status_code
        self.retry_after_s = retry_after_s
        self.billed = billed


class RouteExhaustedError(RouterError):
    """No target of the path gave a valid answer.

    Attributes:
        call_id: The call's id, as in the log.
        attempts: Every attempt that was made, in order.
        cost_nusd: What they cost together, nano-dollars.
        partial_text: What was handed out of a stream before it broke; "" where there was none.
    """

    def __init__(
        self,
        message: str,
        *,
        call_id: str,
        attempts: "Sequence[AttemptRecord]",
        cost_nusd: int,
        partial_text: str = "",
    ) -> None:
        super().__init__(message)
        self.call_id = call_id
        self.attempts = tuple(attempts)
        self.cost_nusd = cost_nusd
        self.partial_text = partial_text

    @property
    def cost_usd(self) -> float:
        """What the attempts cost together, in USD."""
        return self.cost_nusd / 1e9


class ChangeRefusedError(RouterError):
    """A decision about a proposal or the routing config that was refused; the config is as it was."""


class NotAllowedError(ChangeRefusedError):
    """The actor's role does not allow what was asked for."""


class StaleError(ChangeRefusedError):
    """The config is no longer the version that was reviewed.

    Attributes:
        head_version: Version that the file has now.
        diff: The change as it would be now, a unified diff.
    """

    def __init__(self, message: str, *, head_version: str, diff: str) -> None:
        super().__init__(message)
        self.head_version = head_version
        self.diff = diff


class ConflictError(ChangeRefusedError):
    """Somebody else saved the file in the moment of the change.

    Attributes:
        kept: File beside the config that holds the text which was not to be, in full; None = there is none.
    """

    def __init__(self, message: str, *, kept: str | None) -> None:
        super().__init__(message)
        self.kept = kept
