"""Layers: cosine head, random crops, ResNet's shortcut, batch normalization."""

from mm_tf.layers.augmentation import RandomHorizontalFlip, RandomPaddedCrop
from mm_tf.layers.batch_normalization import BatchNormalization
from mm_tf.layers.cosine_head import NormalizedDense
from mm_tf.layers.shortcut import PaddedShortcut

__all__ = [
    "BatchNormalization",
    "NormalizedDense",
    "PaddedShortcut",
    "RandomHorizontalFlip",
    "RandomPaddedCrop",
]
