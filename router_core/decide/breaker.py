"""The escalation breaker: whether so many calls of one payload type leave a step that none should go up any more.

A call leaves a step for one of two causes, and each is judged apart, over a window of time:

- **failures**: no target of the step gave an answer. Usual is that none does; an outage must not send every call to a
  dearer tier.
- **answers**: they were invalid or not sure enough. What is usual is learned from the type's own calls, and before
  enough of them nothing is held. A share far above it says that something is wrong with the model or the input, and no
  longer with single answers.

What counts is who *would* leave, held or not, so the breaker closes by itself once the step serves again. A share of
unsure answers that stays is the new usual after a while: the breaker stops a wave, it does not decide what is good.
"""

import math
from dataclasses import dataclass
from typing import Final, Literal

Cause = Literal["failures", "answers"]

# a share by chance above the usual one: five standard deviations are no chance any more
_DEVIATIONS: Final = 5.0
# what is usual is known after so many times the calls that a judgement needs
_TO_LEARN: Final = 10
# and older windows are outweighed after so many
_TO_FORGET: Final = 250


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerRule:
    """When a step's breaker opens.

    Attributes:
        enabled: Whether it ever does.
        window_us: Time over which calls are counted, microseconds.
        calls: Fewest calls of a payload type within it that are judged at all.
        excess: How far above the usual share, as a part of what is left up to all calls, 0..1: with 0.5 and a usual
            share of 0.2, more than 0.6.
        settle_us: Time after which a share of unsure answers that stays is the usual one.
    """

    enabled: bool = True
    window_us: int = 60_000_000
    calls: int = 20
    excess: float = 0.5
    settle_us: int = 600_000_000


@dataclass(frozen=True, slots=True)
class Tally:
    """Calls of one payload type at one step, within a window.

    Attributes:
        calls: Those that were served there or would leave it.
        left: Those that would leave it, for the cause in question.
    """

    calls: int = 0
    left: int = 0

    @property
    def share(self) -> float:
        """Those that would leave, of all; 0..1."""
        return self.left / self.calls if self.calls else 0.0


@dataclass(frozen=True, slots=True)
class Usual:
    """The share of calls that usually leaves a step.

    Attributes:
        share: 0..1.
        calls: How many calls it was learned from.
    """

    share: float = 0.0
    calls: int = 0


NOT_KNOWN: Final = Usual()
NEVER: Final = Usual(share=0.0, calls=1_000_000_000)
"""What is usual for failures: that no call leaves."""


def opens(tally: Tally, usual: Usual, rule: BreakerRule) -> bool:
    """Return whether so many calls would leave a step that a closed breaker opens."""
    if not rule.enabled or tally.calls < rule.calls or usual.calls < _TO_LEARN * rule.calls:
        return False
    return tally.share > _threshold(tally, usual, rule)


def stays_open(tally: Tally, usual: Usual, rule: BreakerRule, since_us: int, cause: Cause, now_us: int) -> bool:
    """Return whether an open breaker stays so.

    It closes when the share has fallen half the way back, when there are too few calls to speak of a mass, or when a
    share of unsure answers has settled.

    Args:
        tally: The present window.
        usual: What was usual when it opened.
        rule: The rule.
        since_us: When it opened.
        cause: What it opened for.
        now_us: The present instant.
    """
    if not rule.enabled or tally.calls < rule.calls or is_settled(rule, since_us, cause, now_us):
        return False
    return tally.share > (usual.share + _threshold(tally, usual, rule)) / 2


def is_settled(rule: BreakerRule, since_us: int, cause: Cause, now_us: int) -> bool:
    """Return whether what an open breaker holds back has lasted so long that it is the usual thing now."""
    return cause == "answers" and now_us - since_us >= rule.settle_us


def learned(usual: Usual, tally: Tally, rule: BreakerRule) -> Usual:
    """Return what is usual after one more window: the mean over all calls, the older ones fading."""
    if not tally.calls:
        return usual
    calls = min(usual.calls + tally.calls, _TO_FORGET * rule.calls)
    weight = min(1.0, tally.calls / calls)
    return Usual(share=usual.share + weight * (tally.share - usual.share), calls=calls)


def settled(tally: Tally, rule: BreakerRule) -> Usual:
    """Return the present share as the usual one."""
    return Usual(share=tally.share, calls=_TO_LEARN * rule.calls)


def _threshold(tally: Tally, usual: Usual, rule: BreakerRule) -> float:
    chance = math.sqrt(usual.share * (1 - usual.share) / tally.calls)
    return usual.share + max(rule.excess * (1 - usual.share), _DEVIATIONS * chance)
