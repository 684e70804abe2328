"""The maximum margin loss (MM) and its class-dependent form (MM-LDAM)."""

import keras
from keras import ops

from mm_tf import _checks
from mm_tf.losses import inputs, margins
from mm_tf.losses.base import PerExampleLoss
from mm_tf.losses.label_distribution import counts_and_margins


@keras.saving.register_keras_serializable("mm_tf")
def maximum_margin(y_true, y_pred, delta=0.6, beta=1.5, class_margins=None, scale=10.0):
    r"""Computes the maximum margin loss of each example.

    With cosines z, label y and the strongest rival m = max over j != y of z_j:

    $$ \Delta = \exp(-|z_y - m| - d), \quad
       d = \begin{cases} \beta (\delta - \gamma_y) & z_y > m \\
                         \delta - \gamma_y & \text{otherwise} \end{cases} $$

    $$ L = -\log \frac{e^{s (z_y - \Delta)}}
                      {e^{s (z_y - \Delta)} + \sum_{j \ne y} e^{s z_j}} $$

    The margin is largest at the decision boundary, and, for beta > 1 and delta
    above gamma, larger for examples classified wrongly. It is a constant for the
    gradient. A tie counts as wrong.

    Args:
        y_true: Integer labels, [N] or [N, 1], each in [0, K); or soft labels, [N, K].
        y_pred: Cosines, [N, K], each in [-1, 1], as `NormalizedDense` gives them.
        delta: The paper's delta minus, >= 0. A larger one makes margins smaller.
        beta: delta plus / delta minus, >= 0.
        class_margins: The gamma of each class, [K], or None for gamma = 0.
        scale: The s by which cosines become logits, > 0.

    Returns:
        Losses [N], float32 (float64 where `y_pred` is).

    Raises:
        ValueError: An argument is outside its range. Labels: as `PerExampleLoss`.

    Example:

    >>> import mm_tf
    >>> losses = mm_tf.losses.maximum_margin([0, 1], [[0.9, 0.1], [0.9, 0.1]])
    >>> [round(float(loss), 3) for loss in losses]
    [0.002, 10.466]

    Source: Kang, Vu, Yoo 2021, Eqs. 1 to 7.
    """
    delta = _checks.check_number("delta", delta, low=0.0)
    beta = _checks.check_number("beta", beta, low=0.0)
    scale = _checks.check_number("scale", scale, low=0.0, low_allowed=False)
    cosines = margins.compare(y_true, y_pred)
    gap = cosines.own - cosines.strongest
    smoothing = ops.full_like(gap, delta)
    if class_margins is not None:
        smoothing -= margins.per_class("class_margins", class_margins, cosines)
    smoothing = ops.where(gap > 0, beta * smoothing, smoothing)
    margin = ops.stop_gradient(ops.exp(-ops.abs(gap) - smoothing))
    losses = margins.cross_entropy(cosines, margin, scale)
    return inputs.mixture(cosines.labels, losses)


@keras.saving.register_keras_serializable("mm_tf")
class MaximumMargin(PerExampleLoss):
    r"""Maximum margin loss (MM), and with `class_counts` MM-LDAM.

    See `maximum_margin` for the formula. With `class_counts` n the margins grow
    for rare classes (Eqs. 6 and 7):

    $$ \gamma_j = C / n_j^{1/4}, \quad \max_j \gamma_j =
       \mathrm{max\_class\_margin} $$

    Args:
        delta: The paper's delta minus, >= 0.
        beta: delta plus / delta minus, >= 0; the paper finds values > 1 best.
        class_counts: Training images of each class, K whole numbers >= 1, or
            None for the same smoothing in all classes.
        max_class_margin: The gamma of the rarest class, >= 0. Without
            `class_counts` it is not used.
        scale: The s by which cosines become logits, > 0.
        name: The loss's name.
        **kwargs: As for `PerExampleLoss`: `reduction` and `dtype`.

    Raises:
        ValueError: An argument is outside its range. Called: as `PerExampleLoss`.

    Example:

    >>> import mm_tf
    >>> mm = mm_tf.losses.MaximumMargin(delta=0.6, beta=1.5)
    >>> round(float(mm([0, 1], [[0.9, 0.1], [0.9, 0.1]])), 3)
    5.234
    >>> mm_ldam = mm_tf.losses.MaximumMargin(class_counts=[5000, 50])
    >>> round(float(mm_ldam([0, 1], [[0.9, 0.1], [0.9, 0.1]])), 3)
    6.035

    Source: Kang, Vu, Yoo, "Learning Imbalanced Datasets with Maximum Margin
    Loss", 2021, Eqs. 1 to 7.
    """

    expects_cosines = True
    arguments = ("delta", "beta", "class_counts", "max_class_margin", "scale")

    def __init__(
        self,
        delta=0.6,
        beta=1.5,
        class_counts=None,
        max_class_margin=0.5,
        scale=10.0,
        name="maximum_margin",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        self.delta = _checks.check_number("delta", delta, low=0.0)
        self.beta = _checks.check_number("beta", beta, low=0.0)
        self.scale = _checks.check_number("scale", scale, low=0.0, low_allowed=False)
        self.max_class_margin = _checks.check_number(
            "max_class_margin", max_class_margin, low=0.0
        )
        self.class_counts, self.class_margins = counts_and_margins(
            class_counts, self.max_class_margin
        )

    def call(self, y_true, y_pred):
        return maximum_margin(
            y_true,
            y_pred,
            delta=self.delta,
            beta=self.beta,
            class_margins=self.class_margins,
            scale=self.scale,
        )
