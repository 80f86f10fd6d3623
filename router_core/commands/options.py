"""What several commands share: their common options, where the log is, how JSON is printed.

Only typer and the standard library are imported at the top, so that ``--help`` is quick.
"""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from router_core.call_log.home import Home

CONFIG_NAME = "routing.yaml"
HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home",
        envvar="TIERWISE_HOME",
        help="Folder of the log. Default: .tierwise beside ./routing.yaml.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for a program to read.")]


class Bar(Protocol):
    """A progress bar that was entered.

    Attributes:
        pos: Steps that are done.
    """

    pos: int

    def update(self, n_steps: int) -> None:
        """Go on by so many steps."""


def progress_bar(label: str, length: int) -> "AbstractContextManager[Bar]":
    """Return a progress bar on stderr, to enter; where that is no terminal nothing is shown.

    Args:
        label: What is being done.
        length: Steps that make it complete.
    """
    return typer.progressbar(length=length, label=label, file=sys.stderr, hidden=not sys.stderr.isatty())


def examples(*lines: str) -> str:
    """Return the examples that end a command's help."""
    return "\n".join(("\b", "Examples:", *(f"  {line}" for line in lines)))


def find_home(home: Path | None) -> "Home":
    """Return the home that is meant: the one given, else the one beside ``./routing.yaml``.

    Raises:
        ConfigError: It is on a network file system.
    """
    from router_core.call_log.filesystems import NETWORK_VARIABLE, refuse_network
    from router_core.call_log.home import home_beside

    found = home_beside(Path(CONFIG_NAME), str(home) if home is not None else None)
    refuse_network(found.root, os.environ.get(NETWORK_VARIABLE))
    return found


def existing_home(home: Path | None) -> "Home":
    """Return the home that is meant, which must hold a log already.

    Raises:
        ConfigError: There is none.
    """
    from router_core.errors import ConfigError, Problem

    found = find_home(home)
    if not found.spool.is_dir():
        message = "no log here; name its folder with --home, or make one: tierwise demo, tierwise import FILE"
        if found.demo.is_demo:
            message = f"no log here but the demo's; to see that one: --home {found.demo.root}"
        raise ConfigError(str(found.root), [Problem(path="home", message=message)])
    return found


def configured_zone(home: "Home") -> str:
    """Return the zone of days that the home's config names; UTC, said aloud, where it cannot be used."""
    from router_core.control.config_file import config_of
    from router_core.errors import ConfigError

    try:
        config = config_of(home)
    except ConfigError as error:
        typer.echo(
            f"tierwise: {error.source} cannot be used, so days are UTC; see: tierwise check {error.source}", err=True
        )
        return "UTC"
    return "UTC" if config is None else config.timezone


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    import orjson

    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())
