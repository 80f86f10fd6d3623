"""Pages of single calls and payload types over small logs that the real ingester made."""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from streamlit.testing.v1 import AppTest

from dashboard.components.links import Links
from dashboard.desk import Place, Search
from dashboard.source import HomeSource
from router_core.call_log.home import Home
from router_core.control.records import Actor
from tests.dashboard.desks import APPROVER, FakeDesk, FakePlace

HOSTILE = "<img src=x onerror=alert(1)> ![x](https://evil.example/p.png) $3→$1 =1+1 \u202egnp :red[x] " + "x" * 300


@dataclass(kw_only=True)
class Shelf:
    """A home with what its pages are given, and where their links led.

    Attributes:
        root: The home.
        desk: Proposals.
        actor: Who sits before the page.
        opened: Pages that were opened, in order.
        imported: Uploads that were tried or imported.
        said: What an import comes to.
    """

    root: Path
    desk: FakeDesk = field(default_factory=FakeDesk)
    actor: Actor = APPROVER
    opened: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    imported: list[tuple[object, ...]] = field(default_factory=list[tuple[object, ...]])
    said: Search = field(default_factory=lambda: Search(ok=True, said="2 rows read"))

    @property
    def library(self) -> HomeSource:
        return HomeSource(Home(self.root))

    @property
    def place(self) -> Place:
        # who acts is asked at every write, as on the real pages
        return replace(FakePlace(desk=self.desk, log=self.library).place(), who=lambda: self.actor)

    @property
    def links(self) -> Links:
        return Links(
            payload_type=lambda name: self.opened.append(("type", name)),
            call=lambda call_id: self.opened.append(("call", call_id)),
            page=lambda name: self.opened.append(("page", name)),
        )

    def upload(self, *arguments: object) -> Search:
        self.imported.append(arguments)
        return self.said


def words(app: AppTest) -> str:
    """Return everything that a page says, without the escapes of Markdown."""
    elements = (
        *app.title,
        *app.subheader,
        *app.markdown,
        *app.caption,
        *app.text,
        *app.success,
        *app.warning,
        *app.error,
        *app.code,
    )
    return "\n".join(str(element.value) for element in elements).replace("\\", "").replace("\u2060", "")


def run(app: AppTest, **address: str | list[str]) -> AppTest:
    """Run a page at an address, and refuse one that shows an exception or a number that is none."""
    for name, value in address.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception
    said = words(app)
    assert not re.search(r"\b(nan|NaN|None)\b", said)
    return app
