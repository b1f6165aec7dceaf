"""The HTML report in a real browser: wide and narrow, light and dark, on paper, offline."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from playwright.sync_api import Page

from vireid.evaluation import report, report_html
from vireid.evaluation.album import Album
from vireid.evaluation.evidence import Evidence
from vireid.evaluation.measure import Measured

pytestmark = pytest.mark.browser


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
    looked_at: Callable[[Path, int, str], AbstractContextManager[Page]], file: Path, width: int, scheme: str
) -> None:
    with looked_at(file, width, scheme) as page:
        assert page.evaluate(
            "[...document.images].every((image) => image.complete && image.naturalWidth > 0)"
        )
        line = page.evaluate(
            "getComputedStyle(document.querySelector('#cmc-axes_1 path[style*=first]')).stroke"
        )
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


def test_paper_is_white_whatever_the_screen_is(
    on_paper: Callable[[Path], AbstractContextManager[Page]], file: Path
) -> None:
    with on_paper(file):
        pass
