"""Log-probabilities of an answer's tokens → how sure the model was: of what it answered, or of the label it chose."""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Final

from router_core.types import Token

# strings, with the colon that makes one a key, and the other scalars of JSON
_SCALARS: Final = re.compile(r'"((?:[^"\\]|\\.)*)"(\s*:)?|-?\d[\d.eE+-]*|true|false|null')
# what may stand before a label in the token that begins it
_BEFORE: Final = " \t\r\n\"'`*"
Span = tuple[int, int]
"""Offsets of the first character and after the last one."""


def geometric_mean(logprobs: Sequence[float]) -> float | None:
    """Return exp(mean log-probability): the per-token probability, comparable across lengths; None when unusable."""
    if not logprobs or any(math.isnan(value) or value > 0 for value in logprobs):
        return None
    return math.exp(math.fsum(logprobs) / len(logprobs))


def answer_logprobs(tokens: Sequence[Token], text: str, confidence_field: str) -> tuple[float, ...]:
    """Return the log-probabilities of the tokens that say something, shape ``(n,)``.

    Of JSON these are the values: its braces and keys are as good as certain and would hide a doubtful value among
    them. The self-reported confidence is no part of the answer. Of other texts, and where the tokens do not add up to
    the text, these are all tokens.

    Args:
        tokens: The answer's tokens.
        text: The answer.
        confidence_field: Name of the self-reported confidence.
    """
    whole = tuple(token.logprob for token in tokens)
    if text.lstrip()[:1] not in ("{", "[") or not _adds_up(tokens, text):
        return whole
    says = bytearray(len(text))
    for key, (start, end) in json_values(text):
        if key != confidence_field:
            says[start:end] = b"\x01" * (end - start)
    found = tuple(token.logprob for token, (start, end) in placed(tokens) if any(says[start:end]))
    return found or whole


def json_values(text: str) -> Iterator[tuple[str | None, Span]]:
    """Yield each scalar value of a JSON text with the key it stands under, strings without their quotes."""
    key: str | None = None
    for match in _SCALARS.finditer(text):
        if match.group(2) is not None:
            key = match.group(1)
        elif match.group(1) is not None:
            yield key, match.span(1)
        else:
            yield key, match.span()


def label_margin(tokens: Sequence[Token], text: str, span: Span, labels: Sequence[str]) -> float | None:
    """Return how far the chosen label is ahead of the next one, 0..1; None when the tokens do not tell.

    With p the probability of a label: (p(chosen) − max p(other)) / Σ p, all within the tokens that the model reports.
    A label's probability is the product over its tokens; one that parts from the chosen one at a token counts with
    what that token has for it, as if the rest of it were certain, so that the margin is never overstated.

    Args:
        tokens: The answer's tokens.
        text: The answer.
        span: Where the label stands in it.
        labels: All labels there are; empty = whatever the model could have said instead is another one.
    """
    chosen = _folded(text[span[0] : span[1]])
    known = tuple(dict.fromkeys(_folded(label) for label in labels))
    if not chosen or (known and chosen not in known) or not _adds_up(tokens, text):
        return None
    reached, seen = 1.0, False
    others: dict[str, float] = {}
    for token, (start, end) in placed(tokens):
        if end <= span[0] or start >= span[1]:
            continue
        seen = seen or bool(token.others)
        masses = _masses(token, chosen[: max(start - span[0], 0)], chosen, known)
        own = masses.pop(chosen, 0.0)
        for label, mass in masses.items():
            others[label] = others.get(label, 0.0) + reached * mass
        reached *= own
    total = reached + math.fsum(others.values())
    if not seen or not total > 0:
        return None
    return min(max((reached - max(others.values(), default=0.0)) / total, 0.0), 1.0)


def placed(tokens: Sequence[Token]) -> Iterator[tuple[Token, Span]]:
    """Yield each token with its place in the text that they add up to."""
    start = 0
    for token in tokens:
        end = start + len(token.text)
        yield token, (start, end)
        start = end


def _masses(token: Token, prefix: str, chosen: str, known: Sequence[str]) -> dict[str, float]:
    """Return the probability at one token by the label that it leads to; what leads to no label is left out."""
    candidates = {token.text: token.logprob, **dict(token.others)}
    masses: dict[str, float] = {}
    for said, logprob in candidates.items():
        if math.isnan(logprob) or logprob > 0:
            continue
        word = prefix + _folded(said if prefix else said.lstrip(_BEFORE))
        label = _label(word, chosen, known)
        if label is not None:
            masses[label] = masses.get(label, 0.0) + math.exp(logprob)
    return masses


def _label(word: str, chosen: str, known: Sequence[str]) -> str | None:
    """Return the label that an answer which begins so leads to, the chosen one first; None = to no label."""
    if not known:
        return chosen if _leads(word, chosen) else word
    return next((label for label in (chosen, *known) if _leads(word, label)), None)


def _leads(word: str, label: str) -> bool:
    if len(word) <= len(label):
        return label.startswith(word)
    # the token that ends a label may go on with what ends the answer, but not with more of a word
    return word.startswith(label) and not word[len(label)].isalnum()


def _adds_up(tokens: Sequence[Token], text: str) -> bool:
    return bool(tokens) and "".join(token.text for token in tokens) == text


def _folded(text: str) -> str:
    """Return the text in small letters, unless that would move the places in it."""
    small = text.lower()
    return small if len(small) == len(text) else text
