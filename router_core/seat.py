"""The router's state as one call of a pack sees it: lines are held back, sizes and failures of the pack count once."""

from collections.abc import Sequence
from typing import Any

from router_core.decide.plan import PlanTarget
from router_core.errors import ErrorKind
from router_core.lines import Line, Sent
from router_core.state import RouterState
from router_core.types import PackShare, Price, Usage


class Seat(RouterState):
    """What all calls of a router share, as one call sees it while it shares its request with others.

    Its lines are held back until they can be written together.

    Args:
        state: What all calls share.
        tokens: The call's share of the prompt, tokens.
    """

    def __init__(self, state: RouterState, tokens: int) -> None:
        self.__dict__.update(state.__dict__)
        self._whole = state
        self._tokens = tokens
        self._requests: dict[str, tuple[str, int]] = {}
        self._shares: dict[str, PackShare] = {}
        self._pack_id: str | None = None
        self._is_seated = True
        self.held: list[Line] = []
        self.is_mute = False
        self.log = self._take

    @property
    def whole(self) -> RouterState:
        """What all calls share: a shadow of this one shares its request with nobody."""
        return self._whole

    def log_call(self, *lines: Line) -> None:
        """Log the lines that end a call; see ``RouterState.log_call``."""
        lines[-1]["worker"] = self._log.worker
        lines[-1]["seq"] = self._log.next_seq()
        self._take(*lines)

    def estimate_nusd(
        self,
        payload_type: str,
        target: PlanTarget,
        input_tokens: int,
        price: Price | None,
        *,
        most: int | None = None,
        shadow: bool = False,
    ) -> int:
        """Return what the call's share of a request is expected to cost; see ``RouterState.estimate_nusd``."""
        tokens = min(input_tokens, self._tokens) if self._is_seated else input_tokens
        return super().estimate_nusd(payload_type, target, tokens, price, most=most, shadow=shadow)

    def failed(self, sent: Sent, kind: ErrorKind, retry_after_us: int | None, now_us: int, draw: float) -> None:
        """Take note of a failed request, if this call is the one to say so; see ``RouterState.failed``."""
        if not self.is_mute:
            super().failed(sent, kind, retry_after_us, now_us, draw)

    def answered(self, payload_type: str, target: PlanTarget, usage: Usage, took_us: int) -> None:
        """Take note of an answer, if there is one to this call; see ``RouterState.answered``."""
        if not self.is_mute:
            super().answered(payload_type, target, usage, took_us)

    def shares(self, attempt_id: str, pack_id: str, request_id: str, started_us: int) -> None:
        """Take note of the request that an attempt is part of."""
        self._pack_id = pack_id
        self._requests[attempt_id] = (request_id, started_us)

    def dealt(self, attempt_id: str, share: PackShare) -> None:
        """Take note of what an attempt has got of its request."""
        self._shares[attempt_id] = share

    def leave(self) -> None:
        """Write what is held, and hold nothing any more: the call goes on by itself."""
        self._is_seated = False
        lines, self.held = self.held, []
        if lines:
            self._log.write(*lines)

    def write(self, lines: Sequence[Line]) -> None:
        """Append lines to the log in one write."""
        if lines:
            self._log.write(*lines)

    def _take(self, *lines: Line) -> None:
        for line in lines:
            if line["k"] == "call" and self._pack_id is not None:
                line["pack_id"] = self._pack_id
            elif line["k"] == "attempt" and line["attempt_id"] in self._requests:
                self._mark(line)
        if self._is_seated:
            self.held += lines
        else:
            self._log.write(*lines)

    def _mark(self, line: Line) -> None:
        line["request_id"], line["started_at"] = self._requests[line["attempt_id"]]
        line["latency_ms"] = (line["ended_at"] - line["started_at"]) / 1000
        share = self._shares.get(line["attempt_id"])
        if share is not None:
            told: dict[str, Any] = {"items": share.items, "alone_input_tokens": share.alone_input_tokens}
            if share.alone_nusd is not None:
                told["alone_nusd"] = share.alone_nusd
            if share.spoiled is not None:
                told["spoiled"] = share.spoiled
            line["extra"] = {**line.get("extra", {}), "pack": told}
