"""Layers: cosine head, augmentation, shortcut, batch normalization, whitening."""

from mm_tf.layers.augmentation import Cutout, RandomHorizontalFlip, RandomPaddedCrop
from mm_tf.layers.batch_normalization import BatchNormalization
from mm_tf.layers.cosine_head import NormalizedDense
from mm_tf.layers.shortcut import PaddedShortcut
from mm_tf.layers.views import ImageViews, MeanOverViews
from mm_tf.layers.whitening import PatchWhitening

__all__ = [
    "BatchNormalization",
    "Cutout",
    "ImageViews",
    "MeanOverViews",
    "NormalizedDense",
    "PaddedShortcut",
    "PatchWhitening",
    "RandomHorizontalFlip",
    "RandomPaddedCrop",
]
