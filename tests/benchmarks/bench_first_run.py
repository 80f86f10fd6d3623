"""How long a newcomer waits: import, help, the demo until its page answers. Prints figures; never fails on time."""

import os
import re
import resource
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import pytest

pytestmark = pytest.mark.bench

ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
TIERWISE = str(Path(sys.executable).with_name("tierwise"))
TRIES = 7


def _show(measure: str, limit: str, figure: str) -> None:
    print(f"  {measure:<52} {limit:<14} {figure}")


def _median_s(command: Sequence[str]) -> float:
    taken: list[float] = []
    for _ in range(TRIES):
        began = time.perf_counter()
        subprocess.run(command, env=ENVIRONMENT, capture_output=True, check=True)
        taken.append(time.perf_counter() - began)
    return sorted(taken)[TRIES // 2]


def test_start_of_the_import_and_of_the_help() -> None:
    print()
    bare = _median_s([sys.executable, "-c", "pass"])
    pydantic = _median_s([sys.executable, "-c", "import pydantic; pydantic.BaseModel"]) - bare
    whole = _median_s([sys.executable, "-c", "from router_core import *"]) - bare
    _show("from router_core import *, beyond a bare Python", "<= 0.3 s", f"{whole:.2f} s ({pydantic:.2f} s pydantic)")
    _show("tierwise --help, whole process", "<= 0.5 s", f"{_median_s([TIERWISE, '--help']):.2f} s")


def test_demo_until_its_page_answers(tmp_path: Path) -> None:
    print()
    began = time.perf_counter()
    with subprocess.Popen(
        [TIERWISE, "demo", "--home", str(tmp_path)], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    ) as demo:
        try:
            said: list[str] = []
            address = None
            for line in demo.stdout or ():
                said.append(line)
                if found := re.search(r"http://\S+", line):
                    address = found[0].rstrip("/")
                    break
            assert address is not None, said
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=30) as response:
                assert response.read() == b"ok"
            taken = time.perf_counter() - began
        finally:
            demo.terminate()
            demo.wait(30)
    calls = int(re.search(r"([\d,]+) calls", "".join(said))[1].replace(",", ""))  # pyright: ignore[reportOptionalSubscript]
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    _show(f"tierwise demo, {calls:,} calls, until its page answers", "<= 60 s", f"{taken:.1f} s")
    _show("its processes, processor time", "", f"{used.ru_utime + used.ru_stime:.1f} s")
    _show("its processes, largest memory", "", f"{used.ru_maxrss / 1024:,.0f} MiB")
