"""The label-distribution-aware margin loss (LDAM) and its margins."""

import keras
import numpy as np

from mm_tf import _checks
from mm_tf.losses import inputs, margins
from mm_tf.losses.base import PerExampleLoss


def label_distribution_margins(class_counts, max_margin=0.5):
    r"""Returns margins that grow as classes get rarer.

    $$ \gamma_j = C / n_j^{1/4}, \quad \max_j \gamma_j = \mathrm{max\_margin} $$

    Args:
        class_counts: Training images of each class, K whole numbers >= 1.
        max_margin: The margin of the rarest class, >= 0.

    Returns:
        float64 array [K].

    Raises:
        ValueError: `class_counts` is no list of at least two whole numbers >= 1,
            or `max_margin` is negative.

    Example:

    >>> import mm_tf
    >>> print(mm_tf.losses.label_distribution_margins([10000, 16]))
    [0.1 0.5]

    Source: Cao et al., "Learning Imbalanced Datasets with
    Label-Distribution-Aware Margin Loss", 2019, Eq. 13.
    """
    counts = _checks.check_class_counts(class_counts)
    max_margin = _checks.check_number("max_margin", max_margin, low=0.0)
    decreasing = counts**-0.25
    return decreasing * (max_margin / np.max(decreasing))


def counts_and_margins(class_counts, max_margin):
    """Returns class counts as ints and their margins; None for both without counts."""
    if class_counts is None:
        return None, None
    counts = _checks.list_class_counts(class_counts)
    return counts, label_distribution_margins(counts, max_margin)


@keras.saving.register_keras_serializable("mm_tf")
def ldam(y_true, y_pred, class_margins, scale=30.0):
    r"""Computes the label-distribution-aware margin loss of each example.

    $$ L = -\log \frac{e^{s (z_y - \gamma_y)}}
                      {e^{s (z_y - \gamma_y)} + \sum_{j \ne y} e^{s z_j}} $$

    Args:
        y_true: Integer labels, [N] or [N, 1], each in [0, K); or soft labels, [N, K].
        y_pred: Cosines, [N, K], each in [-1, 1], as `NormalizedDense` gives them.
        class_margins: The gamma of each class, [K]; see
            `label_distribution_margins`.
        scale: The s by which cosines become logits, > 0.

    Returns:
        Losses [N], float32 (float64 where `y_pred` is).

    Raises:
        ValueError: An argument is outside its range. Labels: as `PerExampleLoss`.

    Example:

    >>> import mm_tf
    >>> losses = mm_tf.losses.ldam([0, 1], [[0.9, 0.1]] * 2, [0.1, 0.5], scale=10)
    >>> [round(float(loss), 3) for loss in losses]
    [0.001, 13.0]

    Source: Cao et al. 2019, Eqs. 10 to 13.
    """
    scale = _checks.check_number("scale", scale, low=0.0, low_allowed=False)
    cosines = margins.compare(y_true, y_pred)
    margin = margins.per_class("class_margins", class_margins, cosines)
    losses = margins.cross_entropy(cosines, margin, scale)
    return inputs.mixture(cosines.labels, losses)


@keras.saving.register_keras_serializable("mm_tf")
class LDAM(PerExampleLoss):
    """Label-distribution-aware margin loss (LDAM).

    See `ldam` for the formula and `label_distribution_margins` for the margins.

    Args:
        class_counts: Training images of each class, K whole numbers >= 1.
        max_margin: The margin of the rarest class, >= 0, in cosines. With 0 the
            loss is the cross-entropy of scaled cosines.
        scale: The s by which cosines become logits, > 0.
        name: The loss's name.
        **kwargs: As for `PerExampleLoss`: `reduction` and `dtype`.

    Raises:
        ValueError: An argument is outside its range. Called: as `PerExampleLoss`.

    Example:

    >>> import mm_tf
    >>> loss = mm_tf.losses.LDAM(class_counts=[10000, 16], scale=10)
    >>> round(float(loss([0, 1], [[0.9, 0.1], [0.9, 0.1]])), 3)
    6.5

    Source: Cao et al., "Learning Imbalanced Datasets with
    Label-Distribution-Aware Margin Loss", 2019.
    """

    expects_cosines = True
    arguments = ("class_counts", "max_margin", "scale")

    def __init__(self, class_counts, max_margin=0.5, scale=30.0, name="ldam", **kwargs):
        super().__init__(name=name, **kwargs)
        self.max_margin = _checks.check_number("max_margin", max_margin, low=0.0)
        self.scale = _checks.check_number("scale", scale, low=0.0, low_allowed=False)
        self.class_margins = label_distribution_margins(class_counts, self.max_margin)
        self.class_counts = _checks.list_class_counts(class_counts)

    def call(self, y_true, y_pred):
        return ldam(y_true, y_pred, self.class_margins, scale=self.scale)
