"""What every engine must do, whatever runs underneath: one suite, run over each."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from vireid import bundle
from vireid.engines import open_engine
from vireid.engines.base import Engine
from vireid.engines.fake import FakeEngine
from vireid.errors import EngineError

Build = Callable[[], Engine]


@pytest.fixture(params=["fake", "onnx", "onnx-default"])
def build(request: pytest.FixtureRequest) -> Build:
    if request.param == "fake":
        return lambda: FakeEngine(height=64, width=32, dim=24)
    if request.param == "onnx":
        tiny = request.getfixturevalue("tiny")
        return lambda: open_engine(tiny, device="cpu")
    default = bundle.read(bundle.default_path())
    return lambda: open_engine(default, device="cpu")


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


def test_a_row_alone_equals_the_row_in_a_mixed_batch(engine: Engine) -> None:
    images, modality = batch(engine, 6)
    modality[:] = [0, 1, 1, 0, 1, 0]
    together = engine.embed(images, modality)
    for row in range(6):
        alone = engine.embed(images[row : row + 1], modality[row : row + 1])
        np.testing.assert_allclose(alone[0], together[row], atol=2e-6)


def test_order_of_rows_does_not_matter(engine: Engine) -> None:
    images, modality = batch(engine, 5)
    order = np.array([3, 0, 4, 1, 2])
    np.testing.assert_allclose(
        engine.embed(images, modality)[order], engine.embed(images[order], modality[order]), atol=2e-6
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


def test_many_threads_get_their_own_rows(engine: Engine) -> None:
    given = [batch(engine, 1 + seed % 3, seed) for seed in range(8)]
    expected = [engine.embed(*one) for one in given]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda one: engine.embed(*one), given))
    for mine, theirs in zip(expected, found, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-6)


def test_views_and_read_only_arrays_are_read_right(engine: Engine) -> None:
    images, modality = batch(engine, 4)
    expected = engine.embed(np.ascontiguousarray(images[::-2, :, ::-1]), modality[::-2].copy())
    view = images[::-2, :, ::-1]
    view.flags.writeable = False
    np.testing.assert_allclose(engine.embed(view, modality[::-2]), expected, atol=2e-6)


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
    assert info.device == "cpu"
    assert info.threads == 1
    assert info.precision == "fp32"
    assert len(engine.space_id) == 64
