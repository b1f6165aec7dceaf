"""ResNet-18 and ResNet-50 in plain torch, with the standard parameter names, so that standard weight files load unchanged.

He et al., Deep Residual Learning for Image Recognition, CVPR 2016. The last stage's stride is 1, as re-identification has it
(Luo et al., Bag of Tricks, CVPRW 2019). Knows no modality and no head.
"""

from collections.abc import Iterator, Sequence

from torch import Tensor, nn


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
    """The first convolution: what is a modality's own."""

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
    """The four stages.

    Args:
        block: of which kind.
        depths: blocks of each stage.
        width: share of the standard channels.
        last_stride: of the last stage; 2 is the classifier's.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        depths: Sequence[int],
        width: float = 1.0,
        last_stride: int = 1,
    ) -> None:
        super().__init__()
        inputs = channels(64, width)
        widths = []
        for stage, (depth, planes, stride) in enumerate(
            zip(depths, (64, 128, 256, 512), (1, 2, 2, last_stride), strict=True), start=1
        ):
            wide = channels(planes, width)
            blocks = [block(inputs, wide, stride)]
            inputs = wide * block.expansion
            blocks += [block(inputs, wide, 1) for _ in range(depth - 1)]
            self.add_module(f"layer{stage}", nn.Sequential(*blocks))
            widths.append(inputs)
        self.channels = inputs
        self.widths = tuple(widths)

    def stages(self) -> Iterator[nn.Module]:
        """Give the four stages in order; ``widths`` are the channels they make."""
        for stage in range(1, 5):
            yield self.get_submodule(f"layer{stage}")

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H/4, W/4) to (B, channels, H/16, W/16)."""
        for stage in self.stages():
            x = stage(x)
        return x


def channels(planes: int, width: float) -> int:
    """Scale a number of channels, to a multiple of 8."""
    return max(8, round(planes * width / 8) * 8)


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
