"""The HTML report: what stands in it, that it is sound, and that nothing in a name becomes markup."""

import base64
import importlib
import io
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from vireid.datasets import open_dataset
from vireid.errors import DatasetError, MissingExtra
from vireid.evaluation import report, report_html
from vireid.evaluation.album import Album
from vireid.evaluation.evidence import Evidence, gather, merge
from vireid.evaluation.features import Features
from vireid.evaluation.measure import Case, Measured, measure
from vireid.evaluation.protocol import Rerank
from vireid.evaluation.protocols import preset

if TYPE_CHECKING:
    from conftest import Element

Run = Callable[..., tuple[Measured, Evidence]]
Parsed = Callable[[str | Path], "Element"]
Rendered = Callable[..., "tuple[Element, str, Measured, Evidence]"]

EVIL = """"><script>alert('x')</script>&amp; {{ 7 * 7 }}"""


@pytest.fixture
def rendered(parsed: Parsed) -> "Rendered":
    def make(run: Run, album: Album | None, **options: object) -> "tuple[Element, str, Measured, Evidence]":
        measured, evidence = run(**options)
        content = report_html.html(measured.result, evidence, report.made_from(measured), album)
        return parsed(content), content, measured, evidence

    return make


def cells(table: "Element") -> list[list[str]]:
    return [
        [c.text.strip() for c in row.children if not isinstance(c, str) and c.tag in {"th", "td"}]
        for row in table.all("tr")
    ]


def test_the_document_is_sound_and_needs_nothing_else(run: Run, album: Album, rendered: Rendered) -> None:
    root, content, _, _ = rendered(run, album)
    assert content.startswith('<!doctype html>\n<html lang="en">')
    ids = [e.attributes["id"] for e in root.all() if "id" in e.attributes]
    assert len(ids) == len(set(ids))
    for element in root.all():
        assert "onload" not in element.attributes
        for name in ("aria-labelledby",):
            if name in element.attributes:
                assert element.attributes[name] in ids
        for name in ("src", "href", "xlink:href", "data", "action"):
            value = element.attributes.get(name)
            assert value is None or value.startswith(("data:image/jpeg;base64,", "#")), value
    for tag in ("script", "link", "iframe", "object", "form", "base"):
        assert not root.all(tag)
    # names of the SVG language are no addresses that anybody asks for
    foreign = set(re.findall(r"https?://[^\s\"'<]+", content))
    assert foreign <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert "@import" not in content
    assert not re.findall(r"url\((?!#)", content)
    (policy,) = (e for e in root.all("meta") if "http-equiv" in e.attributes)
    assert "default-src 'none'" in str(policy.attributes["content"])
    assert len(root.all("h1")) == 1
    assert len(root.all("title")) == 1
    levels = [int(e.tag[1]) for e in root.all() if re.fullmatch(r"h[1-6]", e.tag)]
    assert all(after <= before + 1 for before, after in pairwise(levels))
    for image in root.all("img"):
        assert image.attributes["alt"]
    for table in root.all("table"):
        assert len({len(row) for row in cells(table)}) == 1
        assert table.all("caption")
    for svg in root.all("svg"):
        assert svg.attributes.get("aria-label") or svg.attributes.get("aria-hidden") == "true"


def test_the_tables_hold_the_result(run: Run, album: Album, rendered: Rendered) -> None:
    root, _, measured, evidence = rendered(run, album)
    result = measured.result
    headline, missed, trials = root.all("table")
    rows = cells(headline)[1:]
    assert [row[0] for row in rows] == ["Rank 1", "Rank 5", "Rank 10", "Rank 20", "mAP", "mINP"]
    each = np.array([list(t.average.named(result.ranks).values()) for t in result.trials])
    for row, column in zip(rows, each.T, strict=True):
        mean, deviation, lowest, highest = row[2:]
        assert mean == f"{100 * column.mean():.2f}"
        assert deviation == f"± {100 * column.std(ddof=1):.2f}"
        assert (lowest, highest) == (f"{100 * column.min():.2f}", f"{100 * column.max():.2f}")
    assert [row[2] for row in rows] == [f"{100 * v:.2f}" for v in result.mean.named(result.ranks).values()]
    body = cells(trials)[1:-2]
    for row, t in zip(body, result.trials, strict=True):
        counts = [t.number, t.scores.n_query, t.scores.n_valid, t.n_gallery]
        assert row[:4] == [str(n) for n in counts]
        assert row[4:] == [f"{100 * v:.2f}" for v in t.average.named(result.ranks).values()]
    assert cells(trials)[-2][0] == "Mean"
    assert cells(trials)[-1][4:] == [f"{100 * v:.2f}" for v in result.std.named(result.ranks).values()]
    found = np.array([t.det.at(np.array([0.1]))[0] for t in evidence.trials])
    spread = f"{100 * found.min():.2f} to {100 * found.max():.2f}"
    # fewer than a hundred searches cannot show one false alarm in a hundred
    assert cells(missed)[1:] == [["10", f"{100 * found.mean():.2f}", spread]]


