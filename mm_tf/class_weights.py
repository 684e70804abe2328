"""Weights of classes, from how many training images each class has."""

import numpy as np

from mm_tf import _checks


def inverse_frequency(class_counts):
    r"""Returns weights that are inversely proportional to the class counts.

    $$ w_j = \frac{K / n_j}{\sum_k 1 / n_k} $$

    Args:
        class_counts: Training images of each class, K whole numbers >= 1.

    Returns:
        float64 array [K] whose sum is K.

    Raises:
        ValueError: `class_counts` is no list of at least two whole numbers >= 1.

    Example:

    >>> import mm_tf
    >>> print(mm_tf.class_weights.inverse_frequency([300, 100]))
    [0.5 1.5]

    Source: Kang, Vu, Yoo 2021, Algorithm 1.
    """
    return _sum_to_number_of_classes(1.0 / _checks.check_class_counts(class_counts))


def effective_number(class_counts, beta=0.9999):
    r"""Returns weights that are inverse to each class's effective number.

    $$ w_j \propto \frac{1 - \beta}{1 - \beta^{n_j}} $$

    With `beta` 0 all weights are 1; as `beta` nears 1 they near those of
    `inverse_frequency`.

    Args:
        class_counts: Training images of each class, K whole numbers >= 1.
        beta: In [0, 1). Not the beta of the maximum margin loss.

    Returns:
        float64 array [K] whose sum is K.

    Raises:
        ValueError: `class_counts` is no list of at least two whole numbers >= 1,
            or `beta` is outside [0, 1).

    Example:

    >>> import mm_tf
    >>> print(mm_tf.class_weights.effective_number([5000, 50]).round(3))
    [0.025 1.975]

    Source: Cui et al., "Class-Balanced Loss Based on Effective Number of
    Samples", 2019, Eq. 2.
    """
    counts = _checks.check_class_counts(class_counts)
    beta = _checks.check_number("beta", beta, low=0.0)
    if beta >= 1:
        raise ValueError(f"`beta` must be below 1. Received: beta={beta!r}")
    # 1 - beta**n, without the cancellation for small n and beta near 1.
    effective = -np.expm1(counts * np.log(beta)) if beta > 0 else np.ones_like(counts)
    return _sum_to_number_of_classes((1.0 - beta) / effective)


def _sum_to_number_of_classes(weights):
    return weights / weights.sum() * len(weights)
