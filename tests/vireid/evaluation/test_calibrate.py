"""Calibration is fitted as it says, and holds for people it was not fitted on."""

import json
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from vireid import bundle
from vireid.calibration import Calibration
from vireid.datasets import open_dataset
from vireid.engines.fake import FakeEngine
from vireid.errors import EvaluationError, MissingExtra
from vireid.evaluation import calibrate_command, reliability, trial_searches
from vireid.evaluation.calibrate import RATES, calibrate, curve, measurable
from vireid.evaluation.command import app
from vireid.evaluation.trial_searches import People
from vireid.types import Modality

VISIBLE, INFRARED = Modality.VISIBLE, Modality.INFRARED
PERSONS = 320


def drawn(seed, persons=160, cameras=(0, 0, 1, 1), each=2, dim=16, spread=0.8):
    """Unit rows around the centres of people and of what each kind of camera makes of them."""
    random = np.random.default_rng(seed)
    person = np.repeat(np.arange(persons), len(cameras) * each)
    camera = np.tile(np.repeat(np.arange(len(cameras)), each), persons)
    modality = np.array(cameras)[camera]
    seen = random.standard_normal((persons, 2, dim))
    centre = random.standard_normal((persons, dim))
    rows = centre[person] + 0.4 * seen[person, modality] + spread * random.standard_normal((len(person), dim))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return People(rows.astype(np.float32), person + 1000, camera, modality.astype(np.int64))


# ---- searches -------------------------------------------------------------------
def test_searches_are_those_one_would_write_down(monkeypatch):
    people = drawn(0, persons=9, each=2)
    monkeypatch.setattr(trial_searches, "_CELLS", 100)
    for one, other in trial_searches.halves(people, (INFRARED, VISIBLE), splits=3, seed=4):
        mine, theirs = set(one.asked.tolist()), set(other.asked.tolist())
        assert not mine & theirs
        assert mine | theirs == set(people.person.tolist())
        for half, members in ((one, mine), (other, theirs)):
            rows = [i for i in range(len(people.person)) if people.person[i] in members]
            asks = [i for i in rows if people.modality[i] == INFRARED]
            finds = [i for i in rows if people.modality[i] == VISIBLE]
            assert half.people == len(members)
            assert half.images == len(finds)
            np.testing.assert_array_equal(half.asked, people.person[asks])
            for n, q in enumerate(asks):
                hits = sorted(
                    (
                        (float(people.vectors[q].astype(float) @ people.vectors[g].astype(float)), g)
                        for g in finds
                    ),
                    key=lambda hit: -hit[0],
                )[: trial_searches.HITS]
                length = len(hits)
                np.testing.assert_allclose(half.score[n, :length], [s for s, _ in hits])
                assert (half.score[n, length:] == -np.inf).all()
                same = [people.person[g] == people.person[q] for _, g in hits]
                np.testing.assert_array_equal(half.same[n, :length], same)
                assert half.stranger[n] == pytest.approx(
                    max(s for s, g in hits if people.person[g] != people.person[q])
                )
            assert half.there.all()


def test_nobody_finds_themselves_in_their_own_camera():
    people = drawn(1, persons=8, cameras=(0,), each=3)
    (one, _), *_ = trial_searches.halves(people, (VISIBLE, VISIBLE), splits=1)
    assert not one.there.any()
    assert not one.same[np.isfinite(one.score)].any()
    assert len(one.hits(10)[0]) == 0
    assert np.isfinite(one.stranger).all()


@pytest.mark.parametrize("rows", [np.zeros((3, 2)), np.full((4, 2), np.nan)])
def test_people_who_do_not_fit_are_refused(rows):
    labels = np.zeros(4, dtype=np.int64)
    with pytest.raises(EvaluationError):
        People(rows, labels, labels, labels)


# ---- curve ----------------------------------------------------------------------
def test_the_curve_goes_through_the_middle_of_isotonic_steps():
    random = np.random.default_rng(0)
    score = random.uniform(-1, 1, 20000)
    same = random.random(20000) < 1 / (1 + np.exp(-6 * score))
    knots, heights = curve(score, same)
    steps = IsotonicRegression().fit_transform(score, same)
    levels = np.unique(steps)
    assert len(knots) == len(levels)
    for level, knot, height in zip(levels, knots, heights, strict=True):
        inside = steps == level
        assert abs(height - level) < 1 / inside.sum()
        assert knot == pytest.approx(score[inside].mean())
    grid = np.linspace(-0.9, 0.9, 50)
    np.testing.assert_allclose(np.interp(grid, knots, heights), 1 / (1 + np.exp(-6 * grid)), atol=0.08)


@given(st.lists(st.tuples(st.integers(-5, 5), st.booleans()), min_size=1, max_size=60))
def test_the_curve_rises_and_is_never_certain(hits):
    knots, heights = curve(np.array([s / 10 for s, _ in hits]), np.array([same for _, same in hits]))
    assert len(knots) >= 2
    assert (np.diff(knots) > 0).all()
    assert (np.diff(heights) >= 0).all()
    assert ((heights > 0) & (heights < 1)).all()