def test_the_protocol_stands_there_in_words(run: Run, album: Album, rendered: Rendered) -> None:
    root, _, measured, _ = rendered(run, album)
    said = [li.text for ul in root.all("ul", "words") for li in ul.all("li")]
    assert len(said) == len(measured.result.protocol.words)
    for sentence, part in zip(said, measured.result.protocol.words, strict=True):
        assert sentence.lower() == f"{part.lower()}."
    assert root.all("h1")[0].text == measured.result.protocol.name


def test_every_answer_is_shown_with_sign_score_and_camera(run: Run, album: Album, rendered: Rendered) -> None:
    root, _, _, evidence = rendered(run, album)
    lists = root.all("ol", "tiles")
    assert len(lists) == len(evidence.lists)
    for row, shown in zip(lists, evidence.lists, strict=True):
        query, *answers = row.all("li")
        assert f"camera gate {shown.query.camera}" in query.text
        assert len(answers) == len(shown.answers)
        for tile, answer in zip(answers, shown.answers, strict=True):
            classes = str(tile.attributes["class"]).split()
            assert classes == ["tile", "right" if answer.right else "wrong"]
            sign = "✓ the person asked for" if answer.right else "✗ somebody else"
            assert f"{answer.rank} {sign}" in tile.text
            assert f"{answer.score:.3f}camera gate {answer.sample.camera}" in tile.text
            (image,) = tile.all("img")
            content = base64.b64decode(str(image.attributes["src"]).partition(",")[2])
            with Image.open(io.BytesIO(content)) as decoded:
                assert decoded.format == "JPEG"
                height, width, _ = album.image(answer.sample).shape  # type: ignore[union-attr]
                assert decoded.size == (width, height)
    groups = [h.text for h in root.all("h3")]
    assert groups[-3:] == ["Best queries", "Median queries", "Worst queries"]


def test_large_images_become_thumbnails(run: Run, rendered: Rendered) -> None:
    large = Album(lambda _: np.zeros((900, 300, 3), dtype=np.uint8))
    root, content, _, _ = rendered(run, large)
    with Image.open(
        io.BytesIO(base64.b64decode(str(root.all("img")[0].attributes["src"]).partition(",")[2]))
    ) as one:
        assert max(one.size) == 160
    assert len(content) < 1_000_000


def test_drawn_people_are_called_so_first(run: Run, album: Album, rendered: Rendered) -> None:
    root, _, _, _ = rendered(run, album, synthetic=True)
    (banner,) = root.all("div", "banner")
    assert "SYNTHETIC IMAGES" in banner.text
    assert root.all("title")[0].text.startswith("SYNTHETIC")
    real, content, _, _ = rendered(run, album)
    assert not real.all("div", "banner")
    assert "SYNTHETIC" not in content


def test_one_trial_has_no_deviation(run: Run, album: Album, rendered: Rendered) -> None:
    root, content, measured, _ = rendered(run, album, trials=1)
    headline, missed, trials = root.all("table")
    assert cells(headline)[0] == ["Measure", "Bar", "Value"]
    assert cells(missed)[0] == ["FPIR, %", "FNIR, %"]
    assert len(cells(trials)) == 2
    assert "±" not in content
    assert cells(headline)[1][2] == f"{100 * measured.result.mean.rank(1):.2f}"


def test_re_ranking_is_told(run: Run, album: Album, rendered: Rendered) -> None:
    root, content, _, _ = rendered(run, album, rerank=Rerank(k1=5, k2=2, candidates=8))
    assert "Scores are those before re-ranking" in content
    assert any("re-ranked by k-reciprocal" in li.text for li in root.all("li"))


def test_without_images_there_are_still_lists(run: Run, rendered: Rendered) -> None:
    root, content, _, evidence = rendered(run, None)
    assert not root.all("img")
    assert "<span>no image</span>" not in content
    assert "The images themselves were not at hand." in content
    assert len(root.all("li", "tile")) == sum(1 + len(shown.answers) for shown in evidence.lists)


def test_images_that_are_not_kept_have_their_place(run: Run, album: Album, parsed: Parsed) -> None:
    measured, evidence = run()
    gone = evidence.lists[0].query
    some = replace(album, image=lambda sample: None if sample == gone else album.image(sample))
    root = parsed(report_html.html(measured.result, evidence, {}, some))
    assert [li.text.count("no image") for li in root.all("li", "tile")][:2] == [1, 0]
    assert "not at hand" not in root.text


def test_identity_splits_are_called_splits(
    regdb_tree: Callable[[], Path], album: Album, parsed: Parsed
) -> None:
    protocol = preset("regdb", trial=0)
    root_folder, random = regdb_tree(), np.random.default_rng(0)

    def make(part: object) -> Case:
        dataset = open_dataset("regdb", root_folder, part.trials[0])  # type: ignore[attr-defined]
        sides = (random.standard_normal((len(s), 4)) for s in (dataset.query, dataset.gallery))
        return Case(dataset, Features(*sides), given=True)

    parts: list[Evidence] = []
    measured = measure(protocol, make, watch=lambda c, p: parts.append(gather(c, p)))
    content = report_html.html(measured.result, merge(parts), report.made_from(measured), album)
    root = parsed(content)
    assert [h.text for h in root.all("h2")][3] == "Splits"
    assert "identity splits." not in content
    facts = root.all("dl", "facts")[0]
    assert [(t.text, d.text) for t, d in zip(facts.all("dt"), facts.all("dd"), strict=True)] == [
        ("Identity splits", "10"),
        ("Queries", "4"),
        ("Valid queries", "4"),
        ("Gallery images", "4"),
    ]
    names = [dt.text for dt in root.all("dl", "made")[0].all("dt")]
    assert "split › 10 › query › sha256" in names
    one = measure(replace(protocol, trials=(1,)), make)
    alone = report_html.html(one.result, parts[0], report.made_from(one), album)
    assert "1 of 10 identity splits." in alone


