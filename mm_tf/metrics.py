"""Errors by class, and by how many training images the classes have."""

import keras
from keras import ops

from mm_tf import _checks
from mm_tf.class_errors import SHOT_GROUPS, mean_error, per_class_error, shot_group
from mm_tf.losses import inputs

__all__ = [
    "SHOT_GROUPS",
    "BalancedAccuracy",
    "ShotAccuracy",
    "mean_error",
    "per_class_error",
    "shot_group",
]


class _PerClassAccuracy(keras.metrics.Metric):
    """Counts right answers and images of each class."""

    # Keras's callbacks with mode="auto" look for it.
    _direction = "up"

    def __init__(self, num_classes, name, dtype=None):
        super().__init__(name=name, dtype=dtype)
        self.num_classes = _checks.check_integer("num_classes", num_classes, low=2)
        self._right = self._counter("right")
        self._seen = self._counter("seen")

    def _counter(self, name):
        return self.add_variable((self.num_classes,), initializer="zeros", name=name)

    def update_state(self, y_true, y_pred, sample_weight=None):
        labels, outputs, is_valid = inputs.prepare(y_true, y_pred, self.num_classes)
        if inputs.is_soft(labels):
            labels = ops.cast(ops.argmax(labels, axis=-1), "int32")
        guesses = ops.cast(ops.argmax(outputs, axis=-1), "int32")
        is_right = ops.cast(guesses == labels, self.dtype)
        # In a running graph a label outside raises no error: it counts nowhere.
        is_counted = ops.logical_and(
            inputs.is_own(labels, self.num_classes), is_valid[:, None]
        )
        seen = ops.cast(is_counted, self.dtype)
        if sample_weight is not None:
            weights = inputs.check_sample_weight(sample_weight, outputs)
            seen = seen * ops.cast(ops.reshape(weights, (-1, 1)), self.dtype)
        right = seen * is_right[:, None]
        self._seen.assign_add(ops.sum(seen, axis=0))
        self._right.assign_add(ops.sum(right, axis=0))

    def _mean_over(self, classes):
        counted = ops.where(self._seen > 0, classes, ops.zeros_like(classes))
        accuracies = ops.divide_no_nan(self._right, self._seen)
        return ops.divide_no_nan(ops.sum(accuracies * counted), ops.sum(counted))


@keras.saving.register_keras_serializable("mm_tf")
class BalancedAccuracy(_PerClassAccuracy):
    r"""The mean over the classes of each class's accuracy.

    $$ \frac{1}{K} \sum_j \frac{\text{right answers of class } j}
                               {\text{images of class } j} $$

    Args:
        num_classes: The number of classes K, >= 2.
        name: The metric's name.
        dtype: The dtype of its result.

    Labels are integers [N] or soft labels [N, K], of which the largest share counts;
    outputs are [N, K]. The result is in [0, 1]; classes of which no image was seen do
    not count.

    Raises:
        ValueError: `num_classes` is no integer >= 2. Updated: labels, outputs or
            sample weights do not fit, or a label that can be seen is no whole
            number in [0, K).

    Example:

    >>> import mm_tf
    >>> metric = mm_tf.metrics.BalancedAccuracy(2)
    >>> metric.update_state([0, 0, 0, 1], [[1.0, 0.0]] * 4)
    >>> float(metric.result())
    0.5
    """

    def __init__(self, num_classes, name="balanced_accuracy", dtype=None):
        super().__init__(num_classes, name, dtype)

    def result(self):
        return self._mean_over(ops.ones((self.num_classes,), dtype=self.dtype))

    def get_config(self):
        return {**super().get_config(), "num_classes": self.num_classes}


@keras.saving.register_keras_serializable("mm_tf")
class ShotAccuracy(_PerClassAccuracy):
    """The mean accuracy of the many-, medium- or few-shot classes.

    Args:
        class_counts: Training images of each class, K whole numbers >= 1.
        group: `"many"` (> 100), `"medium"` (20 to 100) or `"few"` (< 20).
        name: The metric's name, `<group>_shot_accuracy` by default.
        dtype: The dtype of its result.

    Labels are integers [N] or soft labels [N, K], of which the largest share counts;
    outputs are [N, K]. The result is in [0, 1]; classes of which no image was seen do
    not count.

    Raises:
        ValueError: An argument is not as described, or no class is in the group.
            Updated: as `BalancedAccuracy`.

    Example:

    >>> import mm_tf
    >>> metric = mm_tf.metrics.ShotAccuracy([500, 5], group="few")
    >>> metric.update_state([0, 0, 1, 1], [[1.0, 0.0], [1, 0], [0, 1], [1, 0]])
    >>> float(metric.result())
    0.5
    """

    def __init__(self, class_counts, group, name=None, dtype=None):
        classes = shot_group(class_counts, group)
        if not classes.any():
            raise ValueError(
                f"No class is {group}-shot, so there is no accuracy to average. "
                f"Received: class_counts={class_counts!r}, group={group!r}"
            )
        super().__init__(len(classes), name or f"{group}_shot_accuracy", dtype)
        self.class_counts = _checks.list_class_counts(class_counts)
        self.group = group
        self._classes = classes

    def result(self):
        return self._mean_over(ops.convert_to_tensor(self._classes, dtype=self.dtype))

    def get_config(self):
        return {
            **super().get_config(),
            "class_counts": self.class_counts,
            "group": self.group,
        }
