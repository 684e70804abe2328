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
    _checks.check_choice("group", group, SHOT_GROUPS)
    low, high = SHOT_GROUPS[group]
    return (counts >= low) & (counts <= high)


def per_class_error(labels, predictions, num_classes):
    """Returns the share of each class's images that were classified wrongly.

    Args:
        labels: Integer labels, [N].
        predictions: Predicted classes, [N].
        num_classes: The number of classes K, >= 1.

    Returns:
        float64 array [K], in %; NaN for a class without images.

    Raises:
        ValueError: Labels or predictions are no whole numbers in [0, K), there are
            none, or there are not as many of the ones as of the others.

    Example:

    >>> import mm_tf
    >>> print(mm_tf.metrics.per_class_error([0, 0, 1], [0, 1, 1], 2))
    [50.  0.]
    """
    from sklearn.metrics import recall_score

    num_classes = _checks.check_integer("num_classes", num_classes, low=1)
    labels = _checked_classes("labels", labels, num_classes)
    predictions = _checked_classes("predictions", predictions, num_classes)
    if len(labels) != len(predictions):
        raise ValueError(
            f"`predictions` must hold a class for each of the {len(labels)} labels. "
            f"Received: {len(predictions)} predictions"
        )
    recall = recall_score(
        labels,
        predictions,
        labels=np.arange(num_classes),
        average=None,
        zero_division=np.nan,
    )
    return 100.0 * (1.0 - recall)


def _checked_classes(name, classes, num_classes):
    array = _checks.as_numbers(classes)
    if array is None or array.ndim != 1 or not array.size:
        raise ValueError(
            f"`{name}` must be integers [N], N >= 1. Received: {name}={classes!r}"
        )
    wrong = (array < 0) | (array >= num_classes) | (array != np.floor(array))
    if wrong.any():
        raise ValueError(
            f"`{name}` must be whole numbers in [0, {num_classes}). "
            f"Received: {name} with {array[wrong][0]:g} in it"
        )
    return array.astype("int64")


def mean_error(errors, classes=None):
    """Returns the mean of per-class errors over some classes, None over none.

    Args:
        errors: Per-class errors in %, [K]; NaN for a class without images.
        classes: bool [K], which classes count; all by default.

    Raises:
        ValueError: `errors` or `classes` is not as described.

    Example:

    >>> import mm_tf
    >>> mm_tf.metrics.mean_error([10.0, 30.0])
    20.0
    """
    values = _checks.as_numbers(errors)
    if values is None or values.ndim != 1:
        raise ValueError(f"`errors` must be numbers [K]. Received: errors={errors!r}")
    if classes is not None:
        chosen = np.asarray(classes)
        if chosen.dtype != bool or chosen.shape != values.shape:
            raise ValueError(
                f"`classes` must be True or False for each of the {len(values)} "
                f"errors. Received: classes={classes!r}"
            )
        values = values[chosen]
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else None


def best_tau(labels, predict, num_classes):
    """Returns the tau of 0, 0.1, ..., 2 with the smallest balanced error.

    Args:
        labels: Classes of images that were held out, [N].
        predict: A function of tau that returns the predicted classes, [N].
        num_classes: The number of classes K.
    """
    return min(
        np.round(np.arange(21) / 10, 1).tolist(),
        key=lambda tau: mean_error(per_class_error(labels, predict(tau), num_classes)),
    )