def test_names_never_become_markup(run: Run, album: Album, parsed: Parsed) -> None:
    measured, evidence = run(synthetic=True)
    protocol = replace(
        measured.result.protocol, name=EVIL, asks=EVIL, finds=EVIL, preset=EVIL, changed=(EVIL,)
    )
    content = report_html.html(
        replace(measured.result, protocol=protocol),
        replace(evidence, score=EVIL),
        {EVIL: EVIL, "list": [EVIL, {EVIL: EVIL}]},
        replace(album, camera=lambda _: EVIL),
    )
    root = parsed(content)
    assert not root.all("script")
    assert "49" not in root.all("h1")[0].text
    assert root.all("h1")[0].text == EVIL
    assert [dd.text for dd in root.all("dl", "made")[0].all("dd")] == [EVIL] * 3
    assert EVIL in root.all("li", "tile")[0].text
    assert "<script" not in content


def test_provenance_is_told_line_by_line(run: Run, album: Album, parsed: Parsed) -> None:
    measured, evidence = run()
    given = {
        "bundle": "night shift",
        "empty": "",
        "nothing": None,
        "numbers": {"images": 12345, "share": 0.5, "kept": True},
        "one": [{"sha256": "ab"}],
        "two_words": ["a", "b"],
    }
    root = parsed(report_html.html(measured.result, evidence, given, album))
    made = root.all("dl", "made")[0]
    assert [(t.text, d.text) for t, d in zip(made.all("dt"), made.all("dd"), strict=True)] == [
        ("bundle", "night shift"),
        ("numbers › images", "12,345"),
        ("numbers › share", "0.5"),
        ("numbers › kept", "True"),
        ("one › sha256", "ab"),
        ("two words › 1", "a"),
        ("two words › 2", "b"),
    ]


def test_what_a_report_says_of_its_origin(run: Run) -> None:
    measured, _ = run()
    made = report.made_from(measured)
    assert set(made) == {"code", "query", "gallery", "features_sha256"}  # no split and no bundle to tell of


def test_files_are_the_same_each_time(run: Run, album: Album, tmp_path: Path) -> None:
    measured, evidence = run(synthetic=True)
    evidence = replace(evidence, lists=evidence.lists[::4])
    for name in ("one", "two"):
        path = tmp_path / name / "report.html"
        assert report_html.write(path, measured.result, evidence, report.made_from(measured), album) == path
        written = report_html.write_pictures(tmp_path / name / "pictures", measured.result, evidence, album)
        assert all(file.stat().st_size > 1000 for file in written)
        assert [f.name for f in written] == [
            f"{picture}.{kind}"
            for picture in ("cmc", "precision-recall", "histogram", "det", "ranked-lists")
            for kind in ("svg", "png")
        ]
    one, two = (sorted((tmp_path / name).rglob("*.*")) for name in ("one", "two"))
    assert len(one) == 11
    assert [f.read_bytes() for f in one] == [f.read_bytes() for f in two]
    for file in tmp_path.rglob("*.svg"):
        assert "SYNTHETIC IMAGES" in file.read_text()
    assert str(tmp_path) not in (tmp_path / "one/report.html").read_text()


def test_no_ranked_lists_are_drawn_without_images(run: Run, tmp_path: Path) -> None:
    measured, evidence = run()
    written = report_html.write_pictures(tmp_path, measured.result, evidence, None)
    assert len(written) == 8
    assert not list(tmp_path.glob("ranked-lists.*"))


def test_a_missing_image_leaves_no_half_report(run: Run, tmp_path: Path) -> None:
    measured, evidence = run()
    with pytest.raises(DatasetError, match="cannot be read"):
        report_html.write(tmp_path / "report.html", measured.result, evidence, {})
    with pytest.raises(DatasetError, match="cannot be read"):
        report_html.write_pictures(tmp_path / "pictures", measured.result, evidence)
    assert not list(tmp_path.rglob("*.*"))


def test_without_jinja_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    monkeypatch.delitem(sys.modules, "vireid.evaluation.report_html")
    monkeypatch.delitem(sys.modules, "vireid.evaluation.page")
    with pytest.raises(MissingExtra, match=r"pip install 'vireid\[evaluation\]'"):
        importlib.import_module("vireid.evaluation.report_html")


def test_evaluating_without_a_report_loads_no_pictures() -> None:
    code = "import sys, vireid.evaluation.command; print(sorted({'matplotlib', 'jinja2', 'sklearn'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
