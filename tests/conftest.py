"""Fixtures every test may use, and a reader of HTML that is stricter than a browser."""

from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import settings

# a shared machine may hold a test up at any time: only the suite as a whole has a time limit
settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")


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
    """Builds the tree and refuses what a lenient browser would mend."""

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
def parsed() -> Callable[[str | Path], Element]:
    """Read a page, or the file that holds one."""
    return lambda page: Tree(page if isinstance(page, str) else page.read_text()).root


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout's root."""
    return Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared_dir(repository: Path) -> Path:
    """Material that is not part of the project: golden vectors, real crops, weights.

    Looked for in a folder named ``shared`` beside the checkout; a test that needs it is skipped without it.
    """
    path = repository.parent / "shared"
    if not path.is_dir():
        pytest.skip("needs the material of ../shared, which is not here")
    return path
