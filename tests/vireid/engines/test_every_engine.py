"""What every engine must do, whatever runs underneath: one suite, run over each."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from export import tensorrt_part
from export.exam import Exam
from export.tensorrt_part import Workshop
from tests.vireid.engines import fake_tensorrt
from vireid import bundle
from vireid.engines import open_engine, open_part, tensorrt, tensorrt_library
from vireid.engines.base import Engine
from vireid.engines.fake import FakeEngine
from vireid.engines.tensorrt import Choices
from vireid.engines.tensorrt_buckets import Bucket
from vireid.engines.tensorrt_driver import open_driver
from vireid.errors import BundleCorrupt, EngineError

Build = Callable[[], Engine]

# how far the same row may be from itself in other company: the sums of a batch may go in another order
STEP = {"fp32": 2e-6, "fp16": 2e-3, "bf16": 2e-2, "int8": 2e-2}
ENGINES = [
    "fake",
    "onnx",
    "onnx-default",
    "onnxruntime-fp16",
    "onnxruntime-int8",
    "openvino-fp32",
    "openvino-bf16",
    "openvino-bf16-features",
    "openvino-int8",
    "tensorrt-over-fakes",
]
ON_GPU = pytest.param("tensorrt", marks=pytest.mark.gpu)


@pytest.fixture(params=[*ENGINES, ON_GPU])
def build(request: pytest.FixtureRequest) -> Build:
    if request.param == "fake":
        return lambda: FakeEngine(height=64, width=32, dim=24)
    if request.param == "tensorrt-over-fakes":
        return fake_tensorrt.engine
    tiny = request.getfixturevalue("tiny")
    if request.param == "tensorrt":
        plans = request.getfixturevalue("tmp_path") / "plans"
        return lambda: built_here(tiny, plans)
    if request.param == "onnx":
        return lambda: open_engine(tiny, device="cpu")
    if request.param == "onnx-default":
        default = bundle.read(bundle.default_path())
        return lambda: open_engine(default, device="cpu")
    whole, part = request.getfixturevalue("part_of")(request.param)
    return lambda: open_part(whole, part, device="cpu")


def built_here(tiny: bundle.Bundle, folder: Path) -> Engine:
    """Build a plan for the GPU of this machine, and open it."""
    choices = Choices(folder=folder, buckets=(Bucket(1, 1, 1), Bucket(2, 8, 16)), allow_unproven=True)
    workshop = Workshop(tensorrt_library.load(), open_driver(), choices)
    part, _ = tensorrt_part.graph_of(tiny, "fp32")
    height, width = tiny.manifest.preprocess.height, tiny.manifest.preprocess.width
    people = np.arange(8) // 2
    images = np.random.default_rng(1).integers(0, 256, (8, height, width, 3), dtype=np.uint8)
    exam = Exam(images, people, people, np.arange(8) % 2)
    tensorrt_part.make(tiny, part, workshop, lambda: exam, keep_failed=True)
    return tensorrt.open_engine(tiny, part.file, part.precision, choices)


@pytest.fixture
def near(engine: Engine) -> float:
    return STEP[engine.info.precision]


@pytest.fixture
def engine(build: Build) -> Engine:
    return build()


def batch(engine: Engine, rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    height, width = engine.input_size
    coarse = random.integers(0, 256, (rows, 8, 4, 3))
    images = coarse.repeat(height // 8, axis=1).repeat(width // 4, axis=2).astype(np.uint8)
    return images, random.integers(0, 2, rows)


def test_unit_rows(engine: Engine) -> None:
    for rows in (1, 2, 5):
        vectors = engine.embed(*batch(engine, rows))
        assert vectors.shape == (rows, engine.dim)
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


def test_a_row_alone_equals_the_row_in_a_mixed_batch(engine: Engine, near: float) -> None:
    images, modality = batch(engine, 6)
    modality[:] = [0, 1, 1, 0, 1, 0]
    together = engine.embed(images, modality)
    for row in range(6):
        alone = engine.embed(images[row : row + 1], modality[row : row + 1])
        np.testing.assert_allclose(alone[0], together[row], atol=near)


@pytest.mark.parametrize("kind", [0, 1])
def test_batches_of_one_modality(engine: Engine, near: float, kind: int) -> None:
    images, modality = batch(engine, 5)
    modality[:] = kind
    together = engine.embed(images, modality)
    for row in range(5):
        alone = engine.embed(images[row : row + 1], modality[row : row + 1])
        np.testing.assert_allclose(alone[0], together[row], atol=near)


def test_a_large_batch_gives_the_rows_of_small_ones(engine: Engine, near: float) -> None:
    """Larger than any that kernels were chosen for: what must be split is split, in order."""
    rows = 70 if engine.input_size[0] < 128 else 14
    images, modality = batch(engine, rows)
    together = engine.embed(images, modality)
    apart = [engine.embed(images[at : at + 7], modality[at : at + 7]) for at in range(0, rows, 7)]
    np.testing.assert_allclose(together, np.concatenate(apart), atol=near)


def test_order_of_rows_does_not_matter(engine: Engine, near: float) -> None:
    images, modality = batch(engine, 5)
    order = np.array([3, 0, 4, 1, 2])
    np.testing.assert_allclose(
        engine.embed(images, modality)[order], engine.embed(images[order], modality[order]), atol=near
    )


def test_the_same_input_gives_the_same_rows(build: Build) -> None:
    first, second = build(), build()
    given = batch(first, 4)
    np.testing.assert_array_equal(first.embed(*given), first.embed(*given))
    np.testing.assert_array_equal(first.embed(*given), second.embed(*given))
    assert first.space_id == second.space_id
    assert first.info == second.info


def test_content_and_modality_count(engine: Engine) -> None:
    images, _ = batch(engine, 2)
    visible, infrared = (engine.embed(images, np.full(2, kind)) for kind in (0, 1))
    assert float(visible[0] @ visible[1]) < 0.99
    assert float(visible[0] @ infrared[0]) < 1.0 - 1e-4


def test_nearly_the_same_picture_gives_nearly_the_same_row(engine: Engine) -> None:
    images, modality = batch(engine, 2)
    dimmed = np.clip(images.astype(int) - 3, 0, 255).astype(np.uint8)
    vectors, close = engine.embed(images, modality), engine.embed(dimmed, modality)
    assert float(vectors[0] @ close[0]) > 0.99


def test_flat_pictures_embed(engine: Engine) -> None:
    height, width = engine.input_size
    for level in (0, 255):
        vectors = engine.embed(np.full((1, height, width, 3), level, np.uint8), np.array([1]))
        np.testing.assert_allclose(np.linalg.norm(vectors), 1.0, atol=1e-5)


def test_many_threads_get_their_own_rows(engine: Engine, near: float) -> None:
    given = [batch(engine, 1 + seed % 3, seed) for seed in range(8)]
    expected = [engine.embed(*one) for one in given]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda one: engine.embed(*one), given))
    for mine, theirs in zip(expected, found, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=near)


def test_views_and_read_only_arrays_are_read_right(engine: Engine, near: float) -> None:
    images, modality = batch(engine, 4)
    expected = engine.embed(np.ascontiguousarray(images[::-2, :, ::-1]), modality[::-2].copy())
    view = images[::-2, :, ::-1]
    view.flags.writeable = False
    np.testing.assert_allclose(engine.embed(view, modality[::-2]), expected, atol=near)


def test_input_is_left_alone(engine: Engine) -> None:
    images, modality = batch(engine, 3)
    before = images.copy(), modality.copy()
    engine.embed(images, modality)
    np.testing.assert_array_equal(images, before[0])
    np.testing.assert_array_equal(modality, before[1])


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda i, m: (i[:0], m[:0]), "B >= 1"),
        (lambda i, m: (i[0], m), "expected uint8"),
        (lambda i, m: (i[:, 1:], m), "expected uint8"),
        (lambda i, m: (i[:, :, 1:], m), "expected uint8"),
        (lambda i, m: (i[..., :1], m), "expected uint8"),
        (lambda i, m: (i.transpose(0, 3, 1, 2), m), "expected uint8"),
        (lambda i, m: (i.astype(np.float32), m), "float32"),
        (lambda i, m: (i, m.astype(np.int32)), "modality int32"),
        (lambda i, m: (i, m[:1]), r"expected int64 \(2,\)"),
        (lambda i, m: (i, m[:, None]), r"expected int64 \(2,\)"),
        (lambda i, m: (i, m * 0 + 2), r"values \[2\]"),
        (lambda i, m: (i, m * 0 - 1), r"values \[-1\]"),
    ],
)
def test_wrong_input_is_refused(
    engine: Engine, spoil: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]], match: str
) -> None:
    with pytest.raises(EngineError, match=match):
        engine.embed(*spoil(*batch(engine, 2)))


def test_it_says_what_runs(engine: Engine) -> None:
    info = engine.info
    assert info.device == ("cuda:0" if "tensorrt" in info.runtime else "cpu")
    assert info.threads == 1
    assert info.precision in STEP
    assert len(engine.space_id) == 64


PARTS = [name for name in ENGINES if name.startswith(("onnxruntime", "openvino"))]


@pytest.mark.parametrize("name", PARTS)
def test_a_further_engine_is_near_its_model_and_in_its_space(
    name: str, part_of: Callable[[str], tuple[bundle.Bundle, bundle.EnginePart]]
) -> None:
    whole, part = part_of(name)
    source, engine = open_engine(whole, device="cpu"), open_part(whole, part, device="cpu")
    assert (engine.space_id, engine.dim, engine.input_size) == (
        source.space_id,
        source.dim,
        source.input_size,
    )
    assert engine.info.precision == part.precision
    given = batch(engine, 16)
    cosine = (source.embed(*given) * engine.embed(*given)).sum(axis=1)
    assert cosine.min() > (0.98 if part.precision == "int8" else 0.999)


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("data", [b"", b"no graph", None])
def test_a_broken_graph_is_told(
    name: str, data: bytes | None, part_of: Callable[[str], tuple[bundle.Bundle, bundle.EnginePart]]
) -> None:
    whole, part = part_of(name)
    cut = whole.file(part.file)[: len(whole.file(part.file)) // 2] if data is None else data
    broken = replace(whole, contents={**whole.contents, part.file: cut})
    with pytest.raises(BundleCorrupt):
        open_part(broken, part, device="cpu")


@pytest.mark.parametrize("name", PARTS)
def test_a_graph_that_does_not_match_its_checksum_is_never_opened(
    name: str,
    part_of: Callable[[str], tuple[bundle.Bundle, bundle.EnginePart]],
    tmp_path: Path,
) -> None:
    whole, part = part_of(name)
    folder = bundle.write(tmp_path / "folder", whole.manifest, whole.contents)
    file = folder / part.file
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(BundleCorrupt, match="does not match its checksum"):
        bundle.read(folder)
