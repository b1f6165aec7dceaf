"""The golden vectors: problems whose answers several published evaluators agree on, and what makes them."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def load(path: Path) -> ModuleType:
    """Import a file that is in no package."""
    spec = importlib.util.spec_from_file_location(f"golden_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def golden_dir(repository: Path) -> Path:
    return repository / "tests" / "golden"


@pytest.fixture(scope="session")
def golden(golden_dir: Path) -> dict[str, Any]:
    """The answers, and the image counts of the real sets."""
    content: dict[str, Any] = json.loads((golden_dir / "golden_public.json").read_text())
    return content


@pytest.fixture(scope="session")
def recipe(golden_dir: Path) -> ModuleType:
    """What makes the features."""
    return load(golden_dir / "recipe.py")


@pytest.fixture(scope="session")
def reference(golden_dir: Path) -> ModuleType:
    """A slow evaluator."""
    return load(golden_dir / "reference.py")


@pytest.fixture(scope="session")
def official_orders(request: pytest.FixtureRequest) -> Callable[[], Path]:
    """Find SYSU-MM01's file of orders, which is not ours to ship; a test that needs it is skipped without it."""

    def find() -> Path:
        shared: Path = request.getfixturevalue("shared_dir")
        return shared / "golden" / "lists" / "sysu_mm01" / "data_split" / "rand_perm_cam.mat"

    return find
