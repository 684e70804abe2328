"""The hinge loss on cosines, with one margin or with LDAM's margins."""

import keras
from keras import ops

from mm_tf import _checks
from mm_tf.losses import inputs, margins
from mm_tf.losses.base import PerExampleLoss
from mm_tf.losses.label_distribution import counts_and_margins


@keras.saving.register_keras_serializable("mm_tf")
def hinge(y_true, y_pred, class_margins, scale=30.0):
    r"""Computes the multi-class hinge loss of each example.

    $$ L = s \, \max(\max_{j \ne y} z_j - z_y + \gamma_y, \; 0) $$

    Args:
        y_true: Integer labels, [N] or [N, 1], each in [0, K); or soft labels, [N, K].
        y_pred: Cosines, [N, K], each in [-1, 1], as `NormalizedDense` gives them.
        class_margins: The gamma of each class, [K], in cosines, or one for all.
        scale: The s by which cosines become logits, > 0.

    Returns:
        Losses [N], float32 (float64 where `y_pred` is).

    Raises:
        ValueError: An argument is outside its range. Labels: as `PerExampleLoss`.

    Example:

    >>> import mm_tf
    >>> losses = mm_tf.losses.hinge([0, 1], [[0.9, 0.1]] * 2, [0.1, 0.5], scale=10)
    >>> [round(float(loss), 3) for loss in losses]
    [0.0, 13.0]

    Source: Cao et al. 2019, Eq. 8 (there without a scale).
    """
    scale = _checks.check_number("scale", scale, low=0.0, low_allowed=False)
    cosines = margins.compare(y_true, y_pred)
    margin = margins.per_class("class_margins", class_margins, cosines)
    losses = scale * ops.relu(cosines.strongest - cosines.own + margin)
    return inputs.mixture(cosines.labels, losses)


@keras.saving.register_keras_serializable("mm_tf")
class Hinge(PerExampleLoss):
    """Hinge loss on cosines (HG), and with `class_counts` LDAM-HG.

    See `hinge` for the formula. It has a gradient only where the lead is smaller than
    the margin, and that gradient is the scale whatever the distance.

    Args:
        margin: The margin of all classes; with `class_counts` the margin of the
            rarest. >= 0, in cosines.
        class_counts: Training images of each class, K whole numbers >= 1, for
            margins that grow as classes get rarer (`label_distribution_margins`);
            None for the same margin in all classes.
        scale: The s by which cosines become logits, > 0.
        name: The loss's name.
        **kwargs: As for `PerExampleLoss`: `reduction` and `dtype`.

    Raises:
        ValueError: An argument is outside its range. Called: as `PerExampleLoss`.

    Example:

    >>> import mm_tf
    >>> loss = mm_tf.losses.Hinge(margin=0.5, scale=10)
    >>> round(float(loss([0, 1], [[0.9, 0.1], [0.9, 0.1]])), 3)
    6.5

    Source: Cao et al., "Learning Imbalanced Datasets with
    Label-Distribution-Aware Margin Loss", 2019, section 3.2.
    """

    expects_cosines = True
    arguments = ("margin", "class_counts", "scale")

    def __init__(
        self,
        margin=0.5,
        class_counts=None,
        scale=30.0,
        name="hinge",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        self.margin = _checks.check_number("margin", margin, low=0.0)
        self.scale = _checks.check_number("scale", scale, low=0.0, low_allowed=False)
        self.class_counts, self.class_margins = counts_and_margins(
            class_counts, self.margin
        )

    def call(self, y_true, y_pred):
        margin = self.margin if self.class_margins is None else self.class_margins
        return hinge(y_true, y_pred, margin, scale=self.scale)
