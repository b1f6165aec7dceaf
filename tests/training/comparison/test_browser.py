"""The page of a comparison in a real browser: wide and narrow, light and dark, on paper, with no word cut off, offline."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from training.comparison import content, page

pytestmark = pytest.mark.browser

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
def file(made: Callable[..., Path], tmp_path: Path) -> Path:
    """Eleven rows: more than there are colours, with and without labels, two of one method."""
    rows = [{"method": {"name": "supervised", "cross_weight": weight}} for weight in (0.0, 0.5, 1.0)] + [
        {"method": {"name": "otla", "setting": "semi-supervised", "delta": delta}} for delta in range(2, 10)
    ]
    runs = [
        made(
            f"run-{row}-{seed}",
            {1: 0.02 * row, 2: 0.1, 3: 0.1 + 0.05 * row},
            settings={"seed": seed, **settings},
        )
        for row, settings in enumerate(rows)
        for seed in (1, 2)
    ]
    path = tmp_path / "compare.html"
    path.write_text(page.html(content.read([*runs, made("flipped", {3: 0.4}, flip="both")])))
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 760, 1280])
def test_it_fits_cuts_nothing_and_asks_nobody(browser: Browser, file: Path, width: int, scheme: str) -> None:
    opened = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on(
        "request", lambda r: said.append(r.url[:80]) if not r.url.startswith(("file:", "data:")) else None
    )
    opened.goto(file.as_uri())
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    wide = "[...document.querySelectorAll('.wide, .cards .panel')].filter((e) => e.scrollWidth > e.clientWidth + 1).length"
    assert opened.evaluate(wide) == 0
    cut = opened.evaluate(
        """() => [...document.querySelectorAll('figure svg text')].filter((text) => {
            const a = text.getBoundingClientRect(), b = text.ownerSVGElement.getBoundingClientRect();
            return a.left < b.left - 2 || a.right > b.right + 2 || a.top < b.top - 2 || a.bottom > b.bottom + 2;
        }).map((text) => text.textContent)"""
    )
    assert cut == []
    paper = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(243, 245, 248)", "dark": "rgb(15, 19, 24)"}[scheme]
    opened.close()
    assert said == []


def test_paper_is_white_whatever_the_screen_is(browser: Browser, file: Path) -> None:
    opened = browser.new_page(viewport={"width": 720, "height": 1000}, color_scheme="dark")
    opened.emulate_media(media="print")
    opened.goto(file.as_uri())
    assert opened.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert opened.evaluate("getComputedStyle(document.body).color") == "rgb(27, 36, 48)"
    assert opened.evaluate("document.documentElement.scrollWidth") <= 720
    opened.close()
