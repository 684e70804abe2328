"""The base class of mm_tf's losses."""

import keras


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
    """

    expects_cosines = False

    def __init__(self, reduction="sum_over_batch_size", name=None, dtype=None):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        if self.dtype in ("float16", "bfloat16"):
            super().__init__(name=name, reduction=reduction, dtype="float32")

    def get_config(self):
        return {**super().get_config(), "dtype": self.dtype}
