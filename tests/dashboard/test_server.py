"""What the server refuses before it starts anything."""

import socket
from pathlib import Path

import pytest

from dashboard.server import serve
from router_core.call_log.home import Home
from router_core.errors import ConfigError


def test_an_address_that_others_reach_is_refused(tmp_path: Path) -> None:
    home = Home(tmp_path / ".tierwise")
    with pytest.raises(ConfigError, match=r"--host.*--insecure-no-auth"):
        serve(home, host=".".join("0000"))
    assert not home.root.exists()


def test_a_port_that_is_taken_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(ConfigError, match=r"--port: cannot listen on 127\.0\.0\.1:\d+.*leave --port out"),
    ):
        serve(Home(tmp_path / ".tierwise"), port=taken.getsockname()[1])
    assert not (tmp_path / ".tierwise").exists()


def test_a_trusted_header_is_refused_where_others_could_write_it(tmp_path: Path) -> None:
    from dashboard.server import Proxy

    home = Home(tmp_path / ".tierwise")
    with pytest.raises(ConfigError, match=r"--trusted-header.*bind 127\.0\.0\.1"):
        serve(home, host=".".join("0000"), insecure_no_auth=True, proxy=Proxy(header="X-Forwarded-Email"))
    assert not home.root.exists()
