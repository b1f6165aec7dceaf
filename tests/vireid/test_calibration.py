"""What a score means, as a value: curves, sizes, thresholds, refusals, and its place in a bundle."""

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vireid import bundle
from vireid.calibration import Calibration, PairCalibration
from vireid.errors import BundleCorrupt, BundleError, FailedPrecondition, InvalidRequest
from vireid.types import Modality

VISIBLE, INFRARED = Modality.VISIBLE, Modality.INFRARED
WORDS = {
    "query": "infrared",
    "gallery": "visible",
    "images": 400,
    "people": 100,
    "hits": 10,
    "scores": [0.0, 0.5, 1.0],
    "probabilities": [0.1, 0.2, 0.8],
    "rates": [0.01, 0.1, 0.5],
    "thresholds": [0.9, 0.6, 0.2],
}


def calibration(**changes):
    return Calibration.model_validate({"pairs": [WORDS | changes], "source": {"people": 200}})


def test_straight_lines_between_the_knots_and_level_beyond():
    found = calibration().probability(np.array([[-1.0, 0.0, 0.25], [0.75, 1.0, 1.0]]), INFRARED, VISIBLE)
    np.testing.assert_allclose(found, [[0.1, 0.1, 0.15], [0.5, 0.8, 0.8]])


def test_the_odds_fall_as_the_gallery_grows():
    value = calibration()
    odds = [
        p / (1 - p)
        for p in (
            float(value.probability(np.array(0.75), INFRARED, VISIBLE, n)) for n in (100, 400, 1600, 40000)
        )
    ]
    np.testing.assert_allclose(odds, [4, 1, 0.25, 0.01])


def test_a_tiny_gallery_counts_as_a_quarter_of_the_measured_one():
    value, score = calibration(), np.array(0.75)
    assert value.probability(score, INFRARED, VISIBLE, 1) == value.probability(score, INFRARED, VISIBLE, 100)
    assert value.threshold(0.1, INFRARED, VISIBLE, 1) == value.threshold(0.1, INFRARED, VISIBLE, 100)


@given(st.lists(st.floats(-1, 1), min_size=2), st.floats(1, 1e9))
def test_a_higher_score_is_never_less_likely(scores, images):
    found = calibration().probability(np.sort(scores), INFRARED, VISIBLE, images)
    assert (np.diff(found) >= 0).all()
    assert ((found >= 0) & (found <= 1)).all()


def test_thresholds_of_measured_rates_and_between_them():
    value = calibration()
    assert value.threshold(0.01, INFRARED, VISIBLE) == pytest.approx(0.9)
    assert value.threshold(0.5, INFRARED, VISIBLE) == pytest.approx(0.2)
    assert value.threshold(np.sqrt(0.001), INFRARED, VISIBLE) == pytest.approx(0.75)


def test_a_gallery_twice_as_large_is_two_that_stay_silent():
    value = calibration()
    both_silent = 1 - (1 - 0.1) ** 2
    assert value.threshold(both_silent, INFRARED, VISIBLE, 800) == pytest.approx(0.6)


@pytest.mark.parametrize(("rate", "images"), [(0.005, None), (0.6, None), (0.1, 100_000), (0.02, 1600)])
def test_a_rate_that_was_not_measured_is_refused_with_those_that_were(rate, images):
    with pytest.raises(InvalidRequest, match=r"allows .* to .*calibrate on more people") as caught:
        calibration().threshold(rate, INFRARED, VISIBLE, images)
    assert caught.value.field == "false_alarm_rate"
    low = float(caught.value.message.split("allows ")[1].split(" to ")[0])
    calibration().threshold(low * 1.01, INFRARED, VISIBLE, images)


@pytest.mark.parametrize("rate", [0, 1, -0.1, 2, float("nan")])
def test_what_is_no_rate_is_refused(rate):
    with pytest.raises(InvalidRequest, match="above 0 and below 1"):
        calibration().threshold(rate, INFRARED, VISIBLE)


@pytest.mark.parametrize("images", [0, -5, float("nan"), float("inf")])
def test_what_is_no_size_is_refused(images):
    with pytest.raises(InvalidRequest, match="at least 1 image"):
        calibration().probability(np.zeros(1), INFRARED, VISIBLE, images)


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_what_is_no_score_is_refused(score):
    with pytest.raises(InvalidRequest, match="NaN or infinity"):
        calibration().probability(np.array([0.1, score]), INFRARED, VISIBLE)


def test_a_pair_that_was_not_measured_is_refused_by_name():
    value = calibration()
    assert value.has(INFRARED, VISIBLE)
    assert not value.has(VISIBLE, INFRARED)
    with pytest.raises(FailedPrecondition, match="visible queries against infrared") as caught:
        value.probability(np.zeros(1), VISIBLE, INFRARED)
    assert caught.value.stable_reason == "NOT_CALIBRATED"


def test_json_there_and_back():
    value = calibration(reliability={"calibration_error": 0.01})
    assert Calibration.model_validate_json(value.model_dump_json()) == value
    assert value.pairs[0].reliability["calibration_error"] == 0.01


