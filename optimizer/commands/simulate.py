"""Commands that rehearse: ``simulate cap``."""

import typer

app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    no_args_is_help=True,
    help="Rehearse a change on the log you have.",
)
