"""Imports point one way: schemas ← storage ← {connectors, router, runner} ← hub. Sources are read, not imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]

MAY_IMPORT: Final[dict[str, frozenset[str]]] = {
    "schemas": frozenset(),
    "storage": frozenset({"schemas"}),
    "connectors": frozenset({"schemas", "storage"}),
    "router": frozenset({"schemas", "storage"}),
    "runner": frozenset({"schemas", "storage"}),
    "sandbox": frozenset({"schemas"}),
    "hub": frozenset({"schemas", "storage", "connectors", "router", "runner", "sandbox"}),
}
"""Besides itself. The three workers meet on topics and in tables; only hub wires."""

OURS: Final = frozenset(MAY_IMPORT) | {"tests", "benchmarks", "examples"}


def imports_of(source: str, *, package: str) -> Iterator[tuple[int, str]]:
    """Line and dotted name of every import in `source`, wherever it stands; relative ones are resolved in `package`.

    Names given to `import_module` as a literal count, because they are imports in disguise.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                base = ".".join([*parts[: len(parts) - node.level + 1], *([base] if base else [])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module") and node.args:
            first = node.args[0]
            if isinstance(first, ast.JoinedStr):
                first = first.values[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield node.lineno, first.value


def crossings(source: str, *, path: str) -> list[str]:
    """What in the file at `path` (relative to the root) points the wrong way."""
    parts = Path(path).with_suffix("").parts
    layer = parts[0]
    found: list[str] = []
    for line, name in imports_of(source, package=".".join(parts[:-1])):
        top, *rest = name.split(".")
        if top not in OURS:
            continue
        if top != layer and top not in MAY_IMPORT[layer]:
            found.append(
                f"{path}:{line} imports {name}: {layer} may import {sorted(MAY_IMPORT[layer]) or 'nothing'} of ours"
            )
        if layer == top == "connectors" and rest and rest[0] in folders() and rest[0] != parts[1]:
            found.append(f"{path}:{line} imports {name}: a connector is a folder of its own")
    return found


def folders() -> set[str]:
    """The connectors."""
    return {path.name for path in (ROOT / "connectors").iterdir() if (path / "connector.py").exists()}


def sources(layer: str) -> list[Path]:
    return sorted(path for path in (ROOT / layer).rglob("*.py") if "__pycache__" not in path.parts)


@pytest.mark.parametrize("layer", MAY_IMPORT)
def test_imports_point_one_way(layer: str) -> None:
    files = sources(layer)
    assert files
    found = [
        crossing
        for path in files
        for crossing in crossings(path.read_text(encoding="utf-8"), path=path.relative_to(ROOT).as_posix())
    ]
    assert found == []


def test_every_package_of_the_distribution_has_a_layer() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "benchmarks", "examples"}
    assert packages == set(MAY_IMPORT)


def test_the_shared_part_of_the_connectors_names_none_of_them() -> None:
    """A fifth connector is one new folder and no edit elsewhere."""
    assert folders() >= {"github", "jira", "sentry", "slack"}
    for path in (ROOT / "connectors").glob("*.py"):
        named = [
            name
            for _, name in imports_of(path.read_text(encoding="utf-8"), package="connectors")
            if name.startswith("connectors.") and name.split(".")[1] in folders()
        ]
        assert named == [], path.name


@pytest.mark.parametrize(
    ("path", "source", "says"),
    [
        ("schemas/event.py", "from storage import tables", "schemas may import nothing"),
        ("storage/runs.py", "import connectors.base", "storage may import ['schemas']"),
        (
            "runner/turn.py",
            "def f():\n    from router.rules import Rule",
            "runner/turn.py:2 imports router.rules.Rule",
        ),
        ("router/engine.py", "import json, hub.settings", "imports hub.settings"),
        (
            "connectors/outbox.py",
            "import importlib\nimportlib.import_module('runner.turn')",
            "imports runner.turn",
        ),
        ("connectors/outbox.py", "import importlib\nimportlib.import_module(f'hub.{name}')", "imports hub."),
        ("sandbox/app.py", "from storage.database import Database", "sandbox may import ['schemas']"),
        ("connectors/jira/poster.py", "from connectors.github.poster import x", "a folder of its own"),
        ("connectors/jira/poster.py", "from ..github import poster", "a folder of its own"),
        ("hub/hub.py", "from tests.conftest import x", "imports tests.conftest.x"),
    ],
)
def test_the_check_sees_a_crossing(path: str, source: str, says: str) -> None:
    assert says in "\n".join(crossings(source, path=path))


@pytest.mark.parametrize(
    ("path", "source"),
    [
        (
            "connectors/jira/poster.py",
            "from connectors.poster import Poster\nfrom . import adf\nfrom ..calls import call",
        ),
        ("hub/hub.py", "from runner.worker import Worker\nfrom sandbox.server import serve"),
        (
            "storage/runs.py",
            "import sqlalchemy\nfrom schemas.dispatch import Dispatch\nfrom storage import outbox",
        ),
    ],
)
def test_the_check_lets_the_right_way_pass(path: str, source: str) -> None:
    assert crossings(source, path=path) == []
