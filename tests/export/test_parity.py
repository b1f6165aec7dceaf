"""Engines that are wrong in one way each, which parity must refuse, and one that is right."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from torch import nn

from export.bars import EXPORTED, Bar
from export.parity import Probes, Report, draw_probes, prove
from export.torch_engine import TorchEngine
from vireid.engines.base import EngineInfo
from vireid.errors import EngineError, ExportError


class Spoiled:
    """An engine with something done to what goes in and what comes out."""

    def __init__(self, engine: TorchEngine, change: Callable[..., np.ndarray]) -> None:
        self._engine, self._change = engine, change
        self.space_id, self.input_size, self.dim = "", engine.input_size, engine.dim
        self.info = EngineInfo("spoiled 1.0", "test", "cpu", "fp32", 1)

    def embed(self, images: np.ndarray, modality: np.ndarray) -> np.ndarray:
        return self._change(self._engine.embed, images, modality)


@pytest.fixture
def engine(tiny_model: nn.Module) -> TorchEngine:
    return TorchEngine(tiny_model)


@pytest.fixture(scope="module")
def probes() -> Probes:
    return draw_probes(32, 16, count=12)


def as_it_is(embed, images, modality):
    return embed(images, modality)


def other_normalisation(embed, images, modality):
    return embed((images * 0.9).astype(np.uint8), modality)


def other_channel_order(embed, images, modality):
    return embed(np.ascontiguousarray(images[..., ::-1]), modality)


def swapped_modality(embed, images, modality):
    return embed(images, 1 - modality)


def modality_of_the_first_row(embed, images, modality):
    return embed(images, np.full_like(modality, modality[0]))


def rows_moved_in_large_batches(embed, images, modality):
    made = embed(images, modality)
    return np.roll(made, 1, axis=0) if len(made) == 16 else made


def rows_leaning_on_their_batch(embed, images, modality):
    made = embed(images, modality)
    made = made + 0.05 * made.mean(axis=0)
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def nan_in_one_row(embed, images, modality):
    made = embed(images, modality)
    made[-1, 3] = np.nan if len(made) == 7 else made[-1, 3]
    return made


def rows_not_of_length_one(embed, images, modality):
    return embed(images, modality) * 1.5


def half_the_dimensions(embed, images, modality):
    made = embed(images, modality)[:, :12]
    return made / np.linalg.norm(made, axis=1, keepdims=True)


def test_an_equal_engine_passes_and_is_measured(engine: TorchEngine, probes: Probes) -> None:
    report = prove(engine, Spoiled(engine, as_it_is), probes)
    assert isinstance(report, Report)
    assert report.passed
    assert 0.99999 <= report.cosine_min <= 1.000001
    assert 0.99999 <= report.company_min <= 1.000001
    assert max(report.strangers) < 0.999
    assert report.as_json()["candidate"] == "spoiled 1.0 test, fp32, cpu"
    assert report.as_json()["batches"] == [1, 2, 7, 8, 16, 32]
    assert "map" not in report.as_json()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (other_normalisation, "differs from the model it was made from"),
        (other_channel_order, "differs from the model it was made from"),
        (swapped_modality, "differs from the model it was made from"),
        (modality_of_the_first_row, r"cosine min -?\d\.\d+ at batch 2, 7, 8, 16, 32;"),
        (rows_moved_in_large_batches, r": cosine min -?\d\.\d+ at batch 16;"),
        (
            rows_leaning_on_their_batch,
            r"a row in company differs from itself alone: cosine 0\.9\d+ at batch 2, 7, 8, 16, 32;",
        ),
        (nan_in_one_row, "a batch of 7 has NaN"),
        (rows_not_of_length_one, "unit rows"),
        (half_the_dimensions, r"rows are \(12,\); \(24,\) was expected"),
    ],
)
def test_a_spoiled_engine_is_refused(
    engine: TorchEngine, probes: Probes, spoil: Callable[..., np.ndarray], message: str
) -> None:
    with pytest.raises(ExportError, match=message):
        prove(engine, Spoiled(engine, spoil), probes)


def test_a_model_that_leans_on_its_batch_is_refused_though_both_engines_do(
    engine: TorchEngine, probes: Probes
) -> None:
    leaning = Spoiled(engine, rows_leaning_on_their_batch)
    with pytest.raises(ExportError, match="differs"):
        prove(leaning, leaning, probes)


def test_rows_that_depend_on_their_company_are_refused_though_each_is_near_the_model(
    engine: TorchEngine, probes: Probes
) -> None:
    """Turned one way alone and the other way in company: never far from the model, but twice as far from itself."""
    near, angle = replace(EXPORTED, cosine_min=0.999, cosine_mean=0.999, company=0.999), np.arccos(0.9993)
    assert np.cos(angle) > near.company > np.cos(2 * angle)

    def turned(embed, images, modality):
        made = embed(images, modality)
        aside = np.roll(made, 1, axis=1)
        aside -= (aside * made).sum(axis=1, keepdims=True) * made
        aside /= np.linalg.norm(aside, axis=1, keepdims=True)
        way = angle if len(made) == 1 else -angle
        return (np.cos(way) * made + np.sin(way) * aside).astype(np.float32)

    candidate = Spoiled(engine, turned)
    with pytest.raises(ExportError, match=r": a row in company differs from itself alone"):
        prove(engine, candidate, probes, near)
    report = prove(engine, candidate, probes, replace(near, company=0.995))
    assert report.cosine_min == pytest.approx(np.cos(angle), abs=1e-5)
    assert report.company_min == pytest.approx(np.cos(2 * angle), abs=1e-5)


def test_a_collapsed_model_is_refused_though_both_engines_agree(engine: TorchEngine, probes: Probes) -> None:
    def collapsed(embed, images, modality):
        made = np.ones((len(images), 24), np.float32) + 0.001 * embed(images, modality)
        return made / np.linalg.norm(made, axis=1, keepdims=True)

    same = Spoiled(engine, collapsed)
    with pytest.raises(ExportError, match="does not tell people apart"):
        prove(same, same, probes)


def test_tolerance_is_the_callers(engine: TorchEngine, probes: Probes) -> None:
    def slightly_off(embed, images, modality):
        made = embed(images, modality) + np.float32(0.002)
        return made / np.linalg.norm(made, axis=1, keepdims=True)

    with pytest.raises(ExportError):
        prove(engine, Spoiled(engine, slightly_off), probes)
    report = prove(engine, Spoiled(engine, slightly_off), probes, Bar(0.999, 0.999, 0.1))
    assert 0.999 <= report.cosine_min < 0.99999


def test_probes_must_be_different_and_of_both_modalities(engine: TorchEngine, probes: Probes) -> None:
    same = replace(probes, images=np.repeat(probes.images[:1], 12, axis=0))
    with pytest.raises(ExportError, match="are the same"):
        prove(engine, engine, same)
    with pytest.raises(ExportError, match="both modalities"):
        prove(engine, engine, replace(probes, modality=np.zeros(12, np.int64)))


def test_drawn_probes_repeat_and_infrared_ones_are_grey() -> None:
    first, again, other = draw_probes(32, 16), draw_probes(32, 16), draw_probes(32, 16, seed=1)
    np.testing.assert_array_equal(first.images, again.images)
    assert (first.images != other.images).any()
    infrared = first.images[first.modality == 1]
    assert (infrared == infrared[..., :1]).all()
    visible = first.images[first.modality == 0]
    assert (visible != visible[..., :1]).any(axis=(1, 2, 3)).all()


def test_torch_engine_says_what_runs_and_refuses_what_is_no_embedding_model(engine: TorchEngine) -> None:
    assert engine.info.runtime.startswith("torch ")
    assert (engine.info.device, engine.info.precision) == ("cpu", "fp32")
    assert (engine.input_size, engine.dim) == ((32, 16), 24)
    with pytest.raises(EngineError, match="input_size"):
        TorchEngine(nn.Linear(2, 2))
    with pytest.raises(EngineError, match="failed"):
        engine.embed(np.zeros((2, 32, 16, 4), np.uint8), np.zeros(2, np.int64))


def test_torch_engine_refuses_rows_of_another_shape(tiny_model: nn.Module) -> None:
    tiny_model.dim = 12
    with pytest.raises(EngineError, match="was expected"):
        TorchEngine(tiny_model).embed(np.zeros((2, 32, 16, 3), np.uint8), np.zeros(2, np.int64))
