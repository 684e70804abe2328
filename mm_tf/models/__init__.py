"""Networks with the heads that the losses need.

Residual networks for small images, as both reference codes build them, a wide network
that trains in minutes, heads for any other backbone, and the mean over views.
"""

from mm_tf.models.cosine_head import with_cosine_head
from mm_tf.models.parts import CIFAR_MEAN, CIFAR_STD, HEADS
from mm_tf.models.resnet import resnet_cifar
from mm_tf.models.views import mean_over_views
from mm_tf.models.whitened_cnn import whitened_cnn

__all__ = [
    "CIFAR_MEAN",
    "CIFAR_STD",
    "HEADS",
    "mean_over_views",
    "resnet_cifar",
    "whitened_cnn",
    "with_cosine_head",
]
