"""The command that looks for moves: ``propose``."""

import typer

app = typer.Typer(rich_markup_mode=None, add_completion=False)
