"""What centres would bring, against NumPy, and the command that says so, applies them and goes back."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from index.centring import Sample, crossings, gap, learn, sample
from index.command import app
from index.disk import FILE
from index.gallery import Gallery
from index.records import Enrolment, Records
from tests.index.conftest import DIM, unit
from vireid.arrays import Float32Array, Float64Array, Int64Array
from vireid.engines.fake import FakeEngine
from vireid.errors import FailedPrecondition, GalleryMismatch, InvalidRequest
from vireid.images.preprocess import Preprocess
from vireid.types import Modality

Make = Callable[..., Enrolment]
EMPTY = np.empty((0, DIM), np.float32), np.empty(0, np.int64), list[str]()


def leaning(person: object, modality: Modality, take: int) -> Float32Array:
    row = unit(("person", person)) + 0.5 * unit((person, modality, take)) + 2 * unit(("modality", modality))
    moved: Float32Array = (row / np.linalg.norm(row)).astype(np.float32)
    return moved


@pytest.fixture
def filled(gallery: Gallery, enrolment: Make) -> Gallery:
    """Twenty people, two visible and three infrared images of each, and strangers that are seen in the visible only."""
    batch = [
        enrolment(f"{p}-{m.word}-{take}", modality=m, vector=leaning(p, m, take), person=f"p{p}")
        for p in range(20)
        for m, takes in ((Modality.VISIBLE, 2), (Modality.INFRARED, 3))
        for take in range(takes)
    ]
    batch += [
        enrolment(f"stranger-{n}", vector=leaning(("stranger", n), Modality.VISIBLE, 0), person="")
        for n in range(10)
    ]
    gallery.enroll(batch)
    return gallery


def unitary(rows: Float64Array) -> Float64Array:
    length: Float64Array = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return length


def average_precision(scores: Float64Array, right: np.ndarray) -> float:
    ranked = right[np.argsort(-scores, kind="stable")]
    places = np.flatnonzero(ranked)
    return float(np.mean([(ranked[: at + 1].sum()) / (at + 1) for at in places]))


@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_map_before_and_after_is_what_numpy_finds(filled: Gallery, strength: float) -> None:
    means = learn(filled.records)
    of = sample(filled.records, *EMPTY)
    found = {one.asks: one for one in crossings(of, means, None, means.centres(strength))}
    assert list(found) == [Modality.INFRARED, Modality.VISIBLE]
    rows, kinds, persons = of.rows.astype(np.float64), of.modalities, of.persons
    for asks in Modality:
        ask = np.flatnonzero((kinds == asks) & (persons >= 0))
        there = np.flatnonzero(kinds != asks)
        plain = [
            average_precision(rows[there] @ rows[at], persons[there] == persons[at]) for at in ask.tolist()
        ]
        moved = unitary(rows[there] - strength * rows[there].mean(axis=0))
        centred = []
        for at in ask.tolist():
            others = rows[(kinds == asks) & (np.arange(len(rows)) != at)].mean(axis=0)
            query = unitary((rows[at] - strength * others)[None])[0]
            centred.append(average_precision(moved @ query, persons[there] == persons[at]))
        assert found[asks].before.mean_ap == pytest.approx(np.mean(plain), abs=1e-5)
        assert found[asks].after.mean_ap == pytest.approx(np.mean(centred), abs=1e-5)
        assert found[asks].after.n_valid == len(ask)
        # these modalities lie apart by a constant and nothing else
        assert found[asks].after.mean_ap > found[asks].before.mean_ap + 0.02


def test_the_gap_is_what_numpy_finds(filled: Gallery) -> None:
    means = learn(filled.records)
    of = sample(filled.records, *EMPTY)
    centres = means.centres()
    for rows, told in ((of.rows, gap(of, None)), (centres.applied(of.rows, of.modalities), gap(of, centres))):
        cosines = rows.astype(np.float64) @ rows.astype(np.float64).T
        same = of.modalities[:, None] == of.modalities[None, :]
        alone = np.eye(len(rows), dtype=bool)
        for kind in Modality:
            mine = (of.modalities == kind)[:, None] & same & ~alone
            assert told.within[kind] == pytest.approx(cosines[mine].mean(), abs=1e-9)
        assert told.across == pytest.approx(cosines[~same].mean(), abs=1e-9)
        cosines[alone] = -np.inf
        nearest = np.argsort(-cosines, axis=1)[:, :10]
        assert told.mixed == pytest.approx(np.mean(of.modalities[nearest] != of.modalities[:, None]))
        assert told.chance == pytest.approx((~same).sum() / (len(rows) * (len(rows) - 1)))
    assert gap(of, None).across < gap(of, None).within[0] - 0.5
    assert gap(of, centres).mixed > gap(of, None).mixed + 0.2


def test_without_labels_or_a_second_modality_there_is_nothing_to_say(
    gallery: Gallery, enrolment: Make
) -> None:
    gallery.enroll([enrolment(f"i{n}", vector=leaning(n, Modality.VISIBLE, 0)) for n in range(50)])
    means = learn(gallery.records)
    centres = means.centres(half=True)
    of = sample(gallery.records, *EMPTY)
    assert list(crossings(of, means, None, centres)) == []
    told = gap(of, centres)
    assert np.isnan([told.within[1], told.across, told.mixed]).all()
    assert np.isfinite(told.within[0])


def test_images_that_only_ask_are_found_by_nobody(gallery: Gallery, enrolment: Make) -> None:
    """A visible gallery, infrared vectors beside it: they ask, and the gallery alone is found."""
    gallery.enroll(
        [
            enrolment(
                f"i{n}", vector=leaning(n, Modality.VISIBLE, 0), person=f"p{n}", modality=Modality.VISIBLE
            )
            for n in range(40)
        ]
    )
    rows = np.stack([leaning(n, Modality.INFRARED, 0) for n in range(40)])
    asking: tuple[Float32Array, Int64Array, list[str]] = (
        rows,
        np.ones(40, np.int64),
        [f"p{n}" for n in range(40)],
    )
    means = learn(gallery.records)
    means.take_in(*asking[:2])
    of = sample(gallery.records, *asking)
    assert of.stored.sum() == 40
    (found,) = crossings(of, means, None, means.centres())
    assert found.asks is Modality.INFRARED
    assert found.before.n_valid == 40
    assert found.after.mean_ap > found.before.mean_ap


def test_a_large_gallery_is_sampled(filled: Gallery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("index.centring.MOST", 60)
    of: Sample = sample(filled.records, *EMPTY)
    everyone = {tuple(row) for row in filled.labelled().vectors.tolist()}
    assert len(of.rows) == 60
    assert sum(tuple(row) in everyone for row in of.rows[of.persons >= 0].tolist()) == (of.persons >= 0).sum()


def run(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=True)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Forty people in both modalities, as a folder that says so."""
    root = tmp_path / "images"
    for person in range(40):
        pixels = np.random.default_rng(person).integers(0, 255, (8, 4, 3)).astype(np.uint8)
        for modality in ("visible", "infrared"):
            folder = root / modality / f"p{person}"
            folder.mkdir(parents=True)
            seen = pixels if modality == "visible" else pixels.mean(axis=2, keepdims=True).repeat(3, axis=2)
            Image.fromarray(seen.astype(np.uint8)).resize((64, 128)).save(folder / "1_0.png")
    return root


