"""The base class of mm_tf's losses."""

import keras

from mm_tf.losses import _inputs


class PerExampleLoss(keras.losses.Loss):
    """A loss of each example: labels [N] and outputs [N, K] in, losses [N] out.

    It adds two things to `keras.losses.Loss`. It computes in float32 at least,
    because scaled logits leave the range of float16 and labels above 256 the
    precision of bfloat16. And its config holds its dtype, which Keras leaves out.

    Args:
        reduction: How the losses of a batch become one number, as in Keras;
            `"none"` gives the losses themselves, [N].
        name: The loss's name.
        dtype: The dtype to compute in, `keras.config.floatx()` by default;
            half precision is raised to float32.

    Attributes:
        expects_cosines: Whether the loss is meant for outputs in [-1, 1], as of
            `mm_tf.layers.NormalizedDense`.

    Raises:
        ValueError: `dtype` is no floating-point dtype. Called: labels, outputs or
            sample weights are no numbers or do not fit together.
    """

    expects_cosines = False

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
        y_true = _inputs.to_tensor("y_true", y_true)
        y_pred = _inputs.to_tensor("y_pred", y_pred)
        if sample_weight is not None:
            sample_weight = _inputs.check_sample_weight(sample_weight, y_pred)
        return super().__call__(y_true, y_pred, sample_weight=sample_weight)

    def get_config(self):
        return {**super().get_config(), "dtype": self.dtype}


def _is_floating(dtype):
    try:
        return "float" in keras.dtype_policies.get(dtype).compute_dtype
    except (TypeError, ValueError):
        return False
