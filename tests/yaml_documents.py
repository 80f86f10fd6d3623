"""Random YAML files with comments, anchors, aliases, block and flow style, for the laws of reading and editing."""

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from router_core.config.scalars import text_of

TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"), exclude_characters="\ufeff\u2028\u2029\ufffe\uffff"),
    max_size=8,
)
KEYS = st.sampled_from(["path", "tier", "usd", "a b", "größe", "*", "x.y", "🙂", "on", "12"])
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-99, 10**12), st.floats(allow_nan=False, width=32), TEXTS, st.dates()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.one_of(KEYS, TEXTS), inner, max_size=3),
    max_leaves=6,
)
COMMENTS = st.sampled_from(["", "", "", "  # why", " # größe: [x, {", " # 'quoted' #"])
LINES = st.sampled_from(["", "", "", "", "\n", "# on a line: of its own\n", "#-\n\n"])
FAR_LINES = LINES | st.just("          # far right\n")


@dataclass
class Writer:
    """Writes one random document; every choice of style is drawn."""

    draw: Any
    anchors: bool
    lines: st.SearchStrategy[str] = LINES
    names: list[str] = field(default_factory=list)
    mapping_names: list[str] = field(default_factory=list)

    def document(self) -> str:
        text = self.draw(self.lines) + self.mapping(0, self.draw(st.integers(1, 4)), 0)
        ends = self.draw(st.sampled_from(["", "", "# the end\n", "\n\n"]))
        text += ends
        if self.draw(st.booleans()):
            text = "---\n" + text
        if self.draw(st.integers(0, 3)) == 0:
            text += "end: 1"
        return text

    def mapping(self, indent: int, size: int, depth: int) -> str:
        keys = self.draw(st.lists(KEYS, min_size=size, max_size=size, unique=True))
        lines = ""
        if self.anchors and self.mapping_names and self.draw(st.integers(0, 3)) == 0:
            lines += f"{' ' * indent}<<: *{self.draw(st.sampled_from(self.mapping_names))}\n"
        for key in keys:
            lines += f"{' ' * indent}{text_of(key)}:{self.value(indent, depth, in_mapping=True)}{self.draw(self.lines)}"
        return lines

    def value(self, indent: int, depth: int, *, in_mapping: bool) -> str:
        """Return what stands after ``key:`` or ``-``, to the end of its last line."""
        kinds = ["scalar", "scalar", "flow", "literal", "quoted", "nothing"]
        kinds += ["mapping", "sequence", "mapping", "sequence"] if depth < 3 else []
        kinds += ["alias", "alias"] if self.anchors and self.names else []
        kind = self.draw(st.sampled_from(kinds))
        if kind == "alias":
            return f" *{self.draw(st.sampled_from(self.names))}{self.comment()}"
        anchor, name = self.anchor() if kind != "nothing" else ("", None)
        written = getattr(self, f"_{kind}")(indent, depth, anchor, in_mapping)
        if name is not None:
            self.names.append(name)
            if kind == "mapping":
                self.mapping_names.append(name)
        return written

    def anchor(self) -> tuple[str, str | None]:
        if not self.anchors or self.draw(st.integers(0, 2)):
            return "", None
        name = f"n{len(self.names)}x{self.draw(st.integers(0, 10**6))}"
        return f" &{name}", name

    def comment(self) -> str:
        return self.draw(COMMENTS) + "\n"

    def _nothing(self, indent: int, depth: int, anchor: str, in_mapping: bool) -> str:
        return self.comment()

    def _scalar(self, indent: int, depth: int, anchor: str, in_mapping: bool) -> str:
        return f"{anchor} {text_of(self.draw(SCALARS))}{self.comment()}"

    def _quoted(self, indent: int, depth: int, anchor: str, in_mapping: bool) -> str:
        text = self.draw(
            st.sampled_from(["it''s", "", "# none", "a: b", "größe 🙂", "two\n\n" + " " * (indent + 1) + "lines"])
        )
        return f"{anchor} '{text}'{self.comment()}"

    def _literal(self, indent: int, depth: int, anchor: str, in_mapping: bool) -> str:
        head = self.draw(st.sampled_from(["|", ">", "|-", ">+", "|+"]))
        pad = " " * (indent + 2)
        body = self.draw(st.sampled_from([f"{pad}text\n", f"{pad}# no comment\n\n{pad}é\n", f"{pad}a\n\n\n"]))
        return f"{anchor} {head}\n{body}"

    def _flow(self, indent: int, depth: int, anchor: str, in_mapping: bool) -> str:
        return f"{anchor} {self.flow(indent, 2)}{self.comment()}"

    def flow(self, indent: int, depth: int) -> str:
        if depth == 0 or self.draw(st.booleans()):
            return text_of(self.draw(SCALARS))
        gap = self.draw(st.sampled_from([" ", " ", "", f"\n{' ' * (indent + 1)}", f" # why\n{' ' * (indent + 1)}"]))
        tail = self.draw(st.sampled_from(["", "", " ", ","]))
        size = self.draw(st.integers(0, 3))
        if self.draw(st.booleans()):
            items = [self.flow(indent, depth - 1) for _ in range(size)]
            return "[" + f",{gap}".join(items) + (tail if items else "") + "]"
        keys = self.draw(st.lists(KEYS, min_size=size, max_size=size, unique=True))
        pairs = [f"{text_of(key)}: {self.flow(indent, depth - 1)}" for key in keys]
        return "{" + f",{gap}".join(pairs) + (tail if pairs else "") + "}"

    def _mapping(self, indent: int, depth: int, anchor: str, in_mapping: bool) -> str:
        step = self.draw(st.integers(1, 4))
        inner = self.mapping(indent + step, self.draw(st.integers(1, 3)), depth + 1)
        compact = not in_mapping and not anchor and step > 1 and self.draw(st.booleans())
        if compact:
            return " " * (step - 1) + inner.lstrip(" ")
        return f"{anchor}{self.comment()}{self.draw(self.lines)}{inner}"

    def _sequence(self, indent: int, depth: int, anchor: str, in_mapping: bool) -> str:
        step = self.draw(st.integers(0 if in_mapping else 1, 3))
        pad = " " * (indent + step)
        lines = f"{anchor}{self.comment()}{self.draw(self.lines)}"
        for _ in range(self.draw(st.integers(1, 3))):
            lines += f"{pad}-{self.value(indent + step, depth + 1, in_mapping=False)}{self.draw(self.lines)}"
        return lines


