"""The page of a comparison in a real browser: wide and narrow, light and dark, on paper, with no word cut off, offline."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from playwright.sync_api import Page

from training.comparison import content, page

pytestmark = pytest.mark.browser

Look = Callable[[Path, int, str], AbstractContextManager[Page]]


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
def test_it_fits_cuts_nothing_and_asks_nobody(
    looked_at: Look, cut_words: Callable[[Page], list[str]], file: Path, width: int, scheme: str
) -> None:
    with looked_at(file, width, scheme) as opened:
        wide = "[...document.querySelectorAll('.wide, .cards .panel')].filter((e) => e.scrollWidth > e.clientWidth + 1).length"
        assert opened.evaluate(wide) == 0
        assert cut_words(opened) == []
        paper = opened.evaluate("getComputedStyle(document.body).backgroundColor")
        assert paper == {"light": "rgb(243, 245, 248)", "dark": "rgb(15, 19, 24)"}[scheme]


def test_paper_is_white_whatever_the_screen_is(
    on_paper: Callable[[Path], AbstractContextManager[Page]], file: Path
) -> None:
    with on_paper(file) as opened:
        assert opened.evaluate("document.documentElement.scrollWidth") <= 720
