"""The README's worked example, run against a server whose models do its job."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

from router_core import Router
from tests.job_server import document

README = (Path(__file__).resolve().parents[1] / "README.md").read_text("utf-8")
Job = Callable[[Router, dict[str, str], str], Iterator[tuple[str, bool]]]


def block(language: str) -> str:
    """The example's config or program, as printed."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)[1]


def job() -> Job:
    """The example's job."""
    names: dict[str, Any] = {}
    exec(block("python"), names)  # noqa: S102 - the README's own text
    return cast("Job", names["job"])


def documents(count: int) -> dict[str, str]:
    """So many documents."""
    return {f"doc-{number}": document(number) for number in range(count)}


def run_killed_and_again(config: Path, count: int) -> dict[str, bool]:
    """Run the job, give it up in the middle of its decisions, and run it again to the end."""
    texts, decided = documents(count), dict[str, bool]()
    for is_last in (False, True):
        with Router.open(config) as router:
            for name, pay in job()(router, texts, "job-42"):
                decided[name] = pay
                if not is_last and len(decided) == count // 2:
                    break
    return decided
