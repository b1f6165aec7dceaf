"""Pictures are written the same each time and leave nothing behind."""

import importlib
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import matplotlib as mpl
import pytest

from vireid.errors import MissingExtra
from vireid.evaluation.evidence import Evidence
from vireid.evaluation.measure import Measured
from vireid.evaluation.pictures import style
from vireid.evaluation.pictures.cmc import cmc
from vireid.evaluation.pictures.histogram import histogram
from vireid.evaluation.pictures.inline import inline

Run = Callable[..., tuple[Measured, Evidence]]

ELSEWHERE = """
import hashlib, sys
from matplotlib import rcParams
rcParams["lines.linewidth"] = 9  # what a caller has set must not show
from vireid.evaluation.pictures import style
@style.styled
def drawn():
    made = style.figure(title="a title")
    axes = made.add_subplot()
    axes.plot([1, 2, 3], marker="o", label="line")
    axes.fill_between([0, 1, 2], [1, 2, 3], alpha=0.2)
    axes.legend()
    return made
print(hashlib.sha256(style.svg(drawn()).encode() + style.png(drawn())).hexdigest(), "matplotlib.pyplot" in sys.modules)
"""


def test_other_processes_draw_the_same_bytes_without_pyplot() -> None:
    found = {
        subprocess.run(
            [sys.executable, "-c", ELSEWHERE],
            env={"PYTHONHASHSEED": seed, "SOURCE_DATE_EPOCH": seed, "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1
    assert found.pop().split()[1] == "False"


def test_settings_of_the_caller_are_left_alone(run: Run) -> None:
    before = dict(mpl.rcParams)
    measured, evidence = run()
    style.svg(cmc(measured.result))
    style.png(histogram(evidence))
    assert dict(mpl.rcParams) == before


def test_threads_draw_what_one_thread_draws(run: Run) -> None:
    measured, evidence = run()

    def draw(number: int) -> str:
        return style.svg(cmc(measured.result) if number % 2 else histogram(evidence))

    alone = [draw(0), draw(1)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(draw, range(4))) == alone * 2


def test_a_failed_picture_gives_the_settings_back() -> None:
    before = dict(mpl.rcParams)

    @style.styled
    def fails() -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert dict(mpl.rcParams) == before


def test_files_carry_no_date_and_words_stay_words(run: Run) -> None:
    picture = cmc(run()[0].result, "a title & <more>")
    found = style.svg(picture)
    assert "<dc:date>" not in found
    assert "Matplotlib" not in found
    root = ElementTree.fromstring(found)
    texts = [t.text for t in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "a title & <more>" in texts
    assert "rank r, counted in images" in texts
    assert b"tEXt" not in style.png(picture)


def test_inline_pictures_share_no_ids_and_follow_the_page(run: Run) -> None:
    measured, evidence = run()
    both = [inline(cmc(measured.result), "one", "says <this>"), inline(histogram(evidence), "two", "that")]
    seen: set[str] = set()
    for name, found in zip(("one", "two"), both, strict=True):
        root: Any = ElementTree.fromstring(found)
        ids = [e.get("id") for e in root.iter() if e.get("id")]
        assert len(ids) == len(set(ids))
        assert all(i.startswith(f"{name}-") for i in ids)
        assert seen.isdisjoint(ids)
        seen.update(ids)
        used = {e.get("{http://www.w3.org/1999/xlink}href") for e in root.iter()} - {None}
        used |= {e.get("clip-path")[4:-1] for e in root.iter() if e.get("clip-path")}
        assert used
        assert all(reference[1:] in ids for reference in used)
        assert root.get("role") == "img"
        assert not root.get("width")
        for colour in (style.INK, style.GRID, style.PAPER, style.FIRST):
            assert colour not in found
        assert "var(--first)" in found
    assert ElementTree.fromstring(both[0]).get("aria-label") == "says <this>"


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "vireid.evaluation.pictures.style")
    with pytest.raises(MissingExtra, match=r"pip install 'vireid\[evaluation\]'"):
        importlib.import_module("vireid.evaluation.pictures.style")
