"""The focal loss on integer labels and logits."""

import keras
from keras import ops

from mm_tf import _checks
from mm_tf.losses import inputs
from mm_tf.losses.base import PerExampleLoss

# The smallest 1 - p that enters the power: below it the loss is 0 in any float,
# and the gradient of a power below 1 would be infinite at 0.
_SMALLEST_ERROR = 1e-30


@keras.saving.register_keras_serializable("mm_tf")
def focal(y_true, y_pred, gamma=1.0, scale=1.0):
    r"""Computes the focal loss of each example.

    $$ L = -(1 - p_y)^\gamma \log p_y, \quad p = \mathrm{softmax}(s z) $$

    Args:
        y_true: Integer labels, [N] or [N, 1], each in [0, K); or soft labels, [N, K].
        y_pred: Logits z, [N, K].
        gamma: The focusing exponent, >= 0. With 0 the loss is cross-entropy.
        scale: The s that multiplies the logits, > 0; 1 for a linear head.

    Returns:
        Losses [N], float32 (float64 where `y_pred` is).

    Raises:
        ValueError: An argument is outside its range. Labels: as `PerExampleLoss`.

    Example:

    >>> import mm_tf
    >>> losses = mm_tf.losses.focal([0, 1], [[2.0, 0.0], [2.0, 0.0]])
    >>> [round(float(loss), 3) for loss in losses]
    [0.015, 1.873]

    Source: Lin et al., "Focal Loss for Dense Object Detection", 2017, Eq. 4.
    """
    gamma = _checks.check_number("gamma", gamma, low=0.0)
    scale = _checks.check_number("scale", scale, low=0.0, low_allowed=False)
    labels, cross_entropy = inputs.cross_entropy(y_true, y_pred, lambda z: scale * z)
    if gamma > 0:
        error = ops.maximum(-ops.expm1(-cross_entropy), _SMALLEST_ERROR)
        cross_entropy = error**gamma * cross_entropy
    return inputs.mixture(labels, cross_entropy)


@keras.saving.register_keras_serializable("mm_tf")
class Focal(PerExampleLoss):
    """Focal loss on integer labels and logits.

    See `focal` for the formula. Unlike `keras.losses.CategoricalFocalCrossentropy`
    it takes integer labels and logits, and has no class weight of its own: wrap
    it in `ClassWeighted` for that.

    Args:
        gamma: The focusing exponent, >= 0. With 0 the loss is cross-entropy.
        scale: The s that multiplies the logits, > 0; 1 for a linear head.
        name: The loss's name.
        **kwargs: As for `PerExampleLoss`: `reduction` and `dtype`.

    Raises:
        ValueError: An argument is outside its range. Called: as `PerExampleLoss`.

    Example:

    >>> import mm_tf
    >>> loss = mm_tf.losses.Focal(gamma=1.0)
    >>> round(float(loss([0, 1], [[2.0, 0.0], [2.0, 0.0]])), 3)
    0.944

    Source: Lin et al., "Focal Loss for Dense Object Detection", 2017.
    """

    arguments = ("gamma", "scale")

    def __init__(self, gamma=1.0, scale=1.0, name="focal", **kwargs):
        super().__init__(name=name, **kwargs)
        self.gamma = _checks.check_number("gamma", gamma, low=0.0)
        self.scale = _checks.check_number("scale", scale, low=0.0, low_allowed=False)

    def call(self, y_true, y_pred):
        return focal(y_true, y_pred, gamma=self.gamma, scale=self.scale)
