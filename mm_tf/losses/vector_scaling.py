"""The vector-scaling loss (VS): each class's logits scaled and shifted."""

import keras
import numpy as np
from keras import ops

from mm_tf import _checks
from mm_tf.losses import inputs
from mm_tf.losses.base import PerExampleLoss
from mm_tf.losses.logit_adjusted import log_class_priors


@keras.saving.register_keras_serializable("mm_tf")
def vector_scaling(y_true, y_pred, class_counts, gamma=0.3, tau=1.0):
    r"""Computes the vector-scaling loss of each example.

    $$ L = -\log \frac{e^{z_y / \Delta_y + \tau \log \pi_y}}
                      {\sum_j e^{z_j / \Delta_j + \tau \log \pi_j}}, \quad
       \Delta_j = (n_{\max} / n_j)^\gamma, \quad
       \pi_j = n_j / \textstyle\sum_i n_i $$

    Args:
        y_true: Integer labels, [N] or [N, 1], each in [0, K); or soft labels, [N, K].
        y_pred: Logits z, [N, K].
        class_counts: Training images n of each class, K whole numbers >= 1.
        gamma: How much smaller the logits of rare classes are taken, >= 0. With 0 the
            loss is the logit-adjusted one.
        tau: The strength of the logit adjustment, >= 0.

    Returns:
        Losses [N], float32 (float64 where `y_pred` is).

    Raises:
        ValueError: An argument is outside its range. Labels: as `PerExampleLoss`.

    Example:

    >>> import mm_tf
    >>> losses = mm_tf.losses.vector_scaling([0, 1], [[1.0, 1.0]] * 2, [90, 10])
    >>> [round(float(loss), 3) for loss in losses]
    [0.066, 2.746]

    Source: Kini et al., "Label-Imbalanced and Group-Sensitive Classification under
    Overparameterization", 2021, Eq. 2; gamma and tau as in its code.
    """
    gamma = _checks.check_number("gamma", gamma, low=0.0)
    tau = _checks.check_number("tau", tau, low=0.0)
    log_priors = log_class_priors(class_counts)
    factors = np.exp(gamma * (log_priors - log_priors.max()))

    def to_logits(outputs):
        inputs.check_num_classes("class_counts", log_priors, outputs)
        shifts = ops.convert_to_tensor(tau * log_priors, outputs.dtype)
        return outputs * ops.convert_to_tensor(factors, outputs.dtype) + shifts

    labels, losses = inputs.cross_entropy(y_true, y_pred, to_logits)
    return inputs.mixture(labels, losses)


@keras.saving.register_keras_serializable("mm_tf")
class VectorScaling(PerExampleLoss):
    """Vector-scaling loss (VS).

    See `vector_scaling` for the formula.

    Args:
        class_counts: Training images of each class, K whole numbers >= 1.
        gamma: How much smaller the logits of rare classes are taken, >= 0. With 0 the
            loss is `LogitAdjusted`.
        tau: The strength of the logit adjustment, >= 0.
        name: The loss's name.
        **kwargs: As for `PerExampleLoss`: `reduction` and `dtype`.

    Raises:
        ValueError: An argument is outside its range. Called: as `PerExampleLoss`.

    Example:

    >>> import mm_tf
    >>> loss = mm_tf.losses.VectorScaling(class_counts=[90, 10])
    >>> round(float(loss([0, 1], [[1.0, 1.0], [1.0, 1.0]])), 3)
    1.406

    Source: Kini et al., "Label-Imbalanced and Group-Sensitive Classification under
    Overparameterization", 2021.
    """

    arguments = ("class_counts", "gamma", "tau")

    def __init__(
        self, class_counts, gamma=0.3, tau=1.0, name="vector_scaling", **kwargs
    ):
        super().__init__(name=name, **kwargs)
        self.class_counts = _checks.list_class_counts(class_counts)
        self.gamma = _checks.check_number("gamma", gamma, low=0.0)
        self.tau = _checks.check_number("tau", tau, low=0.0)

    def output_prior(self):
        """Returns None: outputs scaled class by class have no prior of the classes."""
        return None

    def call(self, y_true, y_pred):
        return vector_scaling(y_true, y_pred, self.class_counts, self.gamma, self.tau)
