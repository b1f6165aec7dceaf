"""Fixtures every test may use: a reader of HTML that is stricter than a browser, and the system's browser."""

import ctypes
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import settings
from playwright.sync_api import Browser, Page, sync_playwright

# a shared machine may hold a test up at any time: only the suite as a whole has a time limit
settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where no driver is, whatever else was asked for."""
    wanting = [item for item in items if item.get_closest_marker("gpu")]
    if not wanting:
        return
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        for item in wanting:
            item.add_marker(pytest.mark.skip(reason="no CUDA driver here"))


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


# ---- pages in a browser ----------------------------------------------------------
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Closed with its module: while it is open, an event loop runs in this thread and no other may."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium, which is not installed")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture
def looked_at(browser: Browser) -> Callable[[Path, int, str], AbstractContextManager[Page]]:
    """Open a page that must fit its width, complain of nothing and ask nobody."""

    @contextmanager
    def look(file: Path, width: int, scheme: str) -> Iterator[Page]:
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
        said: list[str] = []
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on(
            "request", lambda r: said.append(r.url[:80]) if not r.url.startswith(("file:", "data:")) else None
        )
        page.goto(file.as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        yield page
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.close()
        assert said == []

    return look


@pytest.fixture(scope="session")
def cut_words() -> Callable[[Page], list[str]]:
    """Name the words of a page's charts that reach beyond them."""
    reach = """() => [...document.querySelectorAll('figure svg text')].filter((text) => {
        const a = text.getBoundingClientRect(), b = text.ownerSVGElement.getBoundingClientRect();
        return a.left < b.left - 2 || a.right > b.right + 2 || a.top < b.top - 2 || a.bottom > b.bottom + 2;
    }).map((text) => text.textContent)"""
    return lambda page: page.evaluate(reach)


@pytest.fixture
def on_paper(browser: Browser) -> Callable[[Path], AbstractContextManager[Page]]:
    """Print a page from a dark screen; its paper must be white."""

    @contextmanager
    def look(file: Path) -> Iterator[Page]:
        page = browser.new_page(viewport={"width": 720, "height": 1000}, color_scheme="dark")
        page.emulate_media(media="print")
        page.goto(file.as_uri())
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert page.evaluate("getComputedStyle(document.body).color") == "rgb(27, 36, 48)"
        yield page
        page.close()

    return look
