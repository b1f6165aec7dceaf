"""From a bundle to a bundle with an engine in eight bits, by the commands; and what is refused leaves nothing."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image
from typer.testing import CliRunner

from export.command import app
from export.trial import Score, Trial
from tests.export import small_bundle, small_graph
from vireid import bundle
from vireid.engines import open_engine, open_part
from vireid.errors import AlreadyExists, ExportError, VireidError


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten people before one camera by day and one by night, twice each."""
    root = tmp_path_factory.mktemp("people")
    images, modality, person = small_graph.pictures(people=10, each=2, seed=4)
    for at, (pixels, night, who) in enumerate(zip(images, modality, person, strict=True)):
        place = root / ("infrared" if night else "visible") / f"{who:02d}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{night + 1}_{at}.png")
    return root


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return small_bundle.write(tmp_path / "small.zip", small_graph.build())


@pytest.fixture
def hopeless(tmp_path: Path) -> Path:
    """Every layer has channels a thousand times as strong as others, which count as much."""
    proto = onnx.load_from_string(small_graph.build())
    for tensor in proto.graph.initializer:
        if tensor.name.endswith((".w", ".b")):
            values = numpy_helper.to_array(tensor).copy()
            values[0] *= 1000
            if tensor.name.endswith(".w") and not tensor.name.startswith("stem"):
                values[:, 0] /= 1000
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return small_bundle.write(tmp_path / "hopeless.zip", proto.SerializeToString())


def call(*words: object) -> str:
    """Run a command, and raise what it raised."""
    done = CliRunner().invoke(app, [str(word) for word in words])
    if isinstance(done.exception, VireidError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.stdout


def test_int8_is_proven_added_and_served_in_the_same_space(small: Path, people: Path) -> None:
    before = bundle.read(small)
    told = call("int8", small, "--calibrate", people, "--dataset", people, "--count", 16)
    made = bundle.read(small)
    (part,) = made.manifest.engines
    assert (part.name, part.proven) == ("onnxruntime-int8", True)
    assert made.space_id == before.space_id
    assert part.parity["cosine_mean"] >= 0.985
    for word in ("6 of 6 in int8", "100.0 % of the work", "passed", "16 images of folder"):
        assert word in told
    assert "images ask" in part.parity["notes"][0]
    for note in part.parity["notes"]:
        assert note in " ".join(told.split())
    images, modality, _ = small_graph.pictures(people=3, each=1, seed=8)
    engine = open_part(made, part, "cpu")
    assert engine.info.precision == "int8"
    near = (engine.embed(images, modality) * open_engine(made, "cpu").embed(images, modality)).sum(axis=1)
    assert 0.985 < near.mean() < 1 - 1e-7


@pytest.mark.parametrize(
    ("words", "name"),
    [(["int8", "--runtime", "tensorrt"], "tensorrt-int8"), (["fp8", "--keep-failed"], "tensorrt-fp8")],
)
def test_what_is_for_tensorrt_is_added_unproven(
    small: Path, people: Path, tmp_path: Path, words: list[str], name: str
) -> None:
    out = tmp_path / "out.zip"
    told = call(words[0], small, "--calibrate", people, "--dataset", people, "--out", out, *words[1:])
    (part,) = bundle.read(out).manifest.engines
    assert (part.name, part.proven, dict(part.parity)) == (name, False, {})
    assert bundle.read(small).manifest.engines == ()
    assert "not proven" in told
    onnx.checker.check_model(onnx.load_from_string(bundle.read(out).file(part.file)), full_check=True)


def test_a_network_that_cannot_meet_the_bar_is_refused_with_numbers_and_left_as_it_was(
    hopeless: Path, people: Path
) -> None:
    before = hopeless.read_bytes()
    with pytest.raises(ExportError) as raised:
        call("int8", hopeless, "--calibrate", people, "--dataset", people, "--way", "minmax")
    assert "cannot meet its bar, so nothing is written" in raised.value.message
    assert "at least 0.985 is required" in raised.value.message
    assert "of 6 layers left in fp32" in raised.value.message
    assert hopeless.read_bytes() == before


def test_what_people_who_were_not_searched_with_refuse_is_not_written(
    small: Path, people: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = small.read_bytes()
    monkeypatch.setattr(Trial, "score", lambda *_given: Score(0.99, 0.9, -0.7))
    with pytest.raises(
        ExportError, match=r"tensorrt-int8 cannot meet its bar.*mAP -0\.70 points, at most 0\.5"
    ):
        call("int8", small, "--runtime", "tensorrt", "--calibrate", people, "--dataset", people)
    assert small.read_bytes() == before


def test_one_modality_a_folder_and_unknown_words_are_refused(
    small: Path, people: Path, tmp_path: Path
) -> None:
    before = small.read_bytes()
    by_day = tmp_path / "day"
    by_day.mkdir()
    (by_day / "visible").symlink_to(people / "visible")
    with pytest.raises(ExportError, match="20 visible and 0 infrared"):
        call("int8", small, "--calibrate", by_day, "--dataset", people)
    with pytest.raises(AlreadyExists, match="is a folder"):
        call("int8", small, "--calibrate", people, "--out", tmp_path)
    with pytest.raises(ExportError, match="runtime 'openvino'"):
        call("int8", small, "--calibrate", people, "--runtime", "openvino")
    with pytest.raises(ExportError, match="calibrate 'mean'"):
        call("fp8", small, "--calibrate", people, "--way", "mean")
    assert small.read_bytes() == before


def test_noise_of_the_search_goes_to_standard_error(small: Path, people: Path) -> None:
    told = call("int8", small, "--calibrate", people, "--dataset", people)
    assert "calibrating" not in told
    assert np.isin(
        ["engine", "layers", "parity"], [line.split()[0] for line in told.splitlines() if line]
    ).all()
