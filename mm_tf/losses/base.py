"""The base class of mm_tf's losses."""

import warnings

import keras
from keras import ops

from mm_tf import _replicas
from mm_tf.losses import inputs

# Keras's names of the reductions that divide.
_MEANS = ("sum_over_batch_size", "mean", "mean_with_sample_weight")


class PerExampleLoss(keras.losses.Loss):
    """A loss of each example: labels [N] and outputs [N, K] in, losses [N] out.

    Labels are integers, or soft [N, K], as label smoothing, MixUp and CutMix make them:
    a share p_k of each class k. The loss of a soft label is the mean of the losses that
    the example would have with each class, sum_k p_k L_k.

    It adds three things to `keras.losses.Loss`. It computes in float32 at least,
    because scaled logits leave the range of float16 and labels above 256 the
    precision of bfloat16. Its config holds its dtype, which Keras leaves out. And
    under `tf.distribute` a mean is that of the whole batch, not of the replicas' means.

    Args:
        reduction: How the losses of a batch become one number, as in Keras;
            `"none"` gives the losses themselves, [N].
        name: The loss's name.
        dtype: The dtype to compute in, `keras.config.floatx()` by default;
            half precision is raised to float32.

    Attributes:
        expects_cosines: Whether the loss is meant for outputs in [-1, 1], as of
            `mm_tf.layers.NormalizedDense`.
        takes_probabilities: Whether the loss is meant for outputs of a softmax; without
            it they are warned of, on TensorFlow and torch.
        arguments: The names of a subclass's own arguments, which are its attributes:
            its config holds them.

    Raises:
        ValueError: `dtype` is no floating-point dtype. Called: labels, outputs or
            sample weights are not numbers or do not fit together, or a label that can
            be seen is neither a whole number in [0, K) nor K shares that sum to 1. In
            `model.fit`, where labels cannot be seen, such a label makes the loss NaN.
    """

    expects_cosines = False
    takes_probabilities = False
    arguments: tuple[str, ...] = ()

    def __init__(self, reduction="sum_over_batch_size", name=None, dtype=None):
        if dtype is not None and not _is_floating(dtype):
            raise ValueError(
                "`dtype` must be a floating-point dtype, such as 'float32'. "
                f"Received: dtype={dtype!r}"
            )
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        if self.dtype in ("float16", "bfloat16"):
            super().__init__(name=name, reduction=reduction, dtype="float32")

    def __call__(self, y_true, y_pred, sample_weight=None):
        # Keras's softmax leaves its inputs here, where a tensor takes attributes.
        if hasattr(y_pred, "_keras_logits") and not self.takes_probabilities:
            warnings.warn(of_softmax(self), stacklevel=2)
        y_true = inputs.to_tensor("y_true", y_true)
        y_pred = inputs.to_tensor("y_pred", y_pred)
        if sample_weight is not None:
            sample_weight = inputs.check_sample_weight(sample_weight, y_pred)
        loss = super().__call__(y_true, y_pred, sample_weight=sample_weight)
        if self.reduction not in _MEANS:
            return loss
        if self.reduction == "mean_with_sample_weight" and sample_weight is not None:
            return _replicas.of_whole_batch(loss, ops.sum(sample_weight))
        return _replicas.of_whole_batch(loss, ops.shape(y_pred)[0])

    def get_config(self):
        own = {name: getattr(self, name) for name in self.arguments}
        return {**super().get_config(), "dtype": self.dtype, **own}


class FunctionLoss(PerExampleLoss):
    """A loss of a function of labels [N], outputs [N, K] and further arguments.

    The loss of a soft label is the mixture of the losses of all classes.

    Args:
        function: Returns losses [N].
        values: Its further arguments, {name: value}.
    """

    def __init__(self, function, values=None):
        super().__init__(name=function.__name__)
        self.function = function
        self.values = dict(values or {})

    def call(self, y_true, y_pred):
        labels, outputs, is_valid = inputs.prepare(y_true, y_pred)
        if inputs.is_soft(labels):
            zeros = ops.zeros_like(outputs[:, 0], dtype="int32")
            of_each_class = [
                self.function(zeros + label, outputs, **self.values)
                for label in range(outputs.shape[1])
            ]
            losses = inputs.mixture(labels, ops.stack(of_each_class, axis=-1))
        else:
            losses = self.function(labels, outputs, **self.values)
        return ops.where(is_valid, losses, float("nan"))

    def get_config(self):
        # A model that is loaded again has no loss: its function may not be there.
        return {**super().get_config(), "function": self.function.__name__}


def of_softmax(loss):
    """Says what is wrong with outputs of a softmax for a loss that has its own."""
    wanted = "logits: leave out the activation of the last layer, or set it to None"
    if loss.expects_cosines:
        wanted = "cosines: use mm_tf.layers.NormalizedDense(num_classes) as last layer"
    return (
        f"The loss {loss.name} got the outputs of a softmax. It has a softmax of its "
        f"own, so that they pass two, and is meant for {wanted}."
    )


def _is_floating(dtype):
    try:
        return "float" in keras.dtype_policies.get(dtype).compute_dtype
    except (TypeError, ValueError):
        return False
