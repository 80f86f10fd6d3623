"""Over a real HTTP server: what tells how sure an answer is, asked for as far as the target gives it."""

import json
from pathlib import Path

import pytest

from router_core import Router
from router_core.backends.litellm import LiteLLMBackend
from tests.contract.conftest import Send, body, make_request
from tests.openai_server import OpenAIServer, Reply, failing, ok

pytestmark = pytest.mark.usefixtures("key")


def test_alternatives_of_each_token_are_asked_for_and_returned(send: Send, server: OpenAIServer) -> None:
    others = ({"spam": -0.1, "ham": -2.4}, {})
    request = make_request(server, ok("spam.", logprobs=(-0.1, -0.2), others=others), logprobs=True, alternatives=True)
    spam, end = send(request).tokens
    assert (spam.text, spam.others) == ("spam", (("spam", -0.1), ("ham", -2.4)))
    assert (end.text, end.logprob, end.others) == (".", -0.2, ())
    assert body(server, request)["top_logprobs"] == 5


@pytest.mark.parametrize("model", ["openai/gpt-5-mini", "openai/some-server-of-ones-own"])
def test_logprobs_are_not_tried_on_a_model_that_may_refuse_to_give_them(
    model: str, send: Send, server: OpenAIServer
) -> None:
    server.script(model.partition("/")[2], ok("fine"))
    request = make_request(server, model=model, logprobs=True, only_known_logprobs=True)
    send(request)
    assert "logprobs" not in body(server, request)


def test_logprobs_that_the_caller_asks_for_are_asked_for_his_way(send: Send, server: OpenAIServer) -> None:
    params = {"logprobs": True, "top_logprobs": 2}
    request = make_request(server, ok(logprobs=(-0.1,)), logprobs=True, alternatives=True, params=params)
    send(request)
    assert body(server, request)["top_logprobs"] == 2


JUDGED = """\
version: 1
tiers:
  cheap: [{{model: openai/j-small, api_base: "{url}"}}]
  top: [{{model: openai/j-large, api_base: "{url}"}}]
  judges: [{{model: openai/j-judge, api_base: "{url}"}}]
payload_types:
  ticket.classify: {{path: [cheap, top], confidence: {{source: judge}}}}
judge: {{tier: judges, same_family: true}}
on_unpriced: {{pessimistic: {{input: 15, output: 75}}}}
"""


@pytest.mark.parametrize(
    ("verdict", "hits_by_model"),
    [
        (ok('{"confidence": 0.9}'), {"j-small": 1, "j-judge": 1, "j-large": 0}),
        (ok('{"confidence": 0.2}'), {"j-small": 1, "j-judge": 1, "j-large": 1}),
        (ok("It looks right."), {"j-small": 1, "j-judge": 1, "j-large": 1}),
        (failing(500), {"j-small": 1, "j-judge": 1, "j-large": 1}),
    ],
    ids=["sure", "unsure", "prose", "failure"],
)
def test_judge_over_http_is_asked_once_whatever_it_says(
    verdict: Reply, hits_by_model: dict[str, int], tmp_path: Path, backend: LiteLLMBackend, server: OpenAIServer
) -> None:
    before = {model: server.count(model) for model in hits_by_model}
    server.script("j-small", ok("invoice"))
    server.script("j-large", ok("inquiry"))
    server.script("j-judge", verdict)
    (tmp_path / "routing.yaml").write_text(JUDGED.format(url=server.base_url))
    with Router.open(tmp_path / "routing.yaml", home=tmp_path / "home", backend=backend) as router:
        answer = router.complete("ticket.classify", messages=[{"role": "user", "content": "Which kind is it?"}])
    assert {model: server.count(model) - count for model, count in before.items()} == hits_by_model
    assert {attempt.request_id for attempt in answer.attempts} <= set(server.request_ids())
    assert len(answer.attempts) == sum(hits_by_model.values())
    assert answer.cost_nusd == sum(attempt.receipt.cost_nusd or 0 for attempt in answer.attempts)
    asked = next(hit.body for hit in reversed(server.hits) if hit.model == "j-judge")
    assert json.loads(asked["messages"][1]["content"])["answer"] == "invoice"
    assert asked["response_format"]["json_schema"]["schema"]["required"] == ["confidence"]
