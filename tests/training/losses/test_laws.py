"""What every loss obeys: order and names mean nothing, gradients are those of the loss, half precision is widened."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from training import losses
from training.losses import TwoViews

CLASSES = 5


@dataclass
class Drawn:
    """Five identities, two images of each in each modality, in any order."""

    features: Tensor
    logits: Tensor
    labels: Tensor
    modality: Tensor

    def turned(self, seed: int) -> "Drawn":
        """The same batch in another order."""
        order = torch.randperm(len(self.labels), generator=torch.Generator().manual_seed(seed))
        return Drawn(self.features[order], self.logits[order], self.labels[order], self.modality[order])

    def renamed(self, seed: int) -> "Drawn":
        """The same batch with its identities' names exchanged, and the classifier's answers with them."""
        names = torch.randperm(CLASSES, generator=torch.Generator().manual_seed(seed))
        logits = torch.empty_like(self.logits)
        logits[:, names] = self.logits
        return Drawn(self.features, logits, names[self.labels], self.modality)


def drawn(seed: int) -> Drawn:
    random = torch.Generator().manual_seed(seed)
    labels = torch.arange(CLASSES).repeat(4)
    modality = torch.arange(4).repeat_interleave(CLASSES) % 2
    order = torch.randperm(len(labels), generator=random)
    features, logits = (
        torch.randn(len(labels), size, generator=random, dtype=torch.float64) * 2 for size in (6, CLASSES)
    )
    return Drawn(features, logits, labels[order], modality[order])


def squared(batch: Drawn, logits: Tensor) -> tuple[TwoViews, TwoViews]:
    """Two answers for each image of each modality: the logits, and their squares."""
    visible, infrared = (
        TwoViews(logits[batch.modality == kind], logits[batch.modality == kind].square() / 3)
        for kind in (0, 1)
    )
    return visible, infrared


def pal(batch: Drawn, logits: Tensor, form: str) -> Tensor:
    visible, infrared = (logits[batch.modality == kind] for kind in (0, 1))
    first, second = losses.prediction_alignment(visible, infrared, form)  # type: ignore[arg-type]
    return 0.1 * first + 0.5 * second


def soft(batch: Drawn, logits: Tensor, *, detach: bool) -> Tensor:
    return losses.ce_soft(logits, (logits.square() / 3).softmax(1), detach_target=detach)


OF_FEATURES: dict[str, Callable[[Drawn, Tensor], Tensor]] = {
    "triplet": lambda b, f: losses.batch_hard(f, b.labels, 0.7),
    "triplet, lengths kept": lambda b, f: losses.batch_hard(f, b.labels, 0.7, normalise=False),
    "triplet, across": lambda b, f: losses.batch_hard(f, b.labels, 0.7, b.modality, normalise=False),
    "centres, literal": lambda b, f: losses.centre_cluster(f, b.labels, b.modality, 3.0),
    "centres, own": lambda b, f: losses.centre_cluster(f, b.labels, b.modality, 3.0, negatives="own"),
    "centres, mixed": lambda b, f: losses.mixed_centres(f, b.labels, 3.0),
    "earth mover's": lambda b, f: losses.earth_movers(f, b.labels, b.modality),
    "fisher": lambda b, f: losses.fisher_ratio(f, b.labels),
    "fisher, across": lambda b, f: losses.fisher_ratio(f, b.labels, b.modality),
    "modality": lambda b, f: losses.modality_bce(f[:, 0], b.modality),
}
OF_LOGITS: dict[str, Callable[[Drawn, Tensor], Tensor]] = {
    "identity": lambda b, s: losses.identity(s, b.labels, 0.1),
    "capped": lambda b, s: losses.capped(s, b.labels),
    "soft": lambda b, s: soft(b, s, detach=False),
    "mutual": lambda b, s: losses.mutual(*squared(b, s)),
    "mutual, teachers": lambda b, s: losses.mutual_from_teachers(*squared(b, s)),
    "alignment, code": lambda b, s: pal(b, s, "code"),
    "alignment, literal": lambda b, s: pal(b, s, "literal"),
}
# the soft target is detached in the teachers' form: a difference of values would see through that
WITH_ALL_GRADIENTS = [*OF_FEATURES, *(name for name in OF_LOGITS if name != "mutual, teachers")]


def value(name: str, batch: Drawn) -> Tensor:
    return (
        OF_FEATURES[name](batch, batch.features)
        if name in OF_FEATURES
        else OF_LOGITS[name](batch, batch.logits)
    )


@pytest.mark.parametrize("name", [*OF_FEATURES, *OF_LOGITS])
@given(seed=st.integers(0, 10_000))
@settings(max_examples=15)
def test_neither_order_nor_names_matter(name: str, seed: int) -> None:
    batch = drawn(seed)
    expected = float(value(name, batch))
    assert expected > 0
    assert float(value(name, batch.turned(seed + 1))) == pytest.approx(expected, abs=1e-9)
    assert float(value(name, batch.renamed(seed + 2))) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", WITH_ALL_GRADIENTS)
@pytest.mark.parametrize("seed", [1, 2])
def test_gradients_are_those_of_the_loss(name: str, seed: int) -> None:
    batch = drawn(seed)
    if name in OF_FEATURES:
        assert torch.autograd.gradcheck(
            lambda f: OF_FEATURES[name](batch, f), batch.features.requires_grad_()
        )
    else:
        assert torch.autograd.gradcheck(lambda s: OF_LOGITS[name](batch, s), batch.logits.requires_grad_())


@pytest.mark.parametrize("name", [*OF_FEATURES, *OF_LOGITS])
def test_mixed_precision_does_not_coarsen_a_loss(name: str) -> None:
    """Under autocast a matrix product would run in bfloat16, three digits; a loss must not."""
    batch = drawn(5)
    batch.features, batch.logits = (x.bfloat16().float() for x in (batch.features, batch.logits))
    plain = float(value(name, batch))
    with torch.autocast("cpu", torch.bfloat16):
        found = value(name, batch)
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(plain, rel=1e-6)


@pytest.mark.parametrize("name", OF_FEATURES)
def test_features_that_are_all_equal_have_a_finite_gradient(name: str) -> None:
    batch = drawn(3)
    features = torch.ones_like(batch.features).requires_grad_()
    OF_FEATURES[name](batch, features).backward()
    assert features.grad is not None
    assert torch.isfinite(features.grad).all()


@pytest.mark.parametrize("name", [*OF_FEATURES, *OF_LOGITS])
def test_half_precision_is_widened(name: str) -> None:
    half = drawn(5)
    half.features, half.logits = half.features.bfloat16(), half.logits.bfloat16()
    single = Drawn(half.features.float(), half.logits.float(), half.labels, half.modality)
    found = value(name, half)
    assert found.dtype == torch.float32
    if name not in {
        "soft",
        "mutual",
        "mutual, teachers",
    }:  # what these are given is rounded before they see it
        assert float(found) == pytest.approx(float(value(name, single)), rel=1e-6)
