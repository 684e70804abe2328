"""The head that gives cosines."""

import keras
from keras import ops

from mm_tf import _checks

# As in PyTorch's `normalize`: a vector shorter than this is not stretched to 1.
SMALLEST_NORM = 1e-12


@keras.saving.register_keras_serializable("mm_tf")
class NormalizedDense(keras.layers.Layer):
    r"""Cosines between the features and one weight vector a class.

    $$ z_j = \frac{x^\top w_j}{\lVert x \rVert \, \lVert w_j \rVert} $$

    It computes in float32 and gives float32 under half-precision policies too:
    the losses multiply cosines by a scale of 10 to 30, and with them the error
    of a rounded cosine.

    Args:
        units: The number of classes K, >= 1.
        kernel_initializer: Of the weight vectors. By default normal with a
            standard deviation that makes them about 1 long.
        **kwargs: As for `keras.layers.Layer`.

    Input shape: [..., D]. Output shape: [..., K], each in [-1, 1]. A feature
    vector of zeros has the cosine 0 with all classes.

    Raises:
        ValueError: `units` is no integer >= 1, `kernel_initializer` is none that
            Keras knows, or the inputs' last axis has no known size.

    Example:

    >>> import numpy as np
    >>> import mm_tf
    >>> head = mm_tf.layers.NormalizedDense(10)
    >>> cosines = head(np.random.default_rng(0).normal(size=(4, 64)))
    >>> cosines.shape == (4, 10) and float(abs(cosines.numpy()).max()) <= 1
    True

    Source: Kang, Vu, Yoo 2021, section 3.1 (after Cao et al. 2019).
    """

    def __init__(self, units, kernel_initializer=None, **kwargs):
        # Keras would cast the features to half precision before `call` sees them.
        super().__init__(autocast=False, **kwargs)
        self.units = _checks.check_integer("units", units, low=1)
        if kernel_initializer is None:
            kernel_initializer = keras.initializers.VarianceScaling(
                scale=1.0, mode="fan_in", distribution="untruncated_normal"
            )
        try:
            self.kernel_initializer = keras.initializers.get(kernel_initializer)
        except ValueError:
            raise ValueError(
                "`kernel_initializer` must be an initializer of Keras or its name. "
                f"Received: kernel_initializer={kernel_initializer!r}"
            ) from None

    def build(self, input_shape):
        if not input_shape or not input_shape[-1]:
            raise ValueError(
                "The inputs must have a last axis of a known size >= 1. "
                f"Received: input_shape={tuple(input_shape)}"
            )
        self.kernel = self.add_weight(
            name="kernel",
            shape=(input_shape[-1], self.units),
            initializer=self.kernel_initializer,
            autocast=False,
        )
        self.built = True

    def call(self, inputs):
        dtype = self._cosine_dtype
        features = to_unit_length(ops.cast(inputs, dtype), axis=-1)
        kernel = to_unit_length(ops.cast(self.kernel, dtype), axis=0)
        return ops.matmul(features, kernel)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def compute_output_spec(self, inputs):
        shape = self.compute_output_shape(inputs.shape)
        return keras.KerasTensor(shape, dtype=self._cosine_dtype)

    @property
    def _cosine_dtype(self):
        is_half = self.variable_dtype in ("float16", "bfloat16")
        return "float32" if is_half else self.variable_dtype

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


def to_unit_length(vectors, axis):
    """Divides vectors by their lengths; those of zeros stay zeros."""
    # The maximum stands inside the root, where it also bounds the gradient.
    squared = ops.sum(ops.square(vectors), axis=axis, keepdims=True)
    return vectors * ops.rsqrt(ops.maximum(squared, SMALLEST_NORM**2))
