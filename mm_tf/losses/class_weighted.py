"""Class weights around any per-example loss."""

import contextlib

import keras
import numpy as np
from keras import ops

from mm_tf import _checks
from mm_tf.losses import inputs
from mm_tf.losses.base import PerExampleLoss


def check_class_weights(class_weights, num_classes, dtype):
    """Returns the weights as an array [K], or raises a ValueError."""
    weights = _checks.as_numbers(_checks.in_class_order(class_weights))
    if weights is not None:
        with np.errstate(over="ignore"):  # Refused below.
            weights = weights.astype(dtype)
    if (
        weights is None
        or weights.shape != (num_classes,)
        or not np.all(np.isfinite(weights))
        or np.any(weights < 0)
        or not np.any(weights > 0)
    ):
        raise ValueError(
            f"`class_weights` must be {num_classes} finite numbers >= 0, one a class, "
            "and not all 0, or a dict or Series of them with the keys 0 to K - 1. "
            f"Received: class_weights={class_weights!r}"
        )
    return weights


@keras.saving.register_keras_serializable("mm_tf")
class ClassWeighted(PerExampleLoss):
    r"""Any per-example loss times the weight of the example's class.

    By default the batch's loss is the weighted mean, divided by the sum of the
    weights in the batch (Keras's own default divides by the batch size):

    $$ L = \frac{\sum_i w_{y_i} L_i}{\sum_i w_{y_i}} $$

    The weight of a soft label p is the mean, $\sum_k p_k w_k$. The weights are a
    variable, so that a callback can change them between two epochs of `model.fit`;
    `mm_tf.callbacks.DeferredReweighting` does. A `sample_weight` multiplies the
    class's weight, above and below; so does the `class_weight` of `fit`, which must
    therefore not be given beside this loss.

    Args:
        loss: A `keras.losses.Loss` whose `call` gives a loss for each example:
            any of mm_tf, or `keras.losses.SparseCategoricalCrossentropy`, for soft
            labels `CategoricalCrossentropy`. Its own reduction is not used.
        num_classes: The number of classes K, >= 2.
        class_weights: The weight of each class to begin with, [K], >= 0 and not
            all 0; 1 for all by default.
        reduction: As in Keras. `"none"` gives the weighted losses, [N].
        name: The loss's name.
        **kwargs: As for `PerExampleLoss`: `dtype`, that of `loss` by default.

    Raises:
        ValueError: An argument is not as described. Called: as `PerExampleLoss`.

    Example:

    >>> import keras
    >>> import mm_tf
    >>> weights = mm_tf.class_weights.inverse_frequency([300, 100])
    >>> loss = mm_tf.losses.ClassWeighted(
    ...     keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    ...     num_classes=2,
    ...     class_weights=weights,
    ... )
    >>> round(float(loss([0, 1], [[2.0, 0.0], [2.0, 0.0]])), 3)
    1.627

    Source: Kang, Vu, Yoo 2021, section 4 ("weights 1 on average in the
    mini-batch"); Cui et al. 2019.
    """

    def __init__(
        self,
        loss,
        num_classes,
        class_weights=None,
        reduction="mean_with_sample_weight",
        name="class_weighted",
        **kwargs,
    ):
        # The weights of a `ClassWeighted` inside would be ignored.
        if not isinstance(loss, keras.losses.Loss) or isinstance(loss, ClassWeighted):
            raise ValueError(
                "`loss` must be a `keras.losses.Loss` without class weights of its "
                f"own, such as `mm_tf.losses.MaximumMargin()`. Received: loss={loss!r}"
            )
        kwargs["dtype"] = kwargs.get("dtype") or loss.dtype
        super().__init__(reduction=reduction, name=name, **kwargs)
        self.loss = loss
        self.expects_cosines = getattr(loss, "expects_cosines", False)
        # Keras's losses know their outputs, and warn of wrong ones themselves.
        self.takes_probabilities = getattr(loss, "takes_probabilities", True)
        self.num_classes = _checks.check_integer("num_classes", num_classes, low=2)
        if class_weights is None:
            class_weights = np.ones(self.num_classes)
        self._class_weights = keras.Variable(
            check_class_weights(class_weights, self.num_classes, self.dtype),
            dtype=self.dtype,
            trainable=False,
            autocast=False,
            name="class_weights",
        )
        # Read where a step is compiled: a validation step may be one without weights.
        self._is_weighting = True

    @property
    def class_weights(self):
        """The weight of each class now, a NumPy array [K]."""
        return self._class_weights.numpy()

    def set_class_weights(self, class_weights):
        """Changes the weights, also in steps that are compiled already.

        JAX compiles the weights into a step, so that there all compiled functions of
        the process are compiled anew at their next call. Those that were compiled
        ahead of time (`jax.jit(step).lower(...).compile()`) keep the old weights.

        Args:
            class_weights: The weight of each class, [K], >= 0 and not all 0.

        Raises:
            ValueError: They are not K such numbers.
        """
        self._assign(class_weights)
        if keras.backend.backend() == "jax":
            import jax

            jax.clear_caches()

    def _assign(self, class_weights):
        self._class_weights.assign(
            check_class_weights(class_weights, self.num_classes, self.dtype)
        )

    @contextlib.contextmanager
    def _unweighted(self):
        """All classes weigh 1 in the steps that run, or are compiled, in it."""
        self._is_weighting = False
        try:
            yield
        finally:
            self._is_weighting = True

    def __call__(self, y_true, y_pred, sample_weight=None):
        labels, outputs, is_valid = inputs.prepare(y_true, y_pred, self.num_classes)
        weights = self._class_weights
        if not self._is_weighting:
            weights = ops.ones(self.num_classes, self.dtype)
        weights = inputs.of_labels(labels, weights)
        weights = ops.where(is_valid, weights, float("nan"))
        if sample_weight is not None:
            sample_weight = inputs.check_sample_weight(sample_weight, outputs)
            sample_weight = ops.cast(sample_weight, weights.dtype)
            if len(sample_weight.shape) > 0:
                sample_weight = ops.reshape(sample_weight, ops.shape(weights))
            weights = weights * sample_weight
        return super().__call__(y_true, y_pred, sample_weight=weights)

    def call(self, y_true, y_pred):
        return self.loss.call(y_true, y_pred)

    def get_config(self):
        return {
            **super().get_config(),
            "loss": keras.saving.serialize_keras_object(self.loss),
            "num_classes": self.num_classes,
            "class_weights": [float(weight) for weight in self.class_weights],
        }

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        config["loss"] = keras.saving.deserialize_keras_object(config["loss"])
        return cls(**config)