def test_told_in_words():
    assert str(calibration()) == (
        "infrared finds visible: measured on galleries of 400 images of 100 people; probability 0.100 at a score of "
        "0.000 to 0.800 at 1.000; false alarms 1 % at 0.900, 10 % at 0.600, 50 % at 0.200"
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scores": [0.0, 0.0, 1.0]}, "scores must rise"),
        ({"scores": [0.0, 0.5]}, "equal numbers"),
        ({"scores": [0.0, 0.5, 1.5]}, "less than or equal"),
        ({"scores": [0.0, 0.5, float("nan")]}, "finite"),
        ({"probabilities": [0.1, 0.05, 0.8]}, "must not fall"),
        ({"probabilities": [0.1, 0.2, 1.1]}, "less than or equal"),
        ({"rates": [0.1, 0.1, 0.5]}, "rates must rise"),
        ({"rates": [0.0, 0.1, 0.5]}, "greater than 0"),
        ({"rates": [], "thresholds": []}, "at least 1"),
        ({"thresholds": [0.1, 0.2, 0.3]}, "must not rise"),
        ({"thresholds": [0.1, 0.2]}, "equal numbers"),
        ({"images": 0}, "greater than or equal to 1"),
        ({"query": "thermal"}, "'visible' or 'infrared'"),
        ({"slope": 3}, "not permitted"),
    ],
)
def test_what_is_no_calibration_is_refused(changes, words):
    with pytest.raises(ValidationError, match=words):
        PairCalibration.model_validate(WORDS | changes)


def test_a_pair_stands_there_once():
    with pytest.raises(ValidationError, match="twice"):
        Calibration.model_validate({"pairs": [WORDS, WORDS]})


# ---- in a bundle ----------------------------------------------------------------
def plain(path):
    manifest = bundle.Manifest.model_validate(
        {
            "name": "tiny",
            "method": "none",
            "model": {"opset": 18, "dim": 4},
            "preprocess": {"height": 32, "width": 16, "mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]},
            "files": {},
        }
    )
    return bundle.read(bundle.write(path, manifest, {"model.onnx": b"model", "notes.txt": b"hello"}))


def words_of(path):
    return json.loads((path / "bundle.json").read_text())


@pytest.mark.parametrize("name", ["b", "b.zip"])
def test_a_bundle_carries_it_and_stays_the_same_otherwise(tmp_path, name):
    before = plain(tmp_path / name)
    after = bundle.read(bundle.calibrated(before, calibration(), tmp_path / f"new-{name}"))
    assert after.manifest.calibration == calibration()
    assert after.contents == before.contents
    assert after.space_id == before.space_id
    assert (
        after.manifest.model_copy(update={"calibration": None, "seal": before.manifest.seal})
        == before.manifest
    )


def test_without_one_a_bundle_is_written_as_before(tmp_path):
    before = plain(tmp_path / "before")
    assert before.manifest.calibration is None
    assert "calibration" not in words_of(tmp_path / "before")
    again = bundle.read(bundle.calibrated(before, calibration(), tmp_path / "with"))
    bundle.calibrated(again, None, tmp_path / "without")
    assert (tmp_path / "without/bundle.json").read_bytes() == (tmp_path / "before/bundle.json").read_bytes()


def test_a_manifest_from_before_there_were_calibrations_is_read(tmp_path):
    plain(tmp_path / "b")
    words = words_of(tmp_path / "b")
    assert words["format"] == 1
    canonical = json.dumps(
        {k: v for k, v in words.items() if k != "seal"}, sort_keys=True, separators=(",", ":")
    )
    assert words["seal"] == hashlib.sha256(canonical.encode()).hexdigest()
    assert bundle.read(tmp_path / "b").manifest.calibration is None


def test_the_seal_covers_it(tmp_path):
    bundle.calibrated(plain(tmp_path / "b"), calibration(), tmp_path / "c")
    words = words_of(tmp_path / "c")
    words["calibration"]["pairs"][0]["probabilities"][0] = 0.05
    (tmp_path / "c/bundle.json").write_text(json.dumps(words))
    with pytest.raises(BundleCorrupt, match="does not match its seal"):
        bundle.read(tmp_path / "c")


def test_a_wrong_one_is_refused_by_its_place(tmp_path):
    bundle.calibrated(plain(tmp_path / "b"), calibration(), tmp_path / "c")
    words = words_of(tmp_path / "c")
    words["calibration"]["pairs"][0]["rates"][0] = 7
    (tmp_path / "c/bundle.json").write_text(json.dumps(words))
    with pytest.raises(BundleCorrupt, match=r"calibration\.pairs\.0\.rates\.0"):
        bundle.read(tmp_path / "c")


def test_what_json_cannot_hold_is_refused(tmp_path):
    value = calibration(reliability={"calibration_error": float("nan")})
    with pytest.raises(BundleError, match="cannot be written"):
        bundle.calibrated(plain(tmp_path / "b"), value, tmp_path / "c")