@st.composite
def yaml_files(draw: Any, *, anchors: bool, far_comments: bool = True) -> bytes:
    """Bytes of a YAML file whose top is a mapping in block style.

    Comments far to the right turn into text when what stands between them and a block scalar is removed.
    """
    text = Writer(draw, anchors, FAR_LINES if far_comments else LINES).document()
    if draw(st.integers(0, 3)) == 0:
        text = text.replace("\n", "\r\n")
    if draw(st.integers(0, 4)) == 0:
        text = "\ufeff" + text
    return text.encode()


TIERS = ("cheap", "mid", "top")
_ROUTING_TYPES = ("x.extract", "x.classify", "größe: ü", "*", "a b", "x.decide")


@dataclass
class RoutingWriter:
    """Writes one valid routing config; where and how its values stand is drawn."""

    draw: Any
    anchors: bool
    names: dict[str, tuple[str, ...]] = field(default_factory=dict[str, "tuple[str, ...]"])

    def file(self) -> tuple[str, dict[str, tuple[str, ...]]]:
        """Return the text, and the path of each payload type."""
        fewest = 2 if self.anchors else 1
        types = self.draw(st.lists(st.sampled_from(_ROUTING_TYPES), min_size=fewest, max_size=4, unique=True))
        paths: dict[str, tuple[str, ...]] = {}
        flow = not self.anchors and self.draw(st.integers(0, 4)) == 0
        body = "{" if flow else self.end()
        for name in types:
            shared = self.draw(st.sampled_from(sorted(self.names))) if self.names and self.chance(2) else None
            paths[name] = self.names[shared] if shared else self.path()
            if flow:
                body += f"{text_of(name)}: {{path: {self.flow(paths[name])}, error_cost_usd: 1}},{self.gap('  ')}"
            else:
                body += f"  {text_of(name)}:{self.rule(paths[name], shared)}{self.draw(LINES)}"
        text = "version: 1" + self.end() + self.draw(LINES)
        text += "tiers:" + self.end() + "".join(f"  {t}: [{{model: a/{t}}}]{self.end()}" for t in TIERS)
        text += f"payload_types: {body}" + (f"}}{self.end()}" if flow else "")
        text += "prices: {" + ", ".join(f"a/{t}: {{input: 1, output: 2}}" for t in TIERS) + "}" + self.end()
        return text, paths

    def rule(self, path: tuple[str, ...], shared: str | None) -> str:
        if shared is None and not self.anchors and self.chance(3):
            return f" {{path: {self.flow(path)},{self.gap('    ')}error_cost_usd: 0.5}}{self.end()}"
        pad = " " * self.draw(st.integers(3, 6))
        before, after = self.draw(st.sampled_from(["", f"{pad}critical: true{self.end()}"])), ""
        if self.chance(2):
            after = f"{pad}error_cost_usd: 2.50{self.end()}"
        return f"{self.end()}{before}{pad}path:{self.steps(pad, path, shared)}{after}"

    def steps(self, pad: str, path: tuple[str, ...], shared: str | None) -> str:
        if shared is not None:
            return f" *{shared}{self.end()}"
        anchor = ""
        if self.anchors and self.chance(2):
            name = f"p{len(self.names)}"
            self.names[name] = path
            anchor = f" &{name}"
        if self.chance(2):
            return f"{anchor} {self.flow(path)}{self.end()}"
        dash = pad + " " * self.draw(st.integers(0, 2)) + "-" + " " * self.draw(st.integers(1, 3))
        return f"{anchor}{self.end()}" + "".join(f"{dash}{self.tier(tier)}{self.end()}" for tier in path)

    def path(self) -> tuple[str, ...]:
        return tuple(self.draw(st.sampled_from([("top",), ("mid", "top"), ("cheap", "mid", "top"), ("cheap", "top")])))

    def flow(self, path: tuple[str, ...]) -> str:
        return "[" + f",{self.gap('        ')}".join(self.tier(tier) for tier in path) + "]"

    def tier(self, tier: str) -> str:
        return self.draw(st.sampled_from([tier, tier, f'"{tier}"', f"{{tier: {tier}}}"]))

    def gap(self, indent: str) -> str:
        return self.draw(st.sampled_from([" ", " ", f"\n{indent}", f" # why\n{indent}"]))

    def end(self) -> str:
        return self.draw(COMMENTS) + "\n"

    def chance(self, of: int) -> bool:
        return self.draw(st.integers(1, of)) == 1


@st.composite
def routing_files(draw: Any, *, anchors: bool) -> tuple[bytes, dict[str, tuple[str, ...]]]:
    """Bytes of a valid routing config in any style, and the tiers of each payload type's path."""
    text, paths = RoutingWriter(draw, anchors).file()
    if draw(st.integers(0, 3)) == 0:
        text = text.replace("\n", "\r\n")
    return text.encode(), paths
