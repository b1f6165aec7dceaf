"""The bundle that comes with vireid, as committed: small, whole, still good by day, and good across."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from export import default_bundle, evidence
from export.evidence import Exam
from vireid import bundle
from vireid.bundle import Bundle
from vireid.datasets import open_dataset
from vireid.datasets.synthetic.layout import draw_dataset
from vireid.engines import Engine, open_engine

MEGABYTE = 1_000_000
# the start's infrared to visible mean average precision on the people drawn below
START_ACROSS = 0.382


@pytest.fixture(scope="module")
def packaged() -> Bundle:
    return bundle.read(bundle.default_path())


@pytest.fixture(scope="module")
def engine(packaged: Bundle) -> Engine:
    return open_engine(packaged, device="cpu")


def test_it_is_small_and_its_sums_and_its_space_are_what_they_say(packaged: Bundle) -> None:
    assert packaged.path.stat().st_size <= 8 * MEGABYTE
    model = packaged.file("model.onnx")
    assert hashlib.sha256(model).hexdigest() == packaged.manifest.files["model.onnx"]
    assert packaged.space_id == bundle.read(packaged.path).space_id
    assert packaged.manifest.modalities == ("visible", "infrared")
    assert packaged.preprocess == default_bundle.preprocess()


def test_it_says_whence_it_comes_and_what_it_measured(packaged: Bundle) -> None:
    manifest = packaged.manifest
    assert (manifest.name, manifest.licence) == (default_bundle.NAME, "Apache-2.0")
    assert "person-reidentification-retail-0287" in manifest.notice
    assert manifest.parity["cosine_min"] >= 0.99999
    assert manifest.provenance["recipe"]
    assert all(drawn["preset"] == "sysu-like" for drawn in manifest.provenance["dataset"])
    found, start = manifest.metrics["bundle"], manifest.metrics["start"]
    assert (
        found["real_vtest"]["visible_to_visible_map"] >= start["real_vtest"]["visible_to_visible_map"] - 0.01
    )
    drawn, before = found["synthetic"]["hold-sysu"], start["synthetic"]["hold-sysu"]
    assert drawn["infrared_to_visible_map"] >= 2 * before["infrared_to_visible_map"]
    for name in ("visible_to_visible_map", "infrared_to_infrared_map"):
        assert drawn[name] >= before[name]


def test_it_keeps_the_starts_skill_on_real_visible_crops(engine: Engine, repository: Path) -> None:
    real = evidence.read_real(repository / "tests" / "data" / "vtest", default_bundle.preprocess())
    found = evidence.measure(engine, Exam(real, {}))
    assert found.real_visible >= 0.958
    assert found.real_grey >= 0.851  # the start's


def test_it_finds_drawn_people_by_day_that_it_never_saw_from_their_night(
    engine: Engine, tmp_path: Path
) -> None:
    root = draw_dataset(tmp_path / "drawn", "sysu-like", 16, 2, seed=31337)
    crops = default_bundle.gather([open_dataset("sysu-mm01", root)])
    found = evidence.measure_drawn(engine, crops)
    assert found.across >= 1.5 * START_ACROSS
    assert found.visible >= 0.9


def test_a_visible_and_an_infrared_row_embed_apart_and_unit(engine: Engine, repository: Path) -> None:
    real = evidence.read_real(repository / "tests" / "data" / "vtest", default_bundle.preprocess())
    images = np.repeat(real.images[:1], 2, axis=0)
    rows = engine.embed(images, np.array([0, 1]))
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert float(rows[0] @ rows[1]) < 0.95
