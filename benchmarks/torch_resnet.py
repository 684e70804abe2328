"""The network of `mm_tf.models.resnet_cifar` in plain PyTorch, to compare speeds."""

import torch
from torch import nn
from torch.nn import functional


class _Block(nn.Module):
    def __init__(self, channels, filters, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, filters, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(filters)
        self.stride = stride
        self.added = (filters - channels) // 2

    def forward(self, x):
        y = functional.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
        if self.added:
            x = functional.pad(x, (0, 0, 0, 0, self.added, self.added))
        return functional.relu(y + x)


class ResNet(nn.Module):
    """ResNet for small images with a cosine head, depth 6n + 2."""

    def __init__(self, num_classes, depth=32, channels=3):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        blocks, before = [], 16
        for stage, filters in enumerate((16, 32, 64)):
            for block in range((depth - 2) // 6):
                stride = 2 if stage > 0 and block == 0 else 1
                blocks.append(_Block(before, filters, stride))
                before = filters
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Parameter(torch.randn(num_classes, 64) / 8)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x):
        x = functional.relu(self.bn1(self.conv1(x)))
        features = self.blocks(x).mean((2, 3))
        return functional.linear(
            functional.normalize(features), functional.normalize(self.head)
        )
