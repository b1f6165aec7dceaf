"""ResNet-18 and ResNet-50 in plain torch, with the standard parameter names, so that standard weight files load unchanged.

He et al., Deep Residual Learning for Image Recognition, CVPR 2016. The last stage's stride is 1, as re-identification has it
(Luo et al., Bag of Tricks, CVPRW 2019). Knows no modality and no head.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

STAGES = (1, 2, 3, 4)  # of residual blocks, after the stem
PLANES = (64, 128, 256, 512)
STRIDES = (1, 2, 2, 1)


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut."""

    expansion = 1

    def __init__(self, inputs: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inputs, planes, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W)."""
        kept = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        made: Tensor = self.relu(self.bn2(self.conv2(out)) + kept)
        return made


class Bottleneck(nn.Module):
    """A 3 x 3 convolution between two 1 x 1, and a shortcut."""

    expansion = 4

    def __init__(self, inputs: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, planes * 4, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(planes * 4)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inputs, planes * 4, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W)."""
        kept = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        made: Tensor = self.relu(self.bn3(self.conv3(out)) + kept)
        return made


class Stem(nn.Module):
    """The first convolution and what follows it up to the first residual block."""

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        planes = channels(64, width)
        self.channels = planes
        self.conv1 = nn.Conv2d(3, planes, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (B, 3, H, W) to (B, C, H/4, W/4)."""
        made: Tensor = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return made


class Trunk(nn.Module):
    """Stages of residual blocks, all four or some of them.

    Args:
        block: of which kind.
        depths: blocks of each of the four stages.
        width: share of the standard channels.
        stages: which of the four it holds, counted from 1.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        depths: Sequence[int],
        width: float = 1.0,
        stages: Sequence[int] = STAGES,
    ) -> None:
        super().__init__()
        for stage in stages:
            wide = channels(PLANES[stage - 1], width)
            blocks = [block(_inputs(block, stage, width), wide, STRIDES[stage - 1])]
            blocks += [block(wide * block.expansion, wide, 1) for _ in range(depths[stage - 1] - 1)]
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
        self._held = tuple(stages)

    def stages(self) -> Iterator[nn.Module]:
        """Give the stages it holds, in order."""
        for stage in self._held:
            yield self.get_submodule(f"layer{stage}")

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) of the stage before; all four map (B, C, H/4, W/4) to (B, channels, H/16, W/16)."""
        for stage in self.stages():
            x = stage(x)
        return x


@dataclass(frozen=True, slots=True)
class Backbone:
    """A ResNet to be built, whole or in pieces.

    Attributes:
        block: of which kind.
        depths: blocks of each of the four stages after the stem.
        width: share of the standard channels.
    """

    block: type[BasicBlock] | type[Bottleneck]
    depths: tuple[int, int, int, int]
    width: float = 1.0

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of what each of the five stages makes."""
        return tuple(_inputs(self.block, stage, self.width) for stage in range(1, 6))

    def stem(self) -> Stem:
        """Build the first stage with fresh weights."""
        return Stem(self.width)

    def trunk(self, stages: Sequence[int] = STAGES) -> Trunk:
        """Build stages after the stem with fresh weights.

        Args:
            stages: which of the four, counted from 1.
        """
        return Trunk(self.block, self.depths, self.width, stages)


def _inputs(block: type[BasicBlock] | type[Bottleneck], stage: int, width: float) -> int:
    """Tell the channels that a stage of residual blocks takes; of a fifth, which there is not, those the fourth makes."""
    return channels(64, width) if stage == 1 else channels(PLANES[stage - 2], width) * block.expansion


def channels(planes: int, width: float) -> int:
    """Scale a number of channels, to a multiple of 8."""
    return max(8, round(planes * width / 8) * 8)


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
