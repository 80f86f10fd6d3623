"""The console script ``tierwise``: all commands, and the one place where an error becomes a message.

Only typer and the standard library are imported at the top, so that ``--help`` is quick.
"""

import datetime as dt
import importlib.util
import json
import os
import re
import subprocess
import sys
import traceback
import zoneinfo
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from optimizer import commands as optimizer_commands
from router_core import commands
from router_core.commands import CONFIG_NAME, HomeOption, examples, find_home

if TYPE_CHECKING:
    from dashboard.demo import DemoReport
    from dashboard.server import Proxy
    from router_core.call_log.home import Home

DEBUG_VARIABLE = "TIERWISE_DEBUG"
_LONGEST_LINE = 2_000
EXAMPLE_CONFIG = "routing.yaml"
FIRST_END, LAST_END = dt.date(2001, 1, 1), dt.date(2100, 12, 31)
_HERE = Path(__file__).resolve().parent

app = typer.Typer(
    name="tierwise",
    help="Route LLM calls over cheap and strong models, log every call, and see what to move up or down.",
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def data_folder() -> Path:
    """Return the folder of the shipped data: in the wheel ``dashboard/_data``, else the checkout's ``data``."""
    packaged = _HERE / "_data"
    return packaged if packaged.is_dir() else _HERE.parent / "data"


@app.command(epilog=examples("tierwise init", "tierwise init config/routing.yaml"))
def init(
    config: Annotated[Path, typer.Argument(help="Where to write it.")] = Path(CONFIG_NAME),
) -> None:
    """Write an example routing config to start from. An existing file is never overwritten."""
    from router_core.errors import ConfigError, Problem

    example = (data_folder() / EXAMPLE_CONFIG).read_bytes()
    try:
        # "x" refuses an existing file in the same step that makes a new one
        with config.open("xb") as out:
            out.write(example)
    except FileExistsError as error:
        message = "is there already and is not overwritten; check it with: tierwise check"
        raise ConfigError(str(config), [Problem(path="", message=message)]) from error
    except OSError as error:
        message = f"cannot be written ({error.strerror}); name a file in a folder that exists and is yours"
        raise ConfigError(str(config), [Problem(path="", message=message)]) from error
    typer.echo(f"Wrote {config}. Next: set your models and keys, then tierwise check {config}")


@app.command(epilog=examples("tierwise demo", "tierwise demo --no-serve --seed 3 --end 2026-11-22"))
def demo(
    seed: Annotated[int, typer.Option(help="Places the findings and draws everything else.")] = 1,
    end: Annotated[str | None, typer.Option(metavar="DATE", help="Last simulated day. Default: yesterday.")] = None,
    days: Annotated[int | None, typer.Option(min=1, max=400, help="How many days. Default: 60.")] = None,
    no_serve: Annotated[bool, typer.Option("--no-serve", help="Stop before the dashboard.")] = False,
    port: Annotated[int | None, typer.Option(min=1, max=65_535, help="Port of the dashboard.")] = None,
    home: HomeOption = None,
) -> None:
    """Simulate an extract → classify → decide workflow, then show it.

    The real router makes the calls, on a virtual clock and over simulated models. Everything is kept in demo/ below the
    home, never beside a real log.
    """
    from dashboard.demo import FIGURES, make_demo

    if not no_serve:
        _require_dashboard("leave it out with --no-serve")
    figures = json.loads((data_folder() / FIGURES).read_text(encoding="utf-8"))
    last_day = _last_day(end, figures["timezone"])
    root = find_home(home).root
    length = days or int(figures["days"])
    with typer.progressbar(length=length, label=f"Simulating {length} days") as bar:
        report = make_demo(
            root,
            figures,
            seed=seed,
            last_day=last_day,
            days=days,
            progress=lambda done, _: bar.update(done - bar.pos),
        )
        bar.update(length - bar.pos)
    _ingest(report.home)
    _summarise(report, last_day, seed)
    if not no_serve:
        _serve(report.home, port=port)


@app.command(
    epilog=examples(
        "tierwise dashboard",
        "tierwise dashboard --port 8600 --home .tierwise/demo",
        "tierwise dashboard --trusted-header X-Forwarded-Email --public-host tierwise.example.com",
    )
)
def dashboard(
    port: Annotated[
        int | None, typer.Option(min=1, max=65_535, help="Port. Default: 8501, or a free one where it is taken.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to bind.")] = "127.0.0.1",
    insecure_no_auth: Annotated[
        bool,
        typer.Option("--insecure-no-auth", help="Bind an address that others reach; nobody is asked who they are."),
    ] = False,
    trusted_header: Annotated[
        str | None,
        typer.Option(
            "--trusted-header",
            metavar="NAME",
            help="A proxy on this machine says in this header who asks, such as X-Forwarded-Email; it must remove it "
            "from what it is asked itself. Roles are in access.yaml.",
        ),
    ] = None,
    public_host: Annotated[
        str | None, typer.Option("--public-host", metavar="NAME", help="The name under which that proxy is reached.")
    ] = None,
    home: HomeOption = None,
) -> None:
    """Show the log in the browser, and keep it up to date meanwhile."""
    _require_dashboard("")
    found = find_home(home).create()
    _serve(found, port=port, host=host, insecure_no_auth=insecure_no_auth, proxy=_proxy(trusted_header, public_host))


def _proxy(header: str | None, public_host: str | None) -> "Proxy | None":
    from router_core.errors import ConfigError, Problem

    if header is None and public_host is None:
        return None
    if header is None:
        message = "names the proxy's address; say in which header it tells who asks, with --trusted-header"
        raise ConfigError("dashboard", [Problem(path="--public-host", message=message)])
    for option, value in (("--trusted-header", header), ("--public-host", public_host)):
        if value is not None and not re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?", value):
            raise ConfigError("dashboard", [Problem(path=option, message=f"{value!r} is no name of one")])
    from dashboard.server import Proxy

    return Proxy(header=header, public_host=public_host or "")


def _require_dashboard(alternative: str) -> None:
    from router_core.errors import RouterError

    missing = [name for name in ("streamlit", "plotly") if importlib.util.find_spec(name) is None]
    if missing:
        message = f'the dashboard needs {" and ".join(missing)}: pip install "tierwise[dashboard]"'
        raise RouterError(f"{message}; or {alternative}" if alternative else message)


def _serve(
    home: "Home",
    *,
    port: int | None,
    host: str = "127.0.0.1",
    insecure_no_auth: bool = False,
    proxy: "Proxy | None" = None,
) -> None:
    from dashboard.server import serve

    code = serve(home, host=host, port=port, insecure_no_auth=insecure_no_auth, proxy=proxy)
    if code:
        raise typer.Exit(code)


def _last_day(end: str | None, zone: str) -> dt.date:
    from router_core.errors import ConfigError, Problem

    if end is None:
        return dt.datetime.now(zoneinfo.ZoneInfo(zone)).date() - dt.timedelta(days=1)
    try:
        day = dt.date.fromisoformat(end)
    except ValueError as error:
        message = f"{end!r} is no day; write it as 2026-11-22"
        raise ConfigError("--end", [Problem(path="value", message=message)]) from error
    if not FIRST_END <= day <= LAST_END:
        message = f"{end} is out of reach; give a day from {FIRST_END} to {LAST_END}"
        raise ConfigError("--end", [Problem(path="value", message=message)])
    return day


def _ingest(home: "Home") -> None:
    # in a process of its own, as everywhere, but with its progress bar to be seen
    command = [sys.executable, "-m", "dashboard.cli", "ingest", "--home", str(home.root)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False)  # noqa: S603
    if done.returncode:
        raise typer.Exit(done.returncode)


def _summarise(report: "DemoReport", last_day: dt.date, seed: int) -> None:
    from router_core.call_log.read import reading
    from router_core.call_log.report_text import spend_text
    from router_core.call_log.reports import spend
    from router_core.call_log.terminal import counted, usd

    with reading(report.home) as log:
        rows, roles = spend(log, "payload_type"), {row.key: row for row in spend(log, "role")}
    made = "Made" if report.made_now else "There already:"
    typer.echo(f"\nDEMO DATA (simulated). {made} {counted(report.calls, 'call')} up to {last_day} (seed {seed}),")
    typer.echo(f"{report.failed:,} without an answer, {counted(report.outcomes, 'outcome')}, in {report.home.root}\n")
    typer.echo(spend_text("payload_type", rows))
    shadows = roles.get("shadow")
    if shadows is not None:
        typer.echo(
            f"{usd(shadows.cost_nusd, 4)} of it went into {counted(shadows.attempts, 'shadow')}: answers that nobody"
            " was served, made to compare tiers."
        )
    typer.echo("\nPlanted:")
    for finding, where in report.planted.items():
        typer.echo(f"  {finding.removesuffix('_us').replace('_', ' ')}: {_planted_text(finding, where)}")


def _planted_text(finding: str, where: Any) -> str:
    places = where if isinstance(where, list) else [where]
    if finding.endswith("_us"):
        places = [f"{dt.datetime.fromtimestamp(us / 1e6, dt.UTC):%Y-%m-%d %H:%M}" for us in places]
        return f"{' to '.join(places)} UTC"
    return ", ".join(str(place) for place in places)


app.add_typer(commands.app)
app.add_typer(optimizer_commands.app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the console script and exit: 0 ok, 1 failed, 2 bad input.

    Args:
        arguments: What follows the program's name; None = as this process was called.
    """
    try:
        app(args=arguments, prog_name="tierwise")
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        _silence_stdout()
        sys.exit(1)
    except Exception as error:  # noqa: BLE001  # the outermost frame: whatever it was becomes one message
        sys.exit(_explained(error))


def _explained(error: Exception) -> int:
    """Print what went wrong and return the exit code."""
    from router_core.errors import ConfigError, RouterError

    if os.environ.get(DEBUG_VARIABLE):
        traceback.print_exception(error)
    if isinstance(error, ConfigError):
        _say(str(error))
        return 2
    if isinstance(error, RouterError):
        _say(str(error))
        return 1
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        _say(f"{place}{error.strerror or error}; check the path, its permissions and the free space")
        return 1
    _say(f"internal error: {type(error).__name__}: {error}\n  set {DEBUG_VARIABLE}=1 and run it again to see where")
    return 1


def _say(message: str) -> None:
    from router_core.call_log.terminal import safe

    # a message of a one-shot process of our own brings its prefix along; a message may quote anybody's text
    lines = message.removeprefix("tierwise: ").splitlines()
    typer.echo("\n".join(safe(line, _LONGEST_LINE) for line in [f"tierwise: {lines[0]}", *lines[1:]]), err=True)


def _silence_stdout() -> None:
    # the interpreter flushes stdout once more at exit and would print that the pipe is broken
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
