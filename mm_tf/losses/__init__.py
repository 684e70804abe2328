"""Losses for class-imbalanced images: Keras losses on integer or soft labels.

Each family is one file with a pure function (`maximum_margin`) and a Keras
`Loss` (`MaximumMargin`). All of them run on TensorFlow, JAX and torch.
"""

from mm_tf.losses.base import PerExampleLoss
from mm_tf.losses.class_weighted import ClassWeighted
from mm_tf.losses.focal import Focal, focal
from mm_tf.losses.hinge import Hinge, hinge
from mm_tf.losses.label_distribution import LDAM, label_distribution_margins, ldam
from mm_tf.losses.logit_adjusted import LogitAdjusted, logit_adjusted
from mm_tf.losses.maximum_margin import MaximumMargin, maximum_margin
from mm_tf.losses.uniform_margin import UniformMargin, uniform_margin
from mm_tf.losses.vector_scaling import VectorScaling, vector_scaling

__all__ = [
    "LDAM",
    "ClassWeighted",
    "Focal",
    "Hinge",
    "LogitAdjusted",
    "MaximumMargin",
    "PerExampleLoss",
    "UniformMargin",
    "VectorScaling",
    "focal",
    "hinge",
    "label_distribution_margins",
    "ldam",
    "logit_adjusted",
    "maximum_margin",
    "uniform_margin",
    "vector_scaling",
]
