"""The run report in a real browser: wide and narrow, light and dark, with no word cut off, offline."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from playwright.sync_api import Page

from training import report

pytestmark = pytest.mark.browser

Look = Callable[[Path, int, str], AbstractContextManager[Page]]


@pytest.fixture(scope="module")
def file(trained: dict[str, Path]) -> Path:
    return report.write(trained["otla"], device="cpu")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 760, 1280])
def test_it_fits_cuts_nothing_and_asks_nobody(
    file: Path, looked_at: Look, cut_words: Callable[[Page], list[str]], width: int, scheme: str
) -> None:
    with looked_at(file, width, scheme) as page:
        wide = (
            "[...document.querySelectorAll('.wide')].filter((e) => e.scrollWidth > e.clientWidth + 1).length"
        )
        assert page.evaluate(wide) == 0
        assert cut_words(page) == []
        page.click("summary")
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert paper == {"light": "rgb(243, 245, 248)", "dark": "rgb(15, 19, 24)"}[scheme]
