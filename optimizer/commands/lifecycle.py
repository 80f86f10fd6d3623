"""Commands that decide about proposals: ``proposals``, ``apply``, ``dismiss``, ``snooze`` and ``rollback``."""

import typer

app = typer.Typer(rich_markup_mode=None, add_completion=False)
