"""What an import loads and how long it takes: `router_core` is embedded in other people's applications."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import router_core
from tests.timing import best_of

HEAVY = {
    "duckdb", "genai_prices", "litellm", "numpy", "openai", "pandas", "plotly", "polars", "pyarrow", "ruamel",
    "scipy", "sklearn", "statsmodels", "streamlit",
}  # fmt: skip
IMPORT_LIMIT_S = 0.3
HELP_LIMIT_S = 0.5
TRIES = 8
# pip compiles what it installs; a checkout is compiled by the first run that may write
WITH_BYTECODE = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
TIERWISE = Path(sys.executable).with_name("tierwise")

PUBLIC_API = [
    "Answer",
    "AsyncStream",
    "AttemptRecord",
    "CallError",
    "CheckResult",
    "Chunk",
    "Confidence",
    "ConfigError",
    "Problem",
    "Receipt",
    "RequestRejectedError",
    "RouteExhaustedError",
    "Router",
    "RouterError",
    "ShadowAnswer",
    "Stream",
    "Usage",
]


def run(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=WITH_BYTECODE).stdout


def heavy_modules_after(code: str) -> set[str]:
    names = run(f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))").splitlines()[-1]
    return HEAVY & {name.partition(".")[0] for name in json.loads(names)}


def processor_s(command: list[str | Path]) -> float:
    """Processor time of a command: its wall time on a machine that has nothing else to do."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, capture_output=True, check=True, env=WITH_BYTECODE)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_public_api_is_the_documented_list() -> None:
    assert sorted(router_core.__all__) == PUBLIC_API


def test_every_public_name_exists() -> None:
    assert [name for name in router_core.__all__ if not hasattr(router_core, name)] == []


def test_importing_the_router_loads_no_heavy_module() -> None:
    assert heavy_modules_after("from router_core import *") == set()


def test_showing_help_loads_no_heavy_module() -> None:
    code = """
import sys
from dashboard.cli import main
sys.argv = ["tierwise", "--help"]
try:
    main()
except SystemExit:
    pass
"""
    assert heavy_modules_after(code) == set()


def test_importing_the_router_is_quick() -> None:
    code = "import time; start = time.process_time(); from router_core import *; print(time.process_time() - start)"
    assert best_of(lambda: float(run(code)), IMPORT_LIMIT_S, TRIES) <= IMPORT_LIMIT_S


def test_showing_help_is_quick() -> None:
    assert best_of(lambda: processor_s([TIERWISE, "--help"]), HELP_LIMIT_S, TRIES) <= HELP_LIMIT_S
