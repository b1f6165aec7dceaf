"""``vireid export onnx`` as a user meets it: a run or a bundle in, half precisions added, proofs that pass or refuse."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn
from typer.testing import CliRunner, Result

from export import exam_source, half, half_parts
from export.command import app
from export.exam import Exam
from export.half import Halved
from tests.export import normed_graph, small_bundle
from training import checkpoint, models
from training.checkpoint import Progress
from training.settings import RunSettings
from vireid import bundle
from vireid.datasets.synthetic.layout import draw_dataset
from vireid.engines import open_part
from vireid.errors import AlreadyExists, BundleMissing, ExportError, StorageError, TrainingError

HALF_ENGINES = ["onnxruntime-fp16", "tensorrt-bf16", "tensorrt-fp16"]


def run(*words: object) -> Result:
    return CliRunner().invoke(app, ["onnx", *map(str, words)])


def write(path: Path, graph: bytes) -> Path:
    return small_bundle.write(path, graph, parity={"cosine_min": 0.9999999, "passed": True})


def people(height: int, width: int) -> Exam:
    """Eight people as blocks of colour, by day and by night, twice each."""
    random = np.random.default_rng(6)
    looks = random.integers(0, 256, (8, 4, 2, 3)).repeat(4, 0)
    shown = np.clip(looks + random.normal(0, 8, looks.shape), 0, 255).astype(np.uint8)
    images = shown.repeat(height // 4, 1).repeat(width // 2, 2)
    person, modality = np.arange(8).repeat(4), np.tile([0, 0, 1, 1], 8)
    return Exam(images, person, np.tile([0, 1, 2, 3], 8), modality, "blocks")


@pytest.fixture
def exams(monkeypatch: pytest.MonkeyPatch) -> list[Path | None]:
    """Drawing people takes long: blocks stand for them. Returns what was asked for."""
    asked: list[Path | None] = []

    def of(given: bundle.Bundle, dataset: Path | None) -> Exam:
        asked.append(dataset)
        return people(given.preprocess.height, given.preprocess.width)

    monkeypatch.setattr(exam_source, "of", of)
    return asked


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    return write(tmp_path / "normed.zip", normed_graph.build())


def test_a_bundle_gets_every_half_precision(packed: Path, exams: list[Path | None]) -> None:
    before = bundle.read(packed)
    shown = run(packed, "--precision", "bf16", "--precision", "fp16", "--precision", "fp16")
    assert shown.exit_code == 0, shown.exception
    read = bundle.read(packed)
    assert read.space_id == before.space_id
    assert [part.name for part in read.manifest.engines] == HALF_ENGINES
    assert [part.proven for part in read.manifest.engines] == [True, False, False]
    proven = read.manifest.engines[0]
    assert proven.parity["cosine_min"] >= 0.999
    assert read.manifest.engines[2].file == proven.file == "fp16.onnx"
    assert exams == [None]  # drawn once
    for words in (
        "onnxruntime-fp16",
        "fp16      2 of 2",
        "bf16      2 of 2",
        "'vireid export tensorrt' proves",
    ):
        assert words in shown.output
    assert "unproven  tensorrt-bf16, tensorrt-fp16" in shown.output
    images, modality = normed_graph.pictures()
    rows = open_part(read, proven, device="cpu").embed(images, modality)
    assert rows.shape == (12, normed_graph.DIM)


@pytest.mark.usefixtures("exams")
def test_bf16_is_estimated_and_stays_unproven(packed: Path, tmp_path: Path) -> None:
    out = tmp_path / "other.zip"
    shown = run(packed, "--precision", "bf16", "--out", out)
    assert shown.exit_code == 0, shown.exception
    estimated = re.search(r"estimated by rounding in fp32: cosine min (0\.\d+)", shown.output)
    assert estimated
    assert 0.999 <= float(estimated[1]) < 1
    assert "rounded.onnx" not in bundle.read(out).contents
    assert not bundle.read(out).manifest.engines[0].proven
    assert [part.name for part in bundle.read(out).manifest.engines] == ["tensorrt-bf16"]
    assert not bundle.read(packed).manifest.engines


def test_people_of_a_dataset_are_taken_where_one_is_named(
    packed: Path, tmp_path: Path, exams: list[Path | None]
) -> None:
    assert run(packed, "--precision", "fp16", "--dataset", tmp_path / "crops").exit_code == 0
    assert exams == [tmp_path / "crops"]


def spoiled(graph: bytes, precision: half.Half, *, exact: bool = False) -> Halved:
    """Halve, and swap channels of weights: near in shape, far in what it gives."""
    made = half.halve(graph, precision, exact=exact)
    proto = onnx.load_from_string(made.graph)
    for tensor in proto.graph.initializer:
        if len(tensor.dims) == 4:
            values = numpy_helper.to_array(tensor)[::-1].copy()
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return Halved(proto.SerializeToString(), made.half, made.full, made.kept)


def spoiled_unless_exact(graph: bytes, precision: half.Half, *, exact: bool = False) -> Halved:
    return half.halve(graph, precision, exact=True) if exact else spoiled(graph, precision)


@pytest.fixture
def spoil(monkeypatch: pytest.MonkeyPatch) -> None:
    class Spoiling:
        halve = staticmethod(spoiled)

    monkeypatch.setattr(half_parts, "half", Spoiling)


@pytest.mark.usefixtures("exams")
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_sums_stay_fp32_where_half_ones_are_not_near_enough(
    packed: Path, monkeypatch: pytest.MonkeyPatch, precision: half.Half
) -> None:
    class Spoiling:
        halve = staticmethod(spoiled_unless_exact)

    monkeypatch.setattr(half_parts, "half", Spoiling)
    shown = run(packed, "--precision", precision)
    assert shown.exit_code == 0, shown.exception
    assert "sums stay fp32" in shown.output
    read = bundle.read(packed)
    expected = half.halve(read.file("model.onnx"), precision, exact=True).graph
    assert read.file(f"{precision}.onnx") == expected


@pytest.mark.usefixtures("exams", "spoil")
def test_what_comes_not_near_enough_is_refused_and_leaves_the_bundle(packed: Path) -> None:
    before = packed.read_bytes()
    shown = run(packed, "--precision", "fp16", "--precision", "bf16")
    assert isinstance(shown.exception, ExportError)
    assert "onnxruntime-fp16 is not near enough" in shown.exception.message
    assert "at least 0.999 is required" in shown.exception.message
    assert packed.read_bytes() == before
    shown = run(packed, "--precision", "bf16")
    assert isinstance(shown.exception, ExportError)
    assert "bf16 would not come near enough" in shown.exception.message
    assert "take fp16" in shown.exception.message
    assert packed.read_bytes() == before


@pytest.mark.usefixtures("exams")
def test_of_several_the_others_are_written_and_the_status_tells_which_failed(
    packed: Path, trained: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Spoiling:
        @staticmethod
        def halve(graph: bytes, precision: half.Half, *, exact: bool = False) -> Halved:
            return (spoiled if precision == "fp16" else half.halve)(graph, precision, exact=exact)

    monkeypatch.setattr(half_parts, "half", Spoiling)
    shown = run(packed, "--precision", "fp16", "--precision", "bf16")
    assert isinstance(shown.exception, ExportError)
    assert (
        f"{packed} is written without fp16: fp16: the engine onnxruntime-fp16 is not"
        in shown.exception.message
    )
    assert [part.name for part in bundle.read(packed).manifest.engines] == ["tensorrt-bf16"]
    assert "bf16.onnx" in bundle.read(packed).contents
    assert "fp16.onnx" not in bundle.read(packed).contents
    assert "bf16      2 of 2" in shown.output
    # of a run the model itself is one of them
    out = tmp_path / "made.zip"
    shown = run(trained("one-stream-resnet18"), "--out", out, "--precision", "fp16")
    assert isinstance(shown.exception, ExportError)
    assert "is written without fp16" in shown.exception.message
    assert bundle.read(out).manifest.engines == ()


@pytest.mark.usefixtures("exams", "spoil")
def test_it_is_kept_where_that_is_asked_for_and_does_not_count_as_proven(packed: Path) -> None:
    shown = run(packed, "--precision", "fp16", "--keep-failed")
    assert shown.exit_code == 0, shown.exception
    assert "failed" in shown.output
    assert "at least 0.999 is required" in shown.output
    assert not any(part.proven for part in bundle.read(packed).manifest.engines)


@pytest.mark.usefixtures("exams")
def test_what_a_gpu_has_proven_stays_proven(packed: Path) -> None:
    assert run(packed, "--precision", "bf16").exit_code == 0
    read = bundle.read(packed)
    proven = read.manifest.engines[0].model_copy(update={"parity": {"passed": True, "cosine_min": 0.9995}})
    bundle.with_engine(read, proven, {}, packed)
    assert run(packed, "--precision", "bf16").exit_code == 0
    assert bundle.read(packed).manifest.engines == (proven,)
    # of another graph it says nothing
    read = bundle.read(packed)
    bundle.with_engine(read, proven, {proven.file: b"another"}, packed)
    assert run(packed, "--precision", "bf16").exit_code == 0
    assert not bundle.read(packed).manifest.engines[0].proven


@pytest.mark.usefixtures("exams")
def test_what_stays_fp32_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "loud.zip", normed_graph.build(loud=1e6))
    shown = run(path, "--precision", "fp16")
    assert shown.exit_code == 0, shown.exception
    assert "louder stays fp32: it reaches" in shown.output
    assert "fp16 holds 6.1e-05 to 65504" in shown.output


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (["--precision", "fp64"], ExportError, "'fp64'; expected one of fp32, fp16, bf16"),
        ([], ExportError, "is a bundle already; say what to add"),
        (["--precision", "fp32"], ExportError, "is a bundle already; say what to add"),
    ],
)
def test_what_is_refused(packed: Path, words: list[str], error: type[Exception], said: str) -> None:
    before = packed.read_bytes()
    with pytest.raises(error, match=said):
        CliRunner().invoke(app, ["onnx", str(packed), *words], catch_exceptions=False)
    assert packed.read_bytes() == before


def test_places_that_cannot_be(packed: Path, tmp_path: Path) -> None:
    folder = write(tmp_path / "folder", normed_graph.build())
    for words, error, said in (
        ([tmp_path / "none.zip", "--precision", "fp16"], BundleMissing, "no bundle at"),
        ([folder, "--precision", "bf16"], AlreadyExists, "a folder, which is not replaced"),
        ([packed, "--precision", "bf16", "--out", folder, "--replace"], AlreadyExists, "a folder"),
        (
            [packed, "--precision", "bf16", "--out", packed / "new.zip"],
            StorageError,
            "another place with --out",
        ),
        ([tmp_path / "run"], ExportError, "say where the bundle goes with --out"),
        ([tmp_path / "run", "--out", tmp_path / "new.zip"], TrainingError, "no training run"),
    ):
        with pytest.raises(error, match=said):
            CliRunner().invoke(app, ["onnx", *map(str, words)], catch_exceptions=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "normed.zip"]


@pytest.fixture
def trained(tmp_path: Path) -> Callable[[str], Path]:
    """A run's folder as training writes it, of a network that has seen figures."""

    def make(name: str) -> Path:
        torch.manual_seed(0)
        settings = RunSettings.model_validate(
            {"model": {"name": name, "width": 0.125, "height": 32, "columns": 16}}
        )
        network = models.build(settings.model)
        shown = people(32, 16)
        with torch.no_grad():
            for _ in range(80):  # until the neck's mean is theirs, and they are told apart
                network.features(torch.from_numpy(shown.images), torch.from_numpy(shown.modality))
        place = tmp_path / "run"
        place.mkdir()
        (place / checkpoint.RECIPE).write_text(settings.model_dump_json())
        origin = {"dataset": "drawn", "root": str(tmp_path), "train_images": 4}
        (place / checkpoint.RUN).write_text(json.dumps(origin))
        modules = nn.ModuleDict({"model": network})
        optimiser = torch.optim.SGD(network.parameters(), 0.1)
        checkpoint.save_checkpoint(place, modules, optimiser, Progress(1, 1), "supervised")
        return place

    return make


