"""A job of many steps as a process of its own: ``python -m tests.job_process CONFIG URL STEPS``.

Each step asks over HTTP, as plainly as it can be done, and prints its number once it has its answer.
"""

import http.client
import json
import sys
from urllib.parse import urlsplit

from router_core import Router
from router_core.errors import CallError
from router_core.types import Request, Response, Usage
from tests.openai_server import REQUEST_ID_HEADER

CHECKS_ANSWER = {"type": "object", "required": ["answer"]}


class PlainHttp:
    """Asks an OpenAI-compatible server, one request after the other."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)

    def complete(self, request: Request) -> Response:
        body = json.dumps({"model": request.model, "messages": request.messages})
        headers = {"content-type": "application/json", REQUEST_ID_HEADER: request.request_id}
        self._connection.request("POST", "/v1/chat/completions", body, headers)
        got = self._connection.getresponse()
        told = json.loads(got.read())
        if got.status != 200:
            raise CallError("it broke", kind="server", billed=False)
        usage = Usage(input_tokens=told["usage"]["prompt_tokens"], output_tokens=told["usage"]["completion_tokens"])
        return Response(text=told["choices"][0]["message"]["content"], usage=usage)

    async def acomplete(self, request: Request) -> Response:
        return self.complete(request)


def main(config: str, url: str, steps: int) -> None:
    with Router.open(config, backend=PlainHttp(url)) as router:
        for n in range(steps):
            answer = router.complete(
                "x.extract",
                messages=[{"role": "user", "content": f"step {n}"}],
                response_format=CHECKS_ANSWER,
                run="nightly",
                step=str(n),
            )
            told = (n, answer.parsed["answer"], answer.tier, answer.reason, int(answer.cache_hit), answer.cost_nusd)
            sys.stdout.write(" ".join(map(str, told)) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