def test_scikit_learn_is_asked_for_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.isotonic", None)
    with pytest.raises(MissingExtra, match=r"vireid\[evaluation\]"):
        curve(np.zeros(3), np.zeros(3, dtype=bool))


# ---- reliability ----------------------------------------------------------------
@given(st.lists(st.tuples(st.integers(0, 8), st.booleans()), min_size=1, max_size=80))
def test_the_area_under_the_roc_is_that_of_scikit_learn(hits):
    told = np.array([p / 8 for p, _ in hits])
    right = np.array([r for _, r in hits])
    expected = roc_auc_score(right, told) if 0 < right.sum() < len(right) else 0.5
    assert reliability.area_under_roc(told, right) == pytest.approx(expected)


def test_the_calibration_error_of_a_hand_worked_case():
    told = np.array([0.1, 0.1, 0.3, 0.3, 0.9, 0.9])
    right = np.array([False, False, True, False, True, True])
    # bins of two: 0.1 told and 0 right, 0.3 told and 0.5 right, 0.9 told and 1 right
    assert reliability.calibration_error(told, right, bins=3) == pytest.approx((0.1 + 0.2 + 0.1) / 3)
    assert reliability.calibration_error(told, right, bins=1) == pytest.approx(abs(2.6 / 6 - 0.5))


def test_telling_the_average_has_no_error_and_no_use():
    random = np.random.default_rng(0)
    right = random.random(10000) < 0.3
    told = np.full(10000, right.mean())
    assert reliability.calibration_error(told, right) < 0.02
    assert reliability.area_under_roc(told, right) == 0.5


# ---- the two goals, on drawn numbers --------------------------------------------
@pytest.fixture(scope="module")
def fitted() -> Calibration:
    return calibrate(drawn(1, persons=PERSONS), {"dataset": "drawn"})


def test_every_pair_is_calibrated_and_tells_how_well(fitted):
    assert [(p.query, p.gallery) for p in fitted.pairs] == [
        ("visible", "visible"),
        ("visible", "infrared"),
        ("infrared", "visible"),
        ("infrared", "infrared"),
    ]
    assert fitted.source == {"dataset": "drawn", "left_out": []}
    for pair in fitted.pairs:
        found = pair.reliability
        assert pair.people == PERSONS / 2
        assert found["people"] == PERSONS / 2
        assert found["checks"] == 10
        assert found["calibration_error"]["10"]["mean"] < 0.05
        assert found["area_under_roc"] > 0.7
        assert found["brier"] < 0.95 * found["brier_of_the_average"]
        assert sum(row["hits"] for row in found["table"]) == found["hits"]
        for alarm in found["false_alarms"]:
            assert 1 / 1.5 < alarm["found"]["mean"] / alarm["asked"] < 1.5


def test_it_holds_for_other_people(fitted):
    for pair in fitted.pairs:
        modalities = (Modality.of(pair.query), Modality.of(pair.gallery))
        checks = [
            reliability.check(pair, half)
            for seed in (2, 3)
            for both in trial_searches.halves(drawn(seed, persons=PERSONS), modalities, splits=2)
            for half in both
        ]
        found = reliability.summary(checks)
        assert found["calibration_error"]["10"]["mean"] < 0.05
        assert found["area_under_roc"] > 0.7
        for alarm in found["false_alarms"]:
            assert 1 / 1.5 < alarm["found"]["mean"] / alarm["asked"] < 1.5


def test_it_holds_in_a_gallery_of_another_size(fitted):
    pair = fitted.pair(INFRARED, VISIBLE)
    (half, _), *_ = trial_searches.halves(drawn(4, persons=4 * PERSONS), (INFRARED, VISIBLE), splits=1)
    score, right = half.hits(10)
    assert half.images == 4 * pair.images
    taken = reliability.calibration_error(pair.probability(score, half.images), right)
    assert taken < 0.05
    assert reliability.calibration_error(pair.probability(score), right) > 2 * taken  # the size does count
    asked = 0.5
    found = (half.stranger >= pair.threshold(asked, half.images)).mean()
    assert asked / 1.5 < found < asked * 1.5


def test_the_same_people_give_the_same_calibration(fitted):
    assert (
        calibrate(drawn(1, persons=PERSONS), {"dataset": "drawn"}).model_dump_json()
        == fitted.model_dump_json()
    )


def test_a_rate_is_told_where_it_is_sure(fitted):
    """The spread over people, drawn anew with replacement, is the error that decides."""
    halves = trial_searches.halves(drawn(1, persons=PERSONS), (VISIBLE, VISIBLE), splits=1)[0]
    strangers = np.concatenate([half.stranger for half in halves])
    asked = np.concatenate([half.asked for half in halves])
    people = np.unique(asked)
    random = np.random.default_rng(0)
    told = measurable(halves)
    assert told[-1] == 0.9
    for rate in RATES:
        alarms = strangers >= np.quantile(strangers, 1 - rate, method="higher")
        share = np.array([alarms[asked == one].mean() for one in people])
        error = np.std([random.choice(share, len(share)).mean() for _ in range(2000)]) / rate
        if error < 0.09:
            assert rate in told
        if error > 0.11:
            assert rate not in told
    assert all(pair.rates[0] <= 0.2 for pair in fitted.pairs)


