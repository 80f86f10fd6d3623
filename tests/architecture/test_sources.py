"""Rules about the source text that neither the linter nor the layers can say."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = [name for name in ("router_core", "optimizer", "dashboard") if (ROOT / name).is_dir()]
MAX_LINES = 500
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}
THE_WRITER = Path("router_core/call_log/ingest.py")
ITS_FILE = Path("router_core/call_log/logfile.py")  # opens the log for the writer, and for nobody else


def modules(*folders: str) -> list[Path]:
    return sorted(path.relative_to(ROOT) for folder in folders for path in (ROOT / folder).rglob("*.py"))


def committed_texts() -> Iterator[tuple[Path, str]]:
    # a checkout may belong to another user than the one who tests it
    command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    for name in listed.decode().split("\0"):
        path = ROOT / name
        if not name or not path.is_file():
            continue
        try:
            yield Path(name), path.read_text("utf-8")
        except UnicodeDecodeError:
            continue  # images and logs in binary formats


def writable_connections(source: str) -> list[int]:
    """Lines that call `duckdb.connect` on a path without `read_only=True`, or attach a file without READ_ONLY."""
    tree = ast.parse(source)
    modules_of_duckdb = {"duckdb"}
    bare_names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules_of_duckdb |= {alias.asname for alias in node.names if alias.name == "duckdb" and alias.asname}
        if isinstance(node, ast.ImportFrom) and node.module == "duckdb":
            bare_names |= {alias.asname or alias.name for alias in node.names if alias.name == "connect"}
    pieces = {id(piece) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) for piece in n.values}
    texts = [n for n in ast.walk(tree) if isinstance(n, ast.Constant | ast.JoinedStr) and id(n) not in pieces]
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call)]
    return sorted(
        {call.lineno for call in calls if _connects(call, modules_of_duckdb, bare_names)}
        | {text.lineno for text in texts if _attaches(text)}
    )


def logged_tracebacks(source: str) -> list[int]:
    """Lines that hand a traceback to Python's logging."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return sorted(
        call.lineno
        for call in calls
        if any(keyword.arg in ("exc_info", "stack_info") for keyword in call.keywords)
        or (isinstance(call.func, ast.Attribute) and call.func.attr == "exception" and _is_logger(call.func.value))
        or (isinstance(call.func, ast.Attribute) and call.func.attr in ("print_exc", "format_exc", "format_exception"))
    )


def _is_logger(owner: ast.expr) -> bool:
    return isinstance(owner, ast.Name) and "log" in owner.id.lower()


@pytest.mark.parametrize("path", modules("router_core"), ids=str)
def test_the_router_logs_no_traceback(path: Path) -> None:
    # it may quote a prompt, an answer or a key: ``errors.place_of`` tells where it was
    assert logged_tracebacks((ROOT / path).read_text("utf-8")) == []


def test_every_way_to_log_a_traceback_is_seen() -> None:
    source = "\n".join(
        ["_logger.exception('x')", "log.warning('x', exc_info=True)", "traceback.format_exc()", "task.exception()"]
    )
    assert logged_tracebacks(source) == [1, 2, 3]


def _connects(call: ast.Call, modules_of_duckdb: set[str], bare_names: set[str]) -> bool:
    match call.func:
        case ast.Attribute(value=ast.Name(id=owner), attr="connect") if owner in modules_of_duckdb:
            pass
        case ast.Name(id=name) if name in bare_names:
            pass
        case _:
            return False
    target = call.args[0] if call.args else next((k.value for k in call.keywords if k.arg == "database"), None)
    if target is None:
        return False
    if isinstance(target, ast.Constant) and str(target.value).startswith(":memory:"):
        return False
    return not any(
        keyword.arg == "read_only" and isinstance(keyword.value, ast.Constant) and keyword.value.value is True
        for keyword in call.keywords
    )


def _attaches(node: ast.Constant | ast.JoinedStr) -> bool:
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    text = " ".join(str(part.value) for part in parts if isinstance(part, ast.Constant))
    return bool(re.match(r"\s*ATTACH\s+(?!'?:memory:)", text)) and "READ_ONLY" not in text


@pytest.mark.parametrize("path", modules(*PACKAGES, "tests"), ids=str)
def test_module_is_short_enough_to_read(path: Path) -> None:
    assert len((ROOT / path).read_text("utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", modules(*PACKAGES), ids=str)
def test_module_is_named_for_what_it_does(path: Path) -> None:
    assert not VAGUE_NAMES & set(path.with_suffix("").parts)


@pytest.mark.parametrize("path", [p for p in modules(*PACKAGES) if p not in {THE_WRITER, ITS_FILE}], ids=str)
def test_only_ingest_opens_the_log_for_writing(path: Path) -> None:
    assert writable_connections((ROOT / path).read_text("utf-8")) == []


def test_only_ingest_uses_what_opens_the_log_for_writing() -> None:
    users = [path for path in modules(*PACKAGES) if "logfile" in (ROOT / path).read_text("utf-8")]
    assert set(users) - {ITS_FILE} == {THE_WRITER}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import duckdb\nduckdb.connect(path)", [2]),
        ("import duckdb as d\nd.connect(path, read_only=flag)", [2]),
        ("from duckdb import connect\nconnect(database=path)", [2]),
        ("import duckdb\nduckdb.connect(path, read_only=True)", []),
        ("import duckdb\nduckdb.connect()", []),
        ("import duckdb\nduckdb.connect(':memory:')", []),
        ("db.execute(f\"ATTACH '{path}' AS log\")", [1]),
        ("db.execute(f\"ATTACH '{path}' AS log (READ_ONLY)\")", []),
    ],
)
def test_the_search_for_writing_connections_finds_them(source: str, found: list[int]) -> None:
    assert writable_connections(source) == found


def test_nothing_committed_names_one_machine_or_a_registry() -> None:
    folders_of_a_machine = "|".join(("home", "root", "work", "opt", "mnt", "Users"))
    foreign = re.compile(
        rf"(?<![\w.~$}})])/(?:{folders_of_a_machine})/\w|\bpypi\.|\bpythonhosted\.|\bregistry\.\w+\.\w"
    )
    found = [
        f"{path}:{text.count(chr(10), 0, match.start()) + 1}: {match[0]}"
        for path, text in committed_texts()
        for match in foreign.finditer(text)
    ]
    assert found == []
