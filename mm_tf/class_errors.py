"""Errors by class from predictions, in NumPy; `mm_tf.metrics` has the public names."""

from types import MappingProxyType

import numpy as np

from mm_tf import _checks

# Smallest and largest number of training images of a class in each group, as is
# usual since Liu et al., "Large-Scale Long-Tailed Recognition in an Open World",
# 2019.
SHOT_GROUPS = MappingProxyType(
    {"many": (101, float("inf")), "medium": (20, 100), "few": (1, 19)}
)


def shot_group(class_counts, group):
    """Returns which classes are many-, medium- or few-shot.

    Many-shot classes have more than 100 training images, medium-shot ones 20 to
    100, few-shot ones fewer than 20.

    Args:
        class_counts: Training images of each class, K whole numbers >= 1.
        group: `"many"`, `"medium"` or `"few"`.

    Returns:
        bool array [K].

    Raises:
        ValueError: `class_counts` or `group` is not as described.

    Example:

    >>> import mm_tf
    >>> print(mm_tf.metrics.shot_group([500, 100, 20, 5], "medium"))
    [False  True  True False]
    """
    counts = _checks.check_class_counts(class_counts)
    if group not in SHOT_GROUPS:
        raise ValueError(
            f"`group` must be one of {tuple(SHOT_GROUPS)}. Received: group={group!r}"
        )
    low, high = SHOT_GROUPS[group]
    return (counts >= low) & (counts <= high)


def per_class_error(labels, predictions, num_classes):
    """Returns the share of each class's images that were classified wrongly.

    Args:
        labels: Integer labels, [N].
        predictions: Predicted classes, [N].
        num_classes: The number of classes K.

    Returns:
        float64 array [K], in %; NaN for a class without images.

    Example:

    >>> import mm_tf
    >>> print(mm_tf.metrics.per_class_error([0, 0, 1], [0, 1, 1], 2))
    [50.  0.]
    """
    from sklearn.metrics import recall_score

    recall = recall_score(
        labels,
        predictions,
        labels=np.arange(num_classes),
        average=None,
        zero_division=np.nan,
    )
    return 100.0 * (1.0 - recall)


def mean_error(errors, classes=None):
    """Returns the mean of per-class errors over some classes, None over none.

    Args:
        errors: Per-class errors in %, [K]; NaN for a class without images.
        classes: bool [K], which classes count; all by default.

    Example:

    >>> import mm_tf
    >>> mm_tf.metrics.mean_error([10.0, 30.0])
    20.0
    """
    errors = np.asarray(errors, dtype="float64")
    if classes is not None:
        errors = errors[classes]
    errors = errors[~np.isnan(errors)]
    return float(errors.mean()) if errors.size else None
