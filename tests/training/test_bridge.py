"""A toy world where night is the negative of day: the infrared side must learn it, the visible one must stay."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from training import bridge
from training.bridge import INFRARED, VISIBLE, BridgeSettings, Crops
from training.models.bridged import BridgedNet
from vireid.errors import TrainingError

SETTINGS = BridgeSettings(
    steps=300, persons=16, shots=2, greyed=0.0, learning_rate=2e-2, keep=0.1, compiled=False
)


class Trunk(nn.Module):
    """A random visible network with one residual output, behind the interface of an OpenVinoNet."""

    input_shape = (3, 16, 8)
    output_shape = (16,)
    residual_outputs = (("block", 12),)

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv = nn.Conv2d(3, 12, 3, stride=2, padding=1)
        self.head = nn.Linear(12 * 8 * 4, 16, bias=False)

    def forward(self, x: torch.Tensor, edits=None) -> torch.Tensor:
        x = self.conv(x / 127.5 - 1).relu()
        x = (edits or {}).get("block", lambda y: y)(x)
        return self.head(x.flatten(1))


def net(rank: int = 6) -> BridgedNet:
    torch.manual_seed(2)
    return BridgedNet(Trunk(), rank).eval()


def world(people: int, seed: int) -> Crops:
    """Blocky patterns, one a person; cameras 1 and 2 see them by day, 3 and 4 in negative grey by night."""
    rng = np.random.default_rng(seed)
    images, labels = [], []
    for person in range(people):
        pattern = np.kron(rng.integers(40, 216, (4, 2, 1)), np.ones((4, 4, 1)))
        for camera in (1, 2, 3, 4):
            shot = np.clip(pattern + rng.normal(0, 6, (16, 8, 1)) + np.zeros(3), 0, 255)
            images.append(255 - shot if camera > 2 else shot)
            labels.append((person, camera, INFRARED if camera > 2 else VISIBLE))
    person, camera, modality = np.array(labels, np.int64).T
    scene = np.zeros(len(images), np.int64)
    return Crops(np.stack(images).astype(np.uint8), person.copy(), camera.copy(), modality.copy(), scene)


def begun(crops: Crops, rank: int = 6) -> tuple[BridgedNet, torch.Tensor]:
    """A centred network and its rows before centring."""
    model = net(rank)
    rows = bridge.embed(model, crops, centred=False)
    bridge.centre(model, rows, crops.modality)
    return model, rows


def rank1_across(model: BridgedNet, crops: Crops) -> float:
    day, night = crops.of(VISIBLE), crops.of(INFRARED)
    similarity = bridge.embed(model, night) @ bridge.embed(model, day).T
    return float((day.person[similarity.argmax(1).numpy()] == night.person).mean())


def test_the_infrared_side_learns_what_carries_over_to_people_it_never_saw() -> None:
    crops, unseen = world(40, seed=3), world(30, seed=9)
    model, rows = begun(crops)
    before = rank1_across(model, unseen)
    bridge.fit(model, crops, rows, SETTINGS)
    after = rank1_across(model, unseen)
    assert after > before + 0.2, (before, after)


def test_visible_rows_keep_the_starts_embeddings_bit_for_bit() -> None:
    crops = world(20, seed=4)
    start = net(rank=0)
    model, rows = begun(crops)
    bridge.fit(model, crops, rows, replace(SETTINGS, steps=5))
    day, night = crops.of(VISIBLE), crops.of(INFRARED)
    same = bridge.embed(model, day, centred=False) - bridge.embed(start, day, centred=False)
    assert (same == 0).all()
    moved = bridge.embed(model, night, centred=False) - bridge.embed(start, night, centred=False)
    assert (moved.abs().amax(1) > 0).all()


def test_a_row_does_not_depend_on_the_modality_of_its_neighbours() -> None:
    model = net()
    for parameter in model.adapters.parameters():
        nn.init.normal_(parameter, std=0.1)
    crops = world(3, seed=5)
    together = bridge.embed(model, crops, batch=12)
    alone = torch.cat([bridge.embed(model, crops.of(m), batch=1) for m in (VISIBLE, INFRARED)])
    order = np.argsort(crops.modality, kind="stable")
    torch.testing.assert_close(together[order], alone)


def test_centring_puts_each_modalitys_mean_at_nought() -> None:
    crops = world(20, seed=6)
    model, _ = begun(crops, rank=0)
    for modality in (VISIBLE, INFRARED):
        part = crops.of(modality)
        left = bridge.embed(model, part, centred=False) - model.centres[modality]
        torch.testing.assert_close(left.mean(0), torch.zeros(16), atol=1e-6, rtol=0)


def test_the_best_scored_weights_are_kept() -> None:
    crops = world(20, seed=7)
    model, rows = begun(crops)
    seen: list[dict[str, torch.Tensor]] = []

    def watch(step: int, watched: BridgedNet) -> float:
        seen.append({name: p.clone() for name, p in watched.state_dict().items()})
        return [0.1, 0.9, 0.3][len(seen) - 1]

    assert bridge.fit(model, crops, rows, replace(SETTINGS, steps=6, watch_every=2), watch) == [0.1, 0.9, 0.3]
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, seen[1][name], rtol=0, atol=0)
    assert any((seen[2][name] != value).any() for name, value in model.state_dict().items())


def test_the_same_seed_gives_the_same_weights() -> None:
    crops = world(20, seed=8)
    made = []
    for seed in (0, 0, 1):
        model, rows = begun(crops)
        bridge.fit(model, crops, rows, replace(SETTINGS, steps=4, seed=seed))
        made.append(bridge.embed(model, crops.of(INFRARED)))
    torch.testing.assert_close(made[0], made[1], rtol=0, atol=0)
    assert not torch.allclose(made[0], made[2])


def test_people_of_one_modality_are_left_out_and_too_few_are_refused() -> None:
    crops = world(9, seed=1)
    fewer = crops.take(~((crops.person < 3) & (crops.modality == INFRARED)))
    model, rows = begun(fewer)
    with pytest.raises(TrainingError, match="6 people"):
        bridge.fit(model, fewer, rows, SETTINGS)
    bridge.fit(model, fewer, rows, replace(SETTINGS, steps=2, persons=6))
    with pytest.raises(TrainingError, match="both modalities"):
        bridge.centre(model, rows[:2], fewer.modality[:2])


def test_people_are_only_compared_within_their_scene() -> None:
    """A scene added, whose people look like those of the first, changes nothing in the first one's losses."""
    crops = world(20, seed=11)
    double = Crops(
        *(
            np.concatenate([getattr(crops, name), getattr(crops, name) + shift])
            for name, shift in (("images", 0), ("person", 20), ("camera", 4), ("modality", 0), ("scene", 1))
        )
    )
    model, rows = begun(crops)
    alone = bridge._Lesson(model, crops, rows, SETTINGS)
    beside = bridge._Lesson(model, double, torch.cat([rows, rows]), SETTINGS)
    at = torch.arange(0, 40)
    embedded = bridge.embed(model, crops)[at]
    torch.testing.assert_close(alone.loss(embedded, at), beside.loss(embedded, at))
    for _ in range(5):
        _, drawn = beside.batch()
        assert len(set(double.scene[drawn.numpy()].tolist())) == 1


def test_softening_takes_back_what_was_taught() -> None:
    crops = world(20, seed=12)
    model, rows = begun(crops)
    bridge.fit(model, crops, rows, replace(SETTINGS, steps=10))
    night = crops.of(INFRARED)
    start, taught = bridge.embed(net(0), night, centred=False), bridge.embed(model, night, centred=False)
    bridge.soften(model, 0.5)
    halfway = bridge.embed(model, night, centred=False)
    bridge.soften(model, 0)
    torch.testing.assert_close(bridge.embed(model, night, centred=False), start, rtol=0, atol=0)
    assert ((halfway * start).sum(1) > (taught * start).sum(1)).float().mean() > 0.9


def test_nothing_to_teach_and_a_runaway_loss_are_refused() -> None:
    crops, few = world(10, seed=2), replace(SETTINGS, persons=8)
    model, rows = begun(crops, rank=0)
    with pytest.raises(TrainingError, match="rank > 0"):
        bridge.fit(model, crops, rows, few)
    broken, rows = begun(crops)
    nn.init.constant_(broken.turn.weight, torch.nan)
    with pytest.raises(TrainingError, match="lower the learning rate"):
        bridge.fit(broken, crops, rows, few)
