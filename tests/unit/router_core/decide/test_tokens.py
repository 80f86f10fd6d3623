"""What the tokens of an answer tell: of JSON its values, of a label how far it is ahead."""

import math
from collections.abc import Sequence

import pytest

from router_core.decide.tokens import answer_logprobs, geometric_mean, json_values, label_margin
from router_core.types import Token

LABELS = ("invoice", "inquiry", "spam")


def token(text: str, p: float = 0.99, **others: float) -> Token:
    """A token with its probability, and what else could have stood there."""
    pairs = [(text, math.log(p)), *((other, math.log(q)) for other, q in others.items())] if others else []
    return Token(text=text, logprob=math.log(p), others=tuple(pairs))


def text_of(tokens: Sequence[Token]) -> str:
    return "".join(each.text for each in tokens)


def margin(tokens: Sequence[Token], label: str, labels: Sequence[str] = LABELS) -> float | None:
    text = text_of(tokens)
    start = text.index(label)
    return label_margin(tokens, text, (start, start + len(label)), labels)


def test_json_values_are_scalars_with_their_keys_and_strings_without_quotes() -> None:
    text = '{"a": "x \\" {y}", "b": [1.5, true, null], "c": {"d": "z"}}'
    found = [(key, text[start:end]) for key, (start, end) in json_values(text)]
    assert found == [("a", 'x \\" {y}'), ("b", "1.5"), ("b", "true"), ("b", "null"), ("d", "z")]


def test_of_json_only_the_values_count_and_not_the_self_reported_confidence() -> None:
    tokens = [token('{"', 1.0), token("total", 1.0), token('": ', 1.0), token("12", 0.5), token(".5", 0.8)]
    tokens += [token(', "'), token("confidence"), token('": '), token("0.9", 0.1), token("}", 1.0)]
    found = answer_logprobs(tokens, text_of(tokens), "confidence")
    assert [math.exp(value) for value in found] == pytest.approx([0.5, 0.8])


def test_of_prose_and_of_tokens_that_do_not_add_up_every_token_counts() -> None:
    prose = [token("It "), token("is "), token("5", 0.5)]
    assert len(answer_logprobs(prose, "It is 5", "confidence")) == 3
    assert len(answer_logprobs(prose, '{"total": 5}', "confidence")) == 3


def test_json_without_any_value_counts_whole() -> None:
    assert len(answer_logprobs([token("{"), token("}")], "{}", "confidence")) == 2


def test_margin_is_the_lead_of_the_label_among_the_labels() -> None:
    # "maybe" is no label: what the model would have said that cannot be said does not count
    assert margin([token("spam", 0.6, invoice=0.2, maybe=0.2)], "spam") == pytest.approx((0.6 - 0.2) / 0.8)


def test_margin_follows_labels_that_part_late() -> None:
    tokens = [token("in", 0.9, spam=0.1), token("voice", 0.7, quiry=0.3)]
    invoice, inquiry, spam = 0.9 * 0.7, 0.9 * 0.3, 0.1
    assert margin(tokens, "invoice") == pytest.approx((invoice - inquiry) / (invoice + inquiry + spam))


def test_margin_is_read_inside_json_with_quotes_in_the_tokens() -> None:
    tokens = [token('{"label": "'), token('spam"}', 0.75, **{'invoice"}': 0.25})]
    assert margin(tokens, "spam") == pytest.approx(0.5)
    joined = [token('{"label":'), token(' "spam', 0.75, **{' "invoice': 0.25}), token('"}')]
    assert margin(joined, "spam") == pytest.approx(0.5)


def test_the_same_label_in_other_clothes_is_no_rival() -> None:
    tokens = [token("spam", 0.6, **{" spam": 0.2, "Spam": 0.1, "invoice": 0.1})]
    assert margin(tokens, "spam") == pytest.approx(0.9 - 0.1)


def test_a_longer_word_is_another_label() -> None:
    assert margin([token("spam", 0.6, spammer=0.4)], "spam", ()) == pytest.approx(0.2)


def test_without_known_labels_whatever_else_it_could_have_said_is_one() -> None:
    assert margin([token("yes", 0.5, no=0.3, maybe=0.2)], "yes", ()) == pytest.approx((0.5 - 0.3) / 1.0)


@pytest.mark.parametrize(
    ("tokens", "label"),
    [
        ([token("spam")], "spam"),  # no alternatives were told: nothing is known of the rivals
        ([token("ham", 0.5, spam=0.5)], "ham"),  # no such label
    ],
)
def test_margin_that_cannot_be_told_is_none(tokens: list[Token], label: str) -> None:
    assert margin(tokens, label) is None


def test_margin_of_tokens_that_do_not_add_up_to_the_text_is_none() -> None:
    assert label_margin([token("spam", 0.6, invoice=0.4)], "spam ", (0, 4), LABELS) is None


def test_mean_is_per_token_so_that_lengths_compare() -> None:
    assert geometric_mean([math.log(0.5)] * 3) == pytest.approx(0.5)
