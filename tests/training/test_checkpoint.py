"""Checkpoints on disk: damage, strangers, what they tell."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from training import checkpoint, run
from training.settings import RunSettings
from vireid.errors import TrainingError

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def trained(blocks: Path, tmp_path: Path, tiny: RunSettings) -> Path:
    run.start(tmp_path / "run", tiny, blocks, None, "cpu").loop.train(until=1)
    return tmp_path / "run"


def test_any_flipped_bit_is_refused_and_the_run_is_left(trained: Path) -> None:
    file = trained / checkpoint.FILE
    good = file.read_bytes()
    header = 8 + int.from_bytes(good[:8], "little")
    random = np.random.default_rng(0)
    places = [*random.integers(header, size=30), *random.integers(header, len(good), 10)]
    for place in places:
        bad = bytearray(good)
        bad[int(place)] ^= 1 << int(random.integers(8))
        file.write_bytes(bytes(bad))
        with pytest.raises(TrainingError):
            checkpoint.load_model(trained)
    for cut in (0, 7, header - 1, len(good) // 2, len(good) - 1):
        file.write_bytes(good[:cut])
        with pytest.raises(TrainingError):
            run.resume(trained, device="cpu")
    file.write_bytes(good)
    assert run.resume(trained, device="cpu").loop.epoch == 1


def test_strangers_are_refused(trained: Path) -> None:
    file = trained / checkpoint.FILE
    save_file({"weight": torch.zeros(3)}, file, {"format": "pt"})
    with pytest.raises(TrainingError, match="checkpoint format 'pt'; expected '1'"):
        checkpoint.load_model(trained)
    save_file({"weight": torch.zeros(3)}, file, {"format": "1"})
    with pytest.raises(TrainingError, match="does not match its checksum"):
        checkpoint.load_model(trained)
    file.write_bytes(b"\x80\x04\x95 a pickle is never opened")
    with pytest.raises(TrainingError, match="damaged or no checkpoint"):
        checkpoint.load_model(trained)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"model": {"width": 0.25}}, "another network than the recipe describes"),
        ({"optimiser": {"name": "sgd"}}, "of another optimiser"),
    ],
)
def test_a_recipe_changed_behind_its_checkpoint(
    trained: Path, tiny: RunSettings, changed: dict[str, dict[str, object]], said: str
) -> None:
    recipe = tiny.model_dump()
    for part, values in changed.items():
        recipe[part] |= values
    (trained / checkpoint.RECIPE).write_text(json.dumps(recipe))
    with pytest.raises(TrainingError, match=said):
        run.resume(trained, device="cpu")
    (trained / checkpoint.RECIPE).write_text('{"epochs": -1}')
    with pytest.raises(TrainingError, match=r"recipe\.json is damaged"):
        run.resume(trained, device="cpu")


def test_what_a_checkpoint_tells(trained: Path, blocks: Path, tiny: RunSettings) -> None:
    told = checkpoint.provenance(trained)
    assert told["dataset"] == "sysu-mm01"
    assert told["recipe"] == tiny.model_dump(mode="json")
    assert told["recipe"]["seed"] == 5
    assert told["start"] == "fresh weights"
    assert told["progress"] == {"epoch": 1, "step": 3}
    # it travels in a bundle: nothing of this machine's folders
    assert str(blocks) not in json.dumps(told)
    assert checkpoint.metrics(trained) == {}
    assert checkpoint.preprocessing(trained)["height"] == 64
    run.resume(trained, device="cpu").loop.train()
    scores = checkpoint.metrics(trained)
    assert 0 < scores["mean"]["mAP"] <= 1
    assert scores["protocol"]["dataset"] == "sysu-mm01"
    assert checkpoint.load_model(trained).training is False
    assert not list(trained.glob(".*.part"))


def test_a_failed_write_leaves_the_last_checkpoint(
    trained: Path, tiny: RunSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (trained / checkpoint.FILE).read_bytes()
    resumed = run.resume(trained, device="cpu")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        resumed.loop.train(until=2)
    assert (trained / checkpoint.FILE).read_bytes() == before


def test_a_damaged_line_of_the_metrics_is_named(tmp_path: Path) -> None:
    (tmp_path / checkpoint.METRICS).write_text('{"epoch": 1}\n{"epo\n{"epoch": 3}\n')
    with pytest.raises(TrainingError, match=r"metrics\.jsonl is damaged in line 2: .*remove the line"):
        checkpoint.read_metrics(tmp_path)
