"""Commands of the optimizer. Only typer and the standard library are imported at the top."""

import typer

from optimizer.commands import forecast, lifecycle, propose, simulate

app = typer.Typer(rich_markup_mode=None, add_completion=False)
app.add_typer(propose.app)
app.add_typer(lifecycle.app)
app.add_typer(forecast.app)
app.add_typer(simulate.app, name="simulate")
