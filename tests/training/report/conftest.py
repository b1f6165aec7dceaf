"""Small runs of two methods on drawn blocks, and a parser that refuses what a browser would mend."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch

from training import run
from training.checkpoint import RUN
from training.settings import RunSettings

VOID = {"meta", "img", "br"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str | None]
    children: list["Element | str"] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(c if isinstance(c, str) else c.text for c in self.children)

    def all(self, tag: str = "", cls: str = "") -> "list[Element]":
        found = []
        for child in self.children:
            if isinstance(child, Element):
                classes = (child.attributes.get("class") or "").split()
                if (not tag or child.tag == tag) and (not cls or cls in classes):
                    found.append(child)
                found += child.all(tag, cls)
        return found

    @property
    def rows(self) -> list[list[str]]:
        """The words of a table's cells."""
        return [[c.text for c in row.children if isinstance(c, Element)] for row in self.all("tr")]

    def section(self, name: str) -> "Element":
        (found,) = (s for s in self.all("section") if s.attributes["aria-labelledby"] == name)
        return found

    @property
    def charts(self) -> list[str]:
        """The names in front of the pictures' ids."""
        return [
            str(g.attributes["id"]).removesuffix("-figure_1")
            for g in self.all("g")
            if str(g.attributes.get("id")).endswith("-figure_1")
        ]


class Tree(HTMLParser):
    def __init__(self, content: str) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("", {})
        self.open = [self.root]
        self.feed(content)
        self.close()
        assert self.open == [self.root], f"left open: {[e.tag for e in self.open]}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"an attribute twice on {tag}"
        element = Element(tag, dict(attrs))
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].children.append(data)


@pytest.fixture(scope="session")
def parsed() -> Callable[[Path], Element]:
    return lambda path: Tree(path.read_text()).root


@pytest.fixture(scope="session")
def recipe() -> Callable[..., RunSettings]:
    def make(**changed: Any) -> RunSettings:
        usual = {
            "epochs": 3,
            "iterations": 2,
            "seed": 5,
            "threads": 1,
            "evaluate_first": True,
            "evaluate_every": 2,
            "tensorboard": "off",
            "model": {"name": "two-stream-resnet18", "width": 0.125, "height": 64, "columns": 32},
            "data": {"persons": 3, "images": 2, "pad": 2},
            "optimiser": {"rate": 1e-3},
            "schedule": {"warmup_epochs": 1},
        }
        return RunSettings.model_validate(usual | changed)

    return make


@pytest.fixture(scope="session")
def trained(
    blocks: Path, tmp_path_factory: pytest.TempPathFactory, recipe: Callable[..., RunSettings]
) -> dict[str, Path]:
    """A finished run of each kind; tests that change one take a copy."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("runs")
    kinds: dict[str, dict[str, Any]] = {"supervised": {}, "otla": {"method": {"name": "otla"}}}
    for name, changed in kinds.items():
        run.start(root / name, recipe(**changed), blocks, None, "cpu").loop.train()
    return {name: root / name for name in kinds}


@pytest.fixture
def alone(copy: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """Copy a run whose dataset is gone: its report takes a fraction of the time."""

    def make(name: str) -> Path:
        folder = copy(name)
        origin = json.loads((folder / RUN).read_text())
        (folder / RUN).write_text(json.dumps(origin | {"root": str(tmp_path / "gone")}))
        return folder

    return make


@pytest.fixture
def copy(trained: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    def make(name: str) -> Path:
        return Path(shutil.copytree(trained[name], tmp_path / name))

    return make
