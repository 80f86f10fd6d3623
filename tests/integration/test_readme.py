"""The README's router example does what the README says, as printed."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_group

from dashboard.cli import app
from tests.openai_server import OpenAIServer, Reply, ok

ROOT = Path(__file__).resolve().parents[2]
CHEAP, TOP = "gpt-5-nano", "gpt-5"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / "README.md").read_text("utf-8"), re.DOTALL | re.MULTILINE)


def invoice(confidence: float) -> Reply:
    return ok(json.dumps({"number": "4711", "total": 119.0, "confidence": confidence}))


def printed_by_example(folder: Path, example: str, **variables: str) -> str:
    config, _ = blocks("yaml")
    (folder / "routing.yaml").write_text(config)
    (folder / "example.py").write_text(example)
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), **variables}
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning:router_core", "example.py"],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_example_has_ten_lines() -> None:
    example, _ = blocks("python")
    assert len(example.splitlines()) == 10


@pytest.mark.parametrize(
    ("confidence", "expected", "hits"),
    [(0.95, "cheap $0.00000", [CHEAP]), (0.4, "top $0.0000", [CHEAP, TOP])],
)
def test_example_answers_on_the_tier_that_is_confident_enough(
    tmp_path: Path, confidence: float, expected: str, hits: list[str]
) -> None:
    example, _ = blocks("python")
    with OpenAIServer() as server:
        server.script(CHEAP, invoice(confidence))
        server.script(TOP, invoice(0.99))
        printed = printed_by_example(tmp_path, example, OPENAI_API_KEY="none", OPENAI_API_BASE=server.base_url)
        assert expected in printed
        assert [hit.model for hit in server.hits] == hits


SIMULATED = """
import json
from router_core.backends.simulated import SimulatedBackend
def invoice(request, right, confidence):
    return json.dumps({"number": "4711", "total": 119.0 if right else 0.0, "confidence": confidence})
"""


def test_example_runs_without_a_key_on_the_simulated_backend(tmp_path: Path) -> None:
    example, _ = blocks("python")
    opened = 'Router.open("routing.yaml"'
    assert opened in example
    simulated = SIMULATED + example.replace(opened, f"{opened}, backend=SimulatedBackend(answer=invoice)")
    assert "number='4711'" in printed_by_example(tmp_path, simulated)


def test_every_command_in_the_readme_exists() -> None:
    shown = set(re.findall(r"(?:\$ |`)tierwise ([a-z]+)", (ROOT / "README.md").read_text("utf-8")))
    commands = set(get_group(app).commands)
    assert shown - commands == set()


def test_every_make_target_in_the_readme_exists() -> None:
    shown = set(re.findall(r"(?:\$ |`)make ([a-z]+)", (ROOT / "README.md").read_text("utf-8")))
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert shown - targets == set()


def test_everything_the_readme_links_to_is_here() -> None:
    targets = re.findall(r"\]\(([^):#]+)\)", (ROOT / "README.md").read_text("utf-8"))
    assert targets
    assert [target for target in targets if not (ROOT / target).is_file()] == []
