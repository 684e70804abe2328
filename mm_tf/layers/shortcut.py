"""The shortcut of residual networks for small images."""

import keras
from keras import ops

from mm_tf import _checks


@keras.saving.register_keras_serializable("mm_tf")
class PaddedShortcut(keras.layers.Layer):
    """The parameter-free shortcut of ResNets on CIFAR ("option A").

    Keeps every second row and column and adds channels of zeros, as many before
    as behind.

    Args:
        filters: The number of channels of the output.
        **kwargs: As for `keras.layers.Layer`.

    Input shape: [N, height, width, channels]. Output shape:
    [N, ceil(height / 2), ceil(width / 2), filters].

    Raises:
        ValueError: `filters` is no integer >= 1, or the inputs have more channels.

    Example:

    >>> import numpy as np
    >>> import mm_tf
    >>> mm_tf.layers.PaddedShortcut(32)(np.ones((1, 8, 8, 16), "float32")).shape[1:]
    TensorShape([4, 4, 32])

    Source: He et al., "Deep Residual Learning for Image Recognition", 2016,
    section 3.3.
    """

    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        self.filters = _checks.check_integer("filters", filters, low=1)
        self.input_spec = keras.layers.InputSpec(ndim=4)

    def build(self, input_shape):
        if input_shape[-1] is None:
            raise ValueError(
                "The inputs must have a known number of channels. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        if input_shape[-1] > self.filters:
            raise ValueError(
                f"`filters` must be at least the {input_shape[-1]} channels of the "
                f"inputs. Received: filters={self.filters}"
            )
        self.built = True

    def call(self, inputs):
        missing = self.filters - inputs.shape[-1]
        before = missing // 2
        channels = (before, missing - before)
        return ops.pad(inputs[:, ::2, ::2, :], ((0, 0), (0, 0), (0, 0), channels))

    def compute_output_shape(self, input_shape):
        count, height, width, _ = input_shape
        halved = [None if size is None else (size + 1) // 2 for size in (height, width)]
        return (count, *halved, self.filters)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters}
