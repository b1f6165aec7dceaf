"""A comparison as a terminal's table, Markdown, JSON and a page: the same numbers, sound, the same bytes each time."""

import io
import json
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.console import Console
from typer.testing import CliRunner

from training.command import app
from training.comparison import charts, content, document, page, table
from training.comparison.content import Content

if TYPE_CHECKING:
    from conftest import Element

Made = Callable[..., Path]
Parsed = Callable[[str], "Element"]


@pytest.fixture
def runs(made: Made) -> list[Path]:
    """Two seeds of one method, one run of another, one scored otherwise, one without scores."""
    danet = {"method": {"name": "danet"}}
    return [
        made("s0", {1: 0.2, 2: 0.3, 3: 0.4}),
        made("s1", {1: 0.3, 3: 0.5}, settings={"seed": 1}),
        made("d0", {3: 0.6}, settings=danet),
        made("flipped", {3: 0.7}, settings=danet, flip="both"),
        made("early", {}),
    ]


@pytest.fixture
def found(runs: list[Path]) -> Content:
    return content.read(runs)


def printed(found: Content, width: int) -> str:
    out = io.StringIO()
    Console(width=width, file=out).print(table.terminal(found, width))
    return out.getvalue()


def test_a_terminal_shows_two_tables_and_why(found: Content) -> None:
    text = printed(found, 140)
    assert "their protocols differ (flip)" in text
    assert "45.0 ± 7.1" in text
    assert "60.0" in text
    assert text.count("sysu-mm01/all/single") == 2
    assert "left out  early" in text


@pytest.mark.parametrize("width", [80, 100, 140])
def test_numbers_are_whole_at_any_width(found: Content, width: int) -> None:
    text = printed(found, width)
    assert max(map(len, text.splitlines())) <= width
    assert "45.0 ± 7.1" in text
    assert "40.0 ± 7.1" in text  # mAP
    assert ("mINP" in text) is (width == 140)


def test_markdown_has_every_column(found: Content) -> None:
    text = table.markdown(found)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 2 + 2 + 1
    for name in ("Network", "Seeds", "Weights", "Rank 5", "mINP", "Runs"):
        assert f"| {name} |" in lines[0]
    assert "| s0, s1 |" in lines[2]
    assert "45.0 ± 7.1" in lines[2]
    assert "Left out: early" in text


def test_a_value_cannot_end_a_cell(made: Made) -> None:
    text = table.markdown(content.read([made("a|b", {3: 0.4})]))
    assert "a\\|b |" in text


def test_json_holds_every_number_in_full(found: Content) -> None:
    told = json.loads(document.to_json(found))
    first = told["parts"][0]["rows"][0]
    assert first["scores"]["Rank 1"]["mean"] == 0.45
    assert first["scores"]["Rank 1"]["std"] == pytest.approx(0.0707107, abs=1e-6)
    assert [run["seed"] for run in first["runs"]] == [0, 1]
    assert [run["scores"]["rank1"] for run in first["runs"]] == [0.4, 0.5]
    assert told["parts"][1]["protocol"]["flip"] == "both"
    assert "early" in told["left_out"]


def test_pictures_hold_means_of_the_runs(found: Content) -> None:
    part = found.parts[0]
    drawn = charts.charts(part.groups, part.rows)
    (cmc,) = drawn["cmc"].figure.axes
    lines = {line.get_label(): line for line in cmc.lines}
    assert list(lines) == ["1 supervised", "2 danet"]
    assert lines["1 supervised"].get_xydata()[0].tolist() == pytest.approx([1, 0.45])
    assert len(lines["1 supervised"].get_xydata()) == charts.SHOWN_RANKS
    assert lines["1 supervised"].get_color() != lines["2 danet"].get_color()
    assert lines["1 supervised"].get_marker() != lines["2 danet"].get_marker()
    (score,) = drawn["map"].figure.axes
    (line,) = score.lines  # danet was scored once
    # epochs that both seeds were scored at
    assert line.get_xydata().tolist() == [pytest.approx([1, 20.0]), pytest.approx([3, 40.0])]


def test_one_evaluation_each_draws_no_curve_over_epochs(made: Made) -> None:
    part = content.read([made("a", {3: 0.4})]).parts[0]
    assert set(charts.charts(part.groups, part.rows)) == {"cmc"}


def test_the_page_is_sound_and_needs_nothing_else(found: Content, parsed: Parsed) -> None:
    text = page.html(found)
    root = parsed(text)
    ids = [e.attributes["id"] for e in root.all() if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    for element in root.all():
        if "aria-labelledby" in element.attributes:
            assert element.attributes["aria-labelledby"] in ids
    for tag in ("script", "link", "iframe", "object", "form", "base"):
        assert not root.all(tag)
    assert set(re.findall(r"https?://[^\s\"'<]+", text)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    levels = [int(e.tag[1]) for e in root.all() if re.fullmatch(r"h[1-6]", e.tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    for each in root.all("table"):
        assert len({len(row) for row in each.rows}) == 1
        assert each.all("caption")


def test_the_page_says_what_the_runs_say(found: Content, parsed: Parsed) -> None:
    root = parsed(page.html(found))
    first, second = (root.section(f"part{number}") for number in (1, 2))
    head, supervised, danet = first.all("table")[0].rows
    assert head == ["Method", "Rank 1", "Rank 5", "Rank 10", "mAP", "mINP"]
    assert supervised == [
        "1 supervised",
        "45.00± 7.07",
        "55.00± 7.07",
        "65.00± 7.07",
        "40.00± 7.07",
        "22.50± 3.54",
    ]
    assert danet[1] == "60.00"
    assert second.all("table")[0].rows[1][0] == "3 danet"
    assert first.charts == ["part1-cmc", "part1-map"]
    assert "Not one table." in root.text
    assert "early" in root.section("left").text
    assert not any("SYNTHETIC" in banner.text for banner in root.all("div", "banner"))
    facts = {dt.text: dd.text for dt, dd in zip(first.all("dt"), first.all("dd"), strict=True)}
    assert facts["Weights"] == "last epoch"


def test_the_page_marks_what_is_no_fair_score(made: Made, parsed: Parsed) -> None:
    run = made("a", {3: 0.4}, settings={"select": "best_on_test"}, origin={"synthetic": True})
    root = parsed(page.html(content.read([run])))
    assert "1 supervised *" in root.all("table")[0].rows[1][0]
    assert "no fair score" in root.section("part1").text
    assert "SYNTHETIC" in root.all("div", "banner")[0].text


def test_names_cannot_become_markup(made: Made, parsed: Parsed) -> None:
    text = page.html(content.read([made("<b>&{{ 7 * 7 }}", {3: 0.4})]))
    assert "<b>" not in text
    assert "<b>&{{ 7 * 7 }}" in parsed(text).text


def test_the_command_writes_each_form_and_the_same_bytes(runs: list[Path], tmp_path: Path) -> None:
    def write(folder: Path) -> list[bytes]:
        paths = [folder / name for name in ("c.html", "c.json", "c.md")]
        options = ["--out", paths[0], "--json", paths[1], "--table", paths[2]]
        done = CliRunner().invoke(app, ["compare", *map(str, [*runs, *options])])
        assert done.exit_code == 0, done.output
        assert "45.0 ± 7.1" in done.output
        assert str(paths[0]) in done.output
        return [path.read_bytes() for path in paths]

    first = write(tmp_path / "one")
    assert first == write(tmp_path / "two")
    assert all(str(tmp_path).encode() not in each for each in first)
