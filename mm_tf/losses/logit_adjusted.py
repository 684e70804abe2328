"""The logit-adjusted loss (LA); with tau 1 the balanced softmax."""

import keras
import numpy as np
from keras import ops

from mm_tf import _checks
from mm_tf.losses import inputs
from mm_tf.losses.base import PerExampleLoss


@keras.saving.register_keras_serializable("mm_tf")
def logit_adjusted(y_true, y_pred, class_counts, tau=1.0, scale=1.0):
    r"""Computes the logit-adjusted cross-entropy of each example.

    $$ L = -\log \frac{e^{s z_y + \tau \log \pi_y}}
                      {\sum_j e^{s z_j + \tau \log \pi_j}}, \quad
       \pi_j = n_j / \textstyle\sum_i n_i $$

    Predict with the argmax of z itself: what was added in training is missing there,
    so that rare classes win more often.

    Args:
        y_true: Integer labels, [N] or [N, 1], each in [0, K); or soft labels, [N, K].
        y_pred: Logits z, or cosines, [N, K].
        class_counts: Training images n of each class, K whole numbers >= 1.
        tau: The strength of the adjustment, >= 0. With 0 the loss is cross-entropy,
            with 1 the balanced softmax.
        scale: The s that multiplies the outputs, > 0: 1 for logits; 10 to 30 for
            cosines.

    Returns:
        Losses [N], float32 (float64 where `y_pred` is).

    Raises:
        ValueError: An argument is outside its range. Labels: as `PerExampleLoss`.

    Example:

    >>> import mm_tf
    >>> losses = mm_tf.losses.logit_adjusted([0, 1], [[0.0, 0.0]] * 2, [90, 10])
    >>> [round(float(loss), 3) for loss in losses]
    [0.105, 2.303]

    Source: Menon et al., "Long-tail Learning via Logit Adjustment", 2021, Eq. 10;
    with tau 1 Ren et al., "Balanced Meta-Softmax", 2020, Eq. 3.
    """
    tau = _checks.check_number("tau", tau, low=0.0)
    scale = _checks.check_number("scale", scale, low=0.0, low_allowed=False)
    log_priors = log_class_priors(class_counts)

    def to_logits(outputs):
        inputs.check_num_classes("class_counts", log_priors, outputs)
        return scale * outputs + ops.convert_to_tensor(tau * log_priors, outputs.dtype)

    labels, losses = inputs.cross_entropy(y_true, y_pred, to_logits)
    return inputs.mixture(labels, losses)


def log_class_priors(class_counts):
    """Returns the logarithm of each class's share of the training images, [K]."""
    counts = _checks.check_class_counts(class_counts)
    return np.log(counts) - np.log(counts.sum())


@keras.saving.register_keras_serializable("mm_tf")
class LogitAdjusted(PerExampleLoss):
    """Logit-adjusted cross-entropy (LA); with tau 1 the balanced softmax.

    See `logit_adjusted` for the formula.

    Args:
        class_counts: Training images of each class, K whole numbers >= 1.
        tau: The strength of the adjustment, >= 0. With 0 the loss is cross-entropy.
        scale: The s that multiplies the outputs, > 0: 1 for logits; 10 to 30 for
            cosines, as `mm_tf.layers.NormalizedDense` gives them.
        name: The loss's name.
        **kwargs: As for `PerExampleLoss`: `reduction` and `dtype`.

    Raises:
        ValueError: An argument is outside its range. Called: as `PerExampleLoss`.

    Example:

    >>> import mm_tf
    >>> loss = mm_tf.losses.LogitAdjusted(class_counts=[90, 10])
    >>> round(float(loss([0, 1], [[0.0, 0.0], [0.0, 0.0]])), 3)
    1.204

    Source: Menon et al., "Long-tail Learning via Logit Adjustment", 2021.
    """

    arguments = ("class_counts", "tau", "scale")

    def __init__(
        self, class_counts, tau=1.0, scale=1.0, name="logit_adjusted", **kwargs
    ):
        super().__init__(name=name, **kwargs)
        self.class_counts = _checks.list_class_counts(class_counts)
        self.tau = _checks.check_number("tau", tau, low=0.0)
        self.scale = _checks.check_number("scale", scale, low=0.0, low_allowed=False)

    def output_prior(self):
        """Returns the prior of the classes that outputs have: n^(1 - tau), [K]."""
        return np.asarray(self.class_counts, dtype="float64") ** (1 - self.tau)

    def call(self, y_true, y_pred):
        return logit_adjusted(y_true, y_pred, self.class_counts, self.tau, self.scale)