# ---- refusals -------------------------------------------------------------------
def test_a_modality_without_people_is_left_out():
    value = calibrate(drawn(5, cameras=(0, 0, 0, 0)))
    assert [(p.query, p.gallery) for p in value.pairs] == [("visible", "visible")]
    assert value.source["left_out"] == [
        "visible finds infrared: 0 people in both",
        "infrared finds visible: 0 people in both",
        "infrared finds infrared: 0 people in both",
    ]


@pytest.mark.parametrize(
    ("people", "words"),
    [
        ({"persons": 12}, "12 people in both"),
        ({"cameras": (0,), "each": 2}, "no hit is right"),
        ({"spread": 0.0, "cameras": (0, 0, 0, 0), "each": 4}, "no hit is wrong"),
    ],
)
def test_what_cannot_be_calibrated_is_told(people, words):
    with pytest.raises(EvaluationError, match=words):
        calibrate(drawn(6, **people))


# ---- the command ----------------------------------------------------------------
def test_test_people_or_all_of_them(sysu_tree):
    dataset = open_dataset("sysu-mm01", sysu_tree())
    some, everybody = calibrate_command.pool(dataset, False), calibrate_command.pool(dataset, True)
    assert set(some.persons.tolist()) == {6, 10, 21}
    assert len(everybody) == len(some) + len(dataset.train)
    assert len({s.path for s in everybody.samples}) == len(everybody)


def test_a_calibrated_bundle_comes_out(tmp_path, people_tree, monkeypatch):
    opened = bundle.read(bundle.default_path())
    monkeypatch.setattr(calibrate_command, "open_engine", lambda *_: FakeEngine())
    out, found = tmp_path / "new.zip", tmp_path / "deep/calibration.json"
    words = [
        "calibrate",
        "--data",
        str(people_tree),
        "--name",
        "folder",
        "--out",
        str(out),
        "--json",
        str(found),
    ]
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code == 0, shown.output
    assert "calibration error" in shown.stdout
    made = bundle.read(out)
    assert made.space_id == opened.space_id
    assert made.contents == opened.contents
    assert made.manifest.calibration == Calibration.model_validate(json.loads(found.read_text()))
    assert made.manifest.calibration.source["people"] == 60
    first = out.read_bytes()
    by_name = CliRunner().invoke(app, [*words, "--bundle", "default"])
    assert by_name.exit_code == 0, by_name.output
    assert out.read_bytes() == first
    again = CliRunner().invoke(app, [*words, "--bundle", str(out)])  # calibrated anew: the same
    assert again.exit_code == 0, again.output
    assert out.read_bytes() == first


@pytest.fixture
def people_tree(tmp_path):
    """Sixty people, six small noisy pictures each, in the layout of a labelled folder."""
    from PIL import Image

    root = tmp_path / "people"
    random = np.random.default_rng(0)
    for person in range(60):
        pattern = random.integers(0, 255, (16, 8, 1))
        for kind, camera in (("visible", "c1"), ("visible", "c2"), ("infrared", "c3")):
            for index in range(2):
                picture = np.clip(pattern + random.normal(0, 130, (16, 8, 1)), 0, 255).astype(np.uint8)
                path = root / f"{kind}/{person:03d}/{camera}_{index}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(picture.repeat(3, axis=2)).resize((32, 64)).save(path)
    return root


@pytest.mark.slow
def test_the_default_bundle_on_drawn_people(tmp_path):
    """Expected calibration error below 0.05 and false alarms within a factor of 1.5, on people not fitted on."""
    from vireid.command import app as vireid

    data, out = tmp_path / "people", tmp_path / "calibrated.zip"
    draw = [
        "data",
        "synth",
        "--preset",
        "sysu-like",
        "--people",
        "240",
        "--images-per-camera",
        "1",
        "--seed",
        "101",
    ]
    assert CliRunner().invoke(vireid, [*draw, "--workers", "1", str(data)]).exit_code == 0
    shown = CliRunner().invoke(app, ["calibrate", "--data", str(data), "--people", "all", "--out", str(out)])
    assert shown.exit_code == 0, shown.output
    value = bundle.read(out).manifest.calibration
    assert value is not None
    assert value.source["synthetic"]
    assert len(value.pairs) == 4
    for pair in value.pairs:
        found = pair.reliability
        assert found["people"] == 120
        assert found["calibration_error"]["10"]["mean"] < 0.05
        assert found["area_under_roc"] > 0.65
        assert found["brier"] < found["brier_of_the_average"]
        for alarm in found["false_alarms"]:
            assert 1 / 1.5 < alarm["found"]["mean"] / alarm["asked"] < 1.5
