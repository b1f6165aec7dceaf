"""What no linter checks."""

import ast
import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ["vireid", "index", "training", "export", "server", "clients"]
FILES = [f for p in PACKAGES for f in sorted((ROOT / p).rglob("*.py")) if "_pb2" not in f.name]
MAX_LINES = 400
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "tools", "core", "manager", "base_utils"}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("package", PACKAGES)
def test_package_resolves_to_this_checkout(package: str) -> None:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin == str(ROOT / package / "__init__.py")


def test_every_root_package_is_declared() -> None:
    found = {p.parent.name for p in ROOT.glob("*/__init__.py")}
    assert found == set(PACKAGES)


@pytest.mark.parametrize("path", FILES, ids=name)
def test_file_is_short_named_and_described(path: Path) -> None:
    source = path.read_text()
    assert source.count("\n") <= MAX_LINES
    assert path.stem not in VAGUE
    assert ast.get_docstring(ast.parse(source))


def test_every_command_of_the_catalogue_exists() -> None:
    from vireid.command import CATALOGUE

    for module, line in CATALOGUE.values():
        assert importlib.util.find_spec(module) is not None, (
            f"{module} is in the catalogue but not in the tree"
        )
        assert line.endswith(".")


def test_large_files_stay_out() -> None:
    ignored = {".git", ".venv", "node_modules", "dist", "build"}
    for path in ROOT.rglob("*"):
        if path.is_file() and not ignored.intersection(path.relative_to(ROOT).parts):
            assert path.stat().st_size < 20_000_000, name(path)
