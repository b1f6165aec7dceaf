"""Why an export is refused: networks that are at fault themselves, and one that is not."""

import re

import pytest
import torch
from torch import nn

from export import diagnosis
from export.parity import draw_probes


class Centred(nn.Module):
    """Adds a great number to its features and takes it off again, as batch norm does whose inputs hardly differ."""

    input_size, dim = (32, 16), 24

    def __init__(self, inside: nn.Module, mean: float, alike: float = 0.0) -> None:
        super().__init__()
        self.inside, self.alike = inside, alike
        self.bias = nn.Parameter(torch.tensor(mean))
        self.register_buffer("mean", torch.tensor(mean))

    def forward(self, images: torch.Tensor, modality: torch.Tensor) -> torch.Tensor:
        rows = (self.inside(images, modality) + self.bias) - self.mean
        return nn.functional.normalize(rows + self.alike)


@pytest.mark.parametrize(
    ("mean", "alike", "said"),
    [
        (0.0, 0.0, "is steady .* so the graph is wrong: please report it"),
        (1e4, 0.0, "is that unsteady: .* cosine falls to 0.*train it longer, or with a lower rate"),
        (0.0, 1e3, "nearly one embedding .*train it longer, then export again"),
        (float("nan"), 0.0, "gives NaN or infinity: take an earlier checkpoint"),
    ],
)
def test_advice_says_what_to_do(tiny_model: nn.Module, mean: float, alike: float, said: str) -> None:
    found = diagnosis.advise(Centred(tiny_model, mean, alike), draw_probes(32, 16))
    assert found.startswith("the network itself ")
    assert re.search(said, found)


def test_last_bits_are_moved_in_a_copy(tiny_model: nn.Module) -> None:
    before = {name: value.clone() for name, value in tiny_model.state_dict().items()}
    found = diagnosis.least_cosine(tiny_model, draw_probes(32, 16))
    assert 0.999999 < found < 1 + 1e-6
    assert all(torch.equal(value, before[name]) for name, value in tiny_model.state_dict().items())


def test_an_unsteady_network_is_further_from_itself_than_a_steady_one(tiny_model: nn.Module) -> None:
    probes = draw_probes(32, 16)
    found = [diagnosis.least_cosine(Centred(tiny_model, mean), probes) for mean in (1.0, 1e3, 1e4, 1e5)]
    assert found == sorted(found, reverse=True)
    assert found[0] > 0.9999 > found[-1]