@pytest.mark.usefixtures("exams")
def test_a_run_becomes_a_bundle_with_its_half(trained: Callable[[str], Path], tmp_path: Path) -> None:
    out = tmp_path / "made.zip"
    shown = run(
        trained("one-stream-resnet18"),
        "--out",
        out,
        "--precision",
        "fp16",
        "--name",
        "mine",
    )
    assert shown.exit_code == 0, shown.exception
    read = bundle.read(out)
    assert [part.name for part in read.manifest.engines] == ["onnxruntime-fp16", "tensorrt-fp16"]
    assert (read.manifest.name, read.manifest.model.precision, read.manifest.model.opset) == (
        "mine",
        "fp32",
        22,
    )
    assert "exporting: 2/2" in shown.output
    assert "fp16      20 of 20 convolutions" in shown.output


def test_a_bundle_becomes_half_without_torch(packed: Path, tmp_path: Path) -> None:
    drawn = draw_dataset(tmp_path / "drawn", "sysu-like", 6, 1, seed=4)
    asked = f"""
import sys
for name in ("torch", "transformers", "onnxscript", "safetensors"):
    sys.modules[name] = None
from typer.testing import CliRunner
from export.command import app
halve = ["onnx", {str(packed)!r}, "--precision", "bf16", "--keep-failed", "--dataset", {str(drawn)!r}]
for words in (["onnx", "--help"], halve, ["inspect", {str(packed)!r}]):
    CliRunner().invoke(app, words, catch_exceptions=False)
"""
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [part.name for part in bundle.read(packed).manifest.engines] == ["tensorrt-bf16"]
