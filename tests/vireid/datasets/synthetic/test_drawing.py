"""What is drawn: the same from the same seed, grey by night, one person in every camera."""

from pathlib import Path

import numpy as np
import pytest

from vireid.datasets.synthetic import camera, materials, person
from vireid.datasets.synthetic.camera import Hardness, Kind
from vireid.datasets.synthetic.draw import Crop, draw_crops
from vireid.datasets.synthetic.layout import draw_dataset
from vireid.errors import DatasetError, InvalidRequest
from vireid.types import Modality


@pytest.fixture(scope="module")
def crops() -> list[Crop]:
    return list(draw_crops("sysu-like", 5, 2, seed=4))


def test_the_same_seed_draws_the_same_bytes_on_any_number_of_workers(crops: list[Crop]) -> None:
    again = list(draw_crops("sysu-like", 5, 2, seed=4, workers=2))
    assert [crop.jpeg for crop in again] == [crop.jpeg for crop in crops]
    assert [(c.person, c.camera, c.shot) for c in again] == [(c.person, c.camera, c.shot) for c in crops]


def test_a_person_does_not_depend_on_who_else_is_drawn(crops: list[Crop]) -> None:
    third = list(draw_crops("sysu-like", 1, 2, seed=4, first_person=3))
    assert [crop.jpeg for crop in third] == [crop.jpeg for crop in crops if crop.person == 3]


def test_another_seed_draws_other_people(crops: list[Crop]) -> None:
    other = next(draw_crops("sysu-like", 1, 2, seed=5))
    assert other.jpeg != crops[0].jpeg


def test_night_is_grey_and_day_is_not(crops: list[Crop]) -> None:
    for crop in crops:
        spread = np.ptp(crop.rgb.astype(int), axis=2)
        if crop.modality is Modality.INFRARED:
            assert crop.camera in (3, 6)
            assert spread.max() == 0
        else:
            assert crop.camera in (1, 2, 4, 5)
            assert spread.mean() > 2


def test_sizes_are_those_of_pedestrian_crops(crops: list[Crop]) -> None:
    for crop in crops:
        height, width, _ = crop.rgb.shape
        assert 40 <= height <= 320
        assert 0.2 < width / height < 1.3
        assert crop.rgb.std() > 5


def test_thermal_is_grey_and_the_skin_is_warm() -> None:
    drawn = list(draw_crops("regdb-like", 3, 2, seed=1))
    thermal = [crop for crop in drawn if crop.modality is Modality.INFRARED]
    assert len(thermal) == 6
    for crop in thermal:
        assert np.ptp(crop.rgb.astype(int), axis=2).max() == 0
        # people are warmer than what is behind them: the middle is brighter than the sides
        height, width, _ = crop.rgb.shape
        middle = crop.rgb[height // 5 : height // 2, width // 3 : 2 * width // 3].mean()
        assert middle > crop.rgb[:, : max(1, width // 12)].mean()


def test_dyes_fade_in_near_infrared() -> None:
    random = np.random.default_rng(0)
    cloths = [materials.cloth(random, materials.TOP) for _ in range(600)]
    luminance = np.array([cloth.colours[0] @ materials.LUMINANCE for cloth in cloths])
    hue = np.array([np.ptp(cloth.colours[0]) for cloth in cloths])
    infrared = np.array([cloth.infrared[0] for cloth in cloths])
    # brightness survives in part, colour does not
    assert 0.2 < np.corrcoef(luminance, infrared)[0, 1] < 0.9
    assert abs(np.corrcoef(hue, infrared)[0, 1]) < 0.3
    contrast = np.array([np.abs(cloth.colours[0] - cloth.colours[1]).max() for cloth in cloths])
    kept = np.array([abs(cloth.infrared[0] - cloth.infrared[1]) for cloth in cloths])
    assert kept.mean() < 0.6 * contrast.mean()
    tones = [materials.skin(random) for _ in range(200)]
    assert min(skin.infrared[0] for skin in tones) >= 0.5


def test_a_person_is_the_same_in_every_camera() -> None:
    first, second = person.draw(3, 8), person.draw(3, 8)
    assert np.array_equal(first.points, second.points)
    assert np.array_equal(first.materials[materials.TOP].colours, second.materials[materials.TOP].colours)
    assert not np.array_equal(first.points[:100], person.draw(3, 9).points[:100])
    assert 1.4 < np.ptp(first.points[:, 2]) < 2.1
    assert first.faces.max() < len(first.points)
    assert np.allclose(first.weights.sum(1), 1, atol=1e-3)


def test_cameras_differ_and_stay() -> None:
    one, again, other = (camera.draw(n, Kind.VISIBLE, 1, Hardness()) for n in (1, 1, 2))
    assert np.array_equal(one.balance, again.balance)
    assert np.array_equal(one.scene.colour, again.scene.colour)
    assert not np.array_equal(one.scene.colour, other.scene.colour)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"first_person": 0}, "first person: found 0, expected 1 or more"),
        ({"camera_seed": -2}, "seed: found -2, expected 0 or more"),
        ({"name": "sysu"}, "there is no preset 'sysu'; known are sysu-like"),
        ({"people": 0}, "people: found 0, expected 1 or more"),
        ({"images_per_camera": 0}, "images a camera: found 0, expected 1 or more"),
    ],
)
def test_bad_numbers_are_refused(words: dict[str, object], told: str) -> None:
    whole: dict[str, object] = {"name": "sysu-like", "people": 2, "images_per_camera": 1, **words}
    with pytest.raises(InvalidRequest, match=told):
        draw_crops(**whole)  # type: ignore[arg-type]


def test_an_interrupted_run_leaves_nothing(tmp_path: Path) -> None:
    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        draw_dataset(tmp_path / "set", "sysu-like", 4, 1, advance=stop)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DatasetError, match="holds something already"):
        draw_dataset(tmp_path, "sysu-like", 4, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(InvalidRequest, match="3 people; expected 4 or more"):
        draw_dataset(tmp_path / "new", "sysu-like", 3, 1)
