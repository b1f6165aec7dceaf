"""The modality discriminator, the reversal of gradients, and its schedule."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.losses import modality_bce
from training.models.adversary import GrlSchedule, ModalityDiscriminator, grad_reverse


@pytest.mark.parametrize(
    ("step", "share"),
    [
        (0, 0.0),
        (1, 0.0005),
        (100, 0.0499584),
        (696, 0.3346006),
        (1000, 0.4621172),
        (2500, 0.8482836),
        (5000, 0.9866143),
        (10_000, 0.9999092),
    ],
)
def test_the_schedule(step: int, share: float) -> None:
    schedule = GrlSchedule()
    schedule.advance(step)
    assert float(schedule.share()) == pytest.approx(share, abs=1e-7)


@pytest.mark.parametrize(
    ("iterations", "steps", "shares"),
    [(696, 1, (0.3346, 0.6018, 0.9402, 0.9981)), (129, 5, (0.3118, 0.5683, 0.9235, 0.9968))],
)
def test_the_schedule_at_the_end_of_published_epochs(
    iterations: int, steps: int, shares: tuple[float, ...]
) -> None:
    schedule = GrlSchedule()
    found = {}
    for epoch in range(1, 11):
        for _ in range(iterations):
            schedule.advance(steps)
        found[epoch] = float(schedule.share())
    assert [found[epoch] for epoch in (1, 2, 5, 10)] == pytest.approx(shares, abs=5e-5)


def test_the_count_is_saved_and_moves_only_when_told() -> None:
    schedule = GrlSchedule()
    schedule.advance(5)
    before = float(schedule.share())
    assert float(schedule.share()) == before
    again = GrlSchedule()
    again.load_state_dict(schedule.state_dict())
    again.advance()
    assert int(again.count) == 6
    assert float(again.share()) > before


def test_the_sign() -> None:
    """x = .5, w = 2, c = .3, label 1: the discriminator descends, the network climbs by c."""
    x, w = torch.tensor([0.5], requires_grad=True), torch.tensor(2.0, requires_grad=True)
    loss = modality_bce(w * grad_reverse(x, 0.3), torch.tensor([0]))
    loss.backward()
    assert x.grad is not None
    assert w.grad is not None
    assert float(loss.detach()) == pytest.approx(0.3132617, abs=1e-6)
    assert float(w.grad) == pytest.approx(-0.1344707, abs=1e-6)
    assert float(x.grad) == pytest.approx(0.1613649, abs=1e-6)


@given(st.floats(0, 1), st.integers(0, 100))
def test_reversal_is_the_identity_forward_and_minus_c_backward(share: float, seed: int) -> None:
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    for given_share in (share, torch.tensor(share, dtype=torch.float64)):
        assert torch.equal(grad_reverse(a, given_share), x)
        (plain,) = torch.autograd.grad(b.sin().sum(), b)
        (found,) = torch.autograd.grad(grad_reverse(a, given_share).sin().sum(), a)
        assert torch.allclose(found, -share * plain, atol=1e-7)


def test_undecided_costs_ln_2_and_visible_is_1() -> None:
    modality = torch.tensor([0, 1, 0])
    assert float(modality_bce(torch.zeros(3), modality)) == pytest.approx(0.6931472, abs=1e-6)
    assert float(modality_bce(torch.tensor([9.0, -9, 9]), modality)) < 1e-3
    assert float(modality_bce(torch.tensor([-9.0, 9, -9]), modality)) == pytest.approx(9, abs=1e-3)


def test_its_layers_are_the_published_ones() -> None:
    found = ModalityDiscriminator(3904)
    learnt = sum(parameter.numel() for parameter in found.parameters() if parameter.requires_grad)
    linear = 3904 * 1952 + 1952 + 1952 * 1952 + 1952 + 1952 + 1
    assert learnt == linear + 2 * 3904 + 1  # batch norm of the levels, scale of the last one
    assert found.norm.bias.requires_grad is False
    assert [type(layer).__name__ for layer in found.layers] == [
        "Linear", "ReLU", "Dropout", "Linear", "ReLU", "Dropout", "Linear",
    ]  # fmt: skip


def test_it_learns_to_tell_modalities_and_climbing_features_lose_them() -> None:
    """A discriminator alone wins; with the reversal, features that can move give the modality up."""
    torch.manual_seed(0)
    modality = torch.arange(64) % 2
    start = torch.randn(64, 12) + 3 * modality[:, None]

    def gap(share: float) -> tuple[float, float]:
        torch.manual_seed(1)
        judge, shift = ModalityDiscriminator(12), torch.zeros(2, 12, requires_grad=True)
        optimiser = torch.optim.Adam([*judge.parameters(), shift], lr=0.02)
        for _ in range(150):
            features = start + shift[modality]
            loss = modality_bce(judge(features, share), modality)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        moved = (start + shift[modality]).detach()
        return float((moved[modality == 1].mean(0) - moved[modality == 0].mean(0)).norm()), float(
            loss.detach()
        )

    kept, won = gap(0.0)
    lost, confused = gap(1.0)
    assert kept == pytest.approx(math.sqrt(12) * 3, rel=0.1)
    assert won < 0.4
    assert lost < 0.5 * kept
    assert confused > 0.6
