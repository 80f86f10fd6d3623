"""The console script ``tierwise``: all commands, and the one place where an error becomes a message.

Only typer and the standard library are imported at the top, so that ``--help`` is quick.
"""

import os
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from router_core import commands
from router_core.commands import CONFIG_NAME, examples

DEBUG_VARIABLE = "TIERWISE_DEBUG"
EXAMPLE_CONFIG = "routing.yaml"
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


app.add_typer(commands.app)


def main() -> None:
    """Run the console script; exit code 0 ok, 1 failed, 2 bad input."""
    try:
        app(prog_name="tierwise")
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
    typer.echo(f"tierwise: {message}", err=True)


def _silence_stdout() -> None:
    # the interpreter flushes stdout once more at exit and would print that the pipe is broken
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
