"""A model small enough to export in a second; and a bundle, images and a workshop to build TensorRT plans."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner, Result

from export.exam import Exam
from export.tensorrt_part import Workshop
from tests.export import small_bundle
from vireid import bundle as bundles
from vireid.bundle import Bundle
from vireid.engines import tensorrt_library
from vireid.engines.tensorrt import Choices
from vireid.engines.tensorrt_buckets import Bucket


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


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    from tests.export.test_to_tensorrt import network

    return bundles.read(small_bundle.write(tmp_path / "small.zip", network()))


@pytest.fixture
def run(bundle: Bundle, tmp_path: Path) -> Callable[..., Result]:
    def call(*words: str, path: Path | None = None) -> Result:
        given = [str(path or bundle.path), "--cache", str(tmp_path / "plans"), "--flavour", "tensorrt_rtx"]
        from export import tensorrt_command

        return CliRunner().invoke(tensorrt_command.app, [*given, "--buckets", "1,2-4", *words])

    return call


@pytest.fixture
def exam() -> Exam:
    from tests.export.test_to_tensorrt import HEIGHT, WIDTH

    random = np.random.default_rng(1)
    person = np.repeat(np.arange(6), 4)
    looks = random.integers(0, 256, (6, 4, 2, 3))
    images = looks[person].repeat(HEIGHT // 4, axis=1).repeat(WIDTH // 2, axis=2)
    images = np.clip(images + random.normal(0, 6, images.shape), 0, 255).astype(np.uint8)
    return Exam(images, person, np.arange(24) % 3, np.arange(24) % 2)


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    choices = Choices(folder=tmp_path / "plans", buckets=(Bucket(1, 1, 1), Bucket(2, 4, 4)))
    return Workshop(tensorrt_library.load("tensorrt_rtx"), None, choices)