def centre(root: Path, *more: object) -> tuple[int, str]:
    return run("centre", root, "--gallery", "g", "--bundle", "fake", *more)


def test_the_command_measures_then_centres_then_goes_back(images: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    run("build", root, "--gallery", "g", "--images", images, "--bundle", "fake")
    query = images / "infrared/p7/1_0.png"
    plain = run(
        "search", root, "--gallery", "g", "--image", query, "--bundle", "fake", "--modality", "infrared"
    )
    code, told = centre(root, "--evaluate")
    assert code == 0
    assert re.search(r"infrared finds visible: mAP \d\.\d{3} -> \d\.\d{3}, Rank-1 .* \(40 queries", told)
    assert "visible finds infrared: mAP" in told
    assert "no accuracy" not in told
    assert "nothing was changed" in told
    assert "centred" not in run("info", root)[1]
    code, told = centre(root, "--strength", 0.5)
    assert code == 0
    assert re.match(
        r"g: centred since version 4, .* UTC, by the means of 40 visible and 40 infrared vectors, strength 0.5",
        told,
    )
    assert told.removeprefix("g: ") in run("info", root)[1]
    centred = run(
        "search", root, "--gallery", "g", "--image", query, "--bundle", "fake", "--modality", "infrared"
    )
    assert centred[1].splitlines()[0].endswith("80 of 80 items compared, centred by version 4")
    assert centred[1] != plain[1]
    assert (
        "g: 80 unchanged" in run("build", root, "--gallery", "g", "--images", images, "--bundle", "fake")[1]
    )
    assert run("verify", root)[0] == 0
    assert "80 items of 64 numbers" in run("recall", root, "--gallery", "g", "--backend", "scan")[1]
    assert "before: centred since version 4" in centre(root, "--evaluate")[1]
    code, told = centre(root, "--back")
    assert (code, told) == (0, "g: not centred, version 5\n")
    assert (
        run("search", root, "--gallery", "g", "--image", query, "--bundle", "fake", "--modality", "infrared")
        == plain
    )
    with pytest.raises(FailedPrecondition, match="not centred"):
        centre(root, "--back")


def test_one_modality_takes_images_of_the_other_or_says_so(images: Path, tmp_path: Path) -> None:
    root, day = tmp_path / "data", tmp_path / "day"
    day.mkdir()
    (images / "visible").rename(day / "visible")
    run("build", root, "--gallery", "g", "--images", day, "--bundle", "fake")
    with pytest.raises(FailedPrecondition, match="40 visible and 0 infrared") as caught:
        centre(root)
    assert caught.value.stable_reason == "TOO_FEW_TO_CENTRE"
    (images / "infrared/p3/2_0.png").write_bytes(b"no image")
    code, told = centre(root, "--query-images", images, "--evaluate")
    assert code == 1  # an image was refused, and said so
    assert "[NOT_AN_IMAGE]" in told
    assert "(40 queries, each left out of its mean)" in told
    assert "visible finds infrared" not in told  # there is nothing infrared to be found
    code, told = centre(root, "--query-images", images)
    assert "by the means of 40 visible and 40 infrared vectors" in told
    assert "g: ready, 40 items" in run("info", root)[1]  # none was enrolled
    centre(root, "--back")
    code, told = centre(root, "--half")
    assert code == 0
    assert "by the means of 40 visible and 0 infrared vectors" in told


def test_without_labels_the_gap_is_told_as_no_accuracy(images: Path, tmp_path: Path) -> None:
    lines = ["path,modality"] + [
        f"{place.relative_to(images)},{place.parts[-3]}" for place in sorted(images.rglob("*.png"))
    ]
    (images / "manifest.csv").write_text("\n".join(lines))
    root = tmp_path / "data"
    run("build", root, "--gallery", "g", "--images", images, "--bundle", "fake")
    code, told = centre(root, "--evaluate")
    assert code == 0
    assert "mAP" not in told
    assert re.search(r"mean cosine within visible .* across .* of the ten nearest .* by chance", told)
    assert "no accuracy" in told


def test_what_does_not_go_together_is_refused(images: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    run("build", root, "--gallery", "g", "--images", images, "--bundle", "fake")
    with pytest.raises(InvalidRequest, match="alone"):
        centre(root, "--back", "--evaluate")
    with pytest.raises(InvalidRequest, match="strength"):
        centre(root, "--strength", 0)
    records = Records(root / "galleries/g" / FILE)
    records.amend(replace(records.head, space_id="9" * 64))
    records.close()
    with pytest.raises(GalleryMismatch, match="give the bundle"):
        centre(root, "--query-images", images)


def test_another_bundle_begins_without_centres_and_says_so(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, other = tmp_path / "data", FakeEngine(dim=48)
    run("build", root, "--gallery", "g", "--images", images, "--bundle", "fake")
    centre(root)
    before = run("info", root)[1]
    monkeypatch.setattr("index.reembed_command.open_model", lambda *_: (other, Preprocess(*other.input_size)))
    code, told = run("reembed", root, "--gallery", "g")
    assert code == 0
    assert "not centred; the centres before are of the space before" in told
    assert "centred since" not in run("info", root)[1]
    code, told = run("reembed", root, "--gallery", "g", "--back")
    assert code == 0
    assert "g: centred since version 4" in told
    assert before.splitlines()[1] in run("info", root)[1]
