"""The HTML report in a real browser: wide and narrow, light and dark, on paper, offline."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from vireid.evaluation import report, report_html
from vireid.evaluation.album import Album
from vireid.evaluation.evidence import Evidence
from vireid.evaluation.measure import Measured

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


@pytest.fixture(scope="module")
def file(
    run: Callable[..., tuple[Measured, Evidence]], album: Album, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    measured, evidence = run(synthetic=True)
    path = tmp_path_factory.mktemp("report") / "report.html"
    return report_html.write(path, measured.result, evidence, report.made_from(measured), album)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 760, 1280])
def test_it_fits_complains_of_nothing_and_asks_nobody(
    browser: Browser, file: Path, width: int, scheme: str
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)  # type: ignore[arg-type]
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on(
        "request", lambda r: said.append(r.url[:80]) if not r.url.startswith(("file:", "data:")) else None
    )
    page.goto(file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.images].every((image) => image.complete && image.naturalWidth > 0)")
    line = page.evaluate("getComputedStyle(document.querySelector('#cmc-axes_1 path[style*=first]')).stroke")
    assert line == {"light": "rgb(0, 114, 178)", "dark": "rgb(90, 180, 234)"}[scheme]
    covered = page.evaluate(
        """() => {
            const boxes = [...document.querySelectorAll('.panel, .banner p, .tile')].map((e) => e.getBoundingClientRect());
            const meet = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1;
            const within = (a, b) => a.left > b.left - 2 && a.right < b.right + 2 && a.top > b.top - 2 && a.bottom < b.bottom + 2;
            return boxes.filter((a, i) => boxes.some((b, j) => i !== j && meet(a, b) && !within(a, b) && !within(b, a))).length;
        }"""
    )
    assert covered == 0
    page.close()
    assert said == []


def test_paper_is_white_whatever_the_screen_is(browser: Browser, file: Path) -> None:
    page = browser.new_page(viewport={"width": 720, "height": 1000}, color_scheme="dark")
    page.emulate_media(media="print")
    page.goto(file.as_uri())
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(27, 36, 48)"
    page.close()
