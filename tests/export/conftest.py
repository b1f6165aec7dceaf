"""A model small enough to export in a second."""

import pytest
import torch
from torch import nn


class TinyNet(nn.Module):
    """A stem per modality, a pooled grid, a projection: enough to tell figures apart."""

    input_size = (32, 16)
    dim = 24

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.stems = nn.ModuleList([nn.Conv2d(3, 8, 3, stride=2, padding=1) for _ in range(2)])
        self.head = nn.Linear(8 * 8 * 4, self.dim, bias=False)

    def forward(self, images: torch.Tensor, modality: torch.Tensor) -> torch.Tensor:
        x = images.permute(0, 3, 1, 2).float() / 127.5 - 1
        visible, infrared = (stem(x) for stem in self.stems)
        x = torch.where(modality.view(-1, 1, 1, 1) == 1, infrared, visible)
        x = nn.functional.adaptive_avg_pool2d(x.tanh(), (8, 4)).flatten(1)
        return nn.functional.normalize(self.head(x))


@pytest.fixture
def tiny_model() -> TinyNet:
    return TinyNet().eval()
