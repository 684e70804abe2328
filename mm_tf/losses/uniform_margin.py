"""The uniform margin loss: one margin for all classes (the paper's M)."""

import keras

from mm_tf import _checks
from mm_tf.losses import inputs, margins
from mm_tf.losses.base import PerExampleLoss


@keras.saving.register_keras_serializable("mm_tf")
def uniform_margin(y_true, y_pred, margin=0.5, scale=30.0):
    r"""Computes the loss of each example with the same margin for all classes.

    $$ L = -\log \frac{e^{s (z_y - c)}}
                      {e^{s (z_y - c)} + \sum_{j \ne y} e^{s z_j}} $$

    Args:
        y_true: Integer labels, [N] or [N, 1], each in [0, K); or soft labels, [N, K].
        y_pred: Cosines, [N, K], each in [-1, 1], as `NormalizedDense` gives them.
        margin: The margin c, >= 0, in cosines.
        scale: The s by which cosines become logits, > 0.

    Returns:
        Losses [N], float32 (float64 where `y_pred` is).

    Raises:
        ValueError: An argument is outside its range. Labels: as `PerExampleLoss`.

    Example:

    >>> import mm_tf
    >>> losses = mm_tf.losses.uniform_margin([0, 1], [[0.9, 0.1]] * 2, scale=10)
    >>> [round(float(loss), 3) for loss in losses]
    [0.049, 13.0]

    Source: Wang et al., "Additive Margin Softmax for Face Verification", 2018,
    Eq. 5; the M of M-DRW in Cao et al. 2019.
    """
    margin = _checks.check_number("margin", margin, low=0.0)
    scale = _checks.check_number("scale", scale, low=0.0, low_allowed=False)
    cosines = margins.compare(y_true, y_pred)
    losses = margins.cross_entropy(cosines, margin, scale)
    return inputs.mixture(cosines.labels, losses)


@keras.saving.register_keras_serializable("mm_tf")
class UniformMargin(PerExampleLoss):
    """Uniform margin loss: the same margin for all classes.

    See `uniform_margin` for the formula.

    Args:
        margin: The margin, >= 0, in cosines. With 0 the loss is the
            cross-entropy of scaled cosines.
        scale: The s by which cosines become logits, > 0.
        name: The loss's name.
        **kwargs: As for `PerExampleLoss`: `reduction` and `dtype`.

    Raises:
        ValueError: An argument is outside its range. Called: as `PerExampleLoss`.

    Example:

    >>> import mm_tf
    >>> loss = mm_tf.losses.UniformMargin(margin=0.5, scale=10)
    >>> round(float(loss([0, 1], [[0.9, 0.1], [0.9, 0.1]])), 3)
    6.524

    Source: Wang et al., "Additive Margin Softmax for Face Verification", 2018.
    """

    expects_cosines = True
    arguments = ("margin", "scale")

    def __init__(self, margin=0.5, scale=30.0, name="uniform_margin", **kwargs):
        super().__init__(name=name, **kwargs)
        self.margin = _checks.check_number("margin", margin, low=0.0)
        self.scale = _checks.check_number("scale", scale, low=0.0, low_allowed=False)

    def call(self, y_true, y_pred):
        return uniform_margin(y_true, y_pred, margin=self.margin, scale=self.scale)
