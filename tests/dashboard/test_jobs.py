"""Jobs that the pages start in processes of their own."""

from pathlib import Path

from dashboard import jobs
from router_core.call_log.home import Home


def test_a_search_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    found = jobs.search(Home(tmp_path / "nowhere"), tmp_path / "routing.yaml")
    assert not found.ok
    assert found.said
    assert "Traceback" not in found.said
