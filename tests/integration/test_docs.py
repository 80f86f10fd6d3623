"""The examples of the pages about streaming and testing do what these pages say."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from router_core.testing import FakeBackend, make_router
from tests.routers import MESSAGES, ROUTING, SCHEMA, bounded, reply

DOCS = Path(__file__).resolve().parents[2] / "docs"


def examples(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", (DOCS / page).read_text("utf-8"), re.DOTALL | re.MULTILINE)


def test_examples_of_streaming_print_the_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocking, looping = examples("streaming.md")
    routing = ROUTING.replace("x.extract", "chat.reply")
    with make_router(tmp_path, routing, FakeBackend(default="Hello you")) as router:
        names: dict[str, Any] = {"router": router, "messages": MESSAGES}
        exec(blocking, names)  # noqa: S102 - the page's own text
        exec(looping, names)  # noqa: S102
        assert asyncio.run(names["reply"]()).text == "Hello you"
    assert capsys.readouterr().out == "Hello you1.4e-05 cheap streamed\nHello you"


def test_example_of_testing_passes(tmp_path: Path) -> None:
    (example,) = examples("testing.md")
    names: dict[str, Any] = {"tmp_path": tmp_path}
    exec(example, names)  # noqa: S102 - the page's own text
    assert names["answer"].tier == "top"


def test_budgets_of_the_page_on_budgets_are_a_config_that_runs(tmp_path: Path) -> None:
    page = (DOCS / "budgets.md").read_text("utf-8")
    (sections,) = re.findall(r"^```yaml\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    routing = bounded(ROUTING).replace("x.extract: {", "x.extract: {group: nightly, ")
    with make_router(tmp_path, routing + sections, FakeBackend(default=reply())) as router:
        tags = {"team": "ap"}
        answer = router.complete("x.extract", messages=MESSAGES, run="job", tags=tags, response_format=SCHEMA)
    assert not answer.degraded
