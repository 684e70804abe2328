"""Networks with the heads that the losses need.

Residual networks for small images, as both reference codes build them, and heads for
any other backbone.
"""

from mm_tf.models.cosine_head import with_cosine_head
from mm_tf.models.parts import HEADS
from mm_tf.models.resnet import CIFAR_MEAN, CIFAR_STD, resnet_cifar

__all__ = [
    "CIFAR_MEAN",
    "CIFAR_STD",
    "HEADS",
    "resnet_cifar",
    "with_cosine_head",
]
