"""What an import loads and how long it takes: `router_core` is embedded in other people's applications."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import router_core

HEAVY = {
    "duckdb", "genai_prices", "litellm", "numpy", "openai", "pandas", "plotly", "polars", "pyarrow", "ruamel",
    "scipy", "sklearn", "statsmodels", "streamlit",
}  # fmt: skip
IMPORT_LIMIT_S = 0.3
HELP_LIMIT_S = 0.5
TRIES = 8
TIERWISE = Path(sys.executable).with_name("tierwise")

PUBLIC_API = [
    "Answer",
    "AttemptRecord",
    "CallError",
    "CheckResult",
    "Confidence",
    "ConfigError",
    "Problem",
    "Receipt",
    "RequestRejectedError",
    "RouteExhaustedError",
    "Router",
    "RouterError",
    "Usage",
]


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def heavy_modules_after(code: str) -> set[str]:
    names = run(f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))").splitlines()[-1]
    return HEAVY & {name.partition(".")[0] for name in json.loads(names)}


def best_of(measure_s: Callable[[], float], limit_s: float) -> float:
    """The shortest of several measurements, because other work on the machine only ever adds time."""
    best = measure_s()
    for _ in range(TRIES - 1):
        if best <= limit_s:
            break
        best = min(best, measure_s())
    return best


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
    code = "import time; start = time.perf_counter(); from router_core import *; print(time.perf_counter() - start)"
    assert best_of(lambda: float(run(code)), IMPORT_LIMIT_S) <= IMPORT_LIMIT_S


def test_showing_help_is_quick() -> None:
    def wall_s() -> float:
        start = time.perf_counter()
        subprocess.run([TIERWISE, "--help"], capture_output=True, check=True)
        return time.perf_counter() - start

    assert best_of(wall_s, HELP_LIMIT_S) <= HELP_LIMIT_S
