"""The dashboard's server: one local process that shows a home's log."""

import contextlib
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final

from dashboard.security import LOOPBACK_NAMES, KnownHosts, SecurityHeaders, is_loopback
from router_core.call_log.home import Home
from router_core.errors import ConfigError, Problem

DEFAULT_PORT: Final = 8501
MOST_UPLOADED_MB: Final = 50
_APP = Path(__file__).resolve().parent / "app.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """A proxy on this machine that signs people in and passes on who they are.

    Attributes:
        header: The header in which it says so; it must remove the same header from what it is asked.
        public_host: The name under which people reach it; empty = it passes on a name of this machine.
    """

    header: str
    public_host: str = ""


def serve(
    home: Home,
    *,
    config: Path | None = None,
    host: str = "127.0.0.1",
    port: int | None = None,
    open_browser: bool = False,
    insecure_no_auth: bool = False,
    proxy: "Proxy | None" = None,
) -> int:
    """Show the log of ``home`` until SIGINT or SIGTERM, and return the exit code.

    Where no process takes spooled lines in, one is started for as long as the server runs.

    Args:
        home: Home of the log; it may be empty.
        config: The routing config that names the zone and the tiers' order; None = beside the home or in it.
        host: Address to bind. Only this machine's own, unless ``insecure_no_auth``.
        port: Port to bind; None = 8501, or any free one where that is taken.
        open_browser: Whether to open the page in the user's browser.
        insecure_no_auth: Whether everyone who reaches ``host`` may see the log; nobody can change anything from there.
        proxy: The proxy before the server that says who asks; None = there is none.

    Raises:
        ConfigError: The host is not this machine's own, or the port is taken.
    """
    _refuse_open_host(host, allowed=insecure_no_auth, proxied=proxy is not None)
    bound = _free_port(host, port)
    address = f"http://{f'[{host}]' if ':' in host else host}:{bound}"
    arguments = ["--home", str(home.root.resolve()), *(["--config", str(config.resolve())] if config else [])]
    # whoever reaches a loopback address is the user of this machine; elsewhere nobody is, unless they sign in
    arguments += ["--proxied"] if proxy is not None else ["--local"] if is_loopback(host) else []
    with _watched(home), _stoppable(), _arguments(arguments), contextlib.suppress(_StoppedError, KeyboardInterrupt):
        _run(address, host=host, port=bound, open_browser=open_browser, is_demo=home.is_demo, proxy=proxy)
    return 0


def _refuse_open_host(host: str, *, allowed: bool, proxied: bool) -> None:
    if proxied and not is_loopback(host):
        message = f"whoever reaches {host} could write the proxy's header themselves; bind 127.0.0.1, behind the proxy"
        raise ConfigError("dashboard", [Problem(path="--trusted-header", message=message)])
    if is_loopback(host) or allowed:
        return
    message = f"{host} can be reached by others, and the dashboard asks nobody who they are; use 127.0.0.1 and a tunnel"
    raise ConfigError("dashboard", [Problem(path="--host", message=f"{message}, or add --insecure-no-auth")])


def _free_port(host: str, port: int | None) -> int:
    reason = ""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in (DEFAULT_PORT, 0) if port is None else (port,):
        with contextlib.closing(socket.socket(family)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, candidate))
            except OSError as error:
                reason = error.strerror or str(error)
                continue
            return int(probe.getsockname()[1])
    raise ConfigError(
        "dashboard",
        [Problem(path="--port", message=f"cannot listen on {host}:{port} ({reason}); leave --port out for a free one")],
    )


class _StoppedError(Exception):
    """SIGTERM came."""


@contextlib.contextmanager
def _stoppable() -> Generator[None]:
    # the server ends cleanly on SIGTERM and then raises it once more; without this the process would die of it there,
    # before its child is ended
    def stop(_number: int, _frame: FrameType | None) -> None:
        raise _StoppedError

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _arguments(arguments: list[str]) -> Generator[None]:
    # Streamlit hands a script its arguments through sys.argv
    before = sys.argv
    sys.argv = [before[0] if before else "tierwise", *arguments]
    try:
        yield
    finally:
        sys.argv = before


@contextlib.contextmanager
def _watched(home: Home) -> Generator[None]:
    from router_core.watch import start_watch

    child = start_watch(home)
    try:
        yield
    finally:
        if child is not None:
            child.terminate()
            child.wait(10)


def _run(
    address: str, *, host: str, port: int, open_browser: bool, is_demo: bool, proxy: "Proxy | None" = None
) -> None:
    import streamlit as st
    from starlette.middleware import Middleware

    @contextlib.asynccontextmanager
    async def started(_: st.App) -> AsyncGenerator[None]:
        what = "Demo data (simulated)" if is_demo else "The log"
        sys.stdout.write(f"{what} at {address}  (Ctrl-C ends)\n")
        sys.stdout.flush()
        if open_browser:
            import webbrowser

            webbrowser.open(address)
        yield

    guards = [Middleware(SecurityHeaders)]
    if is_loopback(host):
        public = {proxy.public_host} if proxy is not None and proxy.public_host else set[str]()
        guards.append(Middleware(KnownHosts, names=LOOPBACK_NAMES | {host} | public))
    app = st.App(_APP, lifespan=started, middleware=guards)
    app.run(config=_options(host, port) | _proxy_options(proxy))


def _proxy_options(proxy: "Proxy | None") -> dict[str, Any]:
    if proxy is None:
        return {}
    origins = [f"https://{proxy.public_host}", f"http://{proxy.public_host}"] if proxy.public_host else []
    return {"server.trustedUserHeaders": {proxy.header: "email"}, "server.corsAllowedOrigins": origins}


def _options(host: str, port: int) -> dict[str, Any]:
    return {
        "server.address": host,
        "server.port": port,
        "server.headless": True,
        "server.fileWatcherType": "none",
        "server.showEmailPrompt": False,
        "server.enableStaticServing": False,
        "server.maxUploadSize": MOST_UPLOADED_MB,
        "server.enableCORS": True,
        "server.enableXsrfProtection": True,
        "browser.gatherUsageStats": False,
        "client.toolbarMode": "viewer",
        "client.showErrorDetails": "none",
        "logger.hideWelcomeMessage": True,
        "logger.level": "warning",
        # a slider and a number box that agree set each other's value, and both begin with one
        "global.disableWidgetStateDuplicationWarning": True,
        "theme.light.primaryColor": "#2458A6",
        "theme.dark.primaryColor": "#8FBFFF",
        "theme.headingFontSizes": ["1.9rem", "1.4rem", "1.2rem"],
        "theme.metricValueFontSize": "1.6rem",
        "theme.paddingTop": "2.5rem",
    }
