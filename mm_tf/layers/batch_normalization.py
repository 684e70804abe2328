"""Batch normalization in one operation, where a backend has one."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("mm_tf")
class BatchNormalization(keras.layers.BatchNormalization):
    """Batch normalization that trains faster, with the weights of Keras's own.

    Keras computes mean, variance and output in separate passes over the
    activations, and the gradient in about ten. TensorFlow and torch have all of it in
    one operation, for images [N, height, width, channels]: there this layer uses it.
    On JAX, which compiles its passes into few by itself, it is Keras's layer.

    Args:
        **kwargs: As for `keras.layers.BatchNormalization`. With a mask, another
            axis than the last, `renorm`, `synchronized`, or without scale or center
            it is Keras's layer.

    Input and output shape: as of `keras.layers.BatchNormalization`.

    Example:

    >>> import numpy as np
    >>> import mm_tf
    >>> images = np.random.default_rng(0).normal(3.0, 2.0, size=(8, 4, 4, 2))
    >>> normalized = mm_tf.layers.BatchNormalization()(images, training=True)
    >>> round(float(np.std(normalized)), 2)
    1.0

    Source: Ioffe and Szegedy, "Batch Normalization", 2015.
    """

    def call(self, inputs, training=None, mask=None):
        normalize = _NORMALIZE.get(keras.backend.backend())
        normalized = None
        if normalize and training and mask is None and self._is_plain(inputs):
            normalized = normalize(
                inputs,
                ops.convert_to_tensor(self.gamma),
                ops.convert_to_tensor(self.beta),
                self.epsilon,
            )
        if normalized is None:
            return super().call(inputs, training=training, mask=mask)
        outputs, mean, variance = normalized
        for moving, value in (
            (self.moving_mean, mean),
            (self.moving_variance, variance),
        ):
            moving.assign(moving * self.momentum + value * (1.0 - self.momentum))
        return outputs

    def _is_plain(self, inputs):
        dtype = keras.backend.standardize_dtype(inputs.dtype)
        return (
            self.trainable
            and self.scale
            and self.center
            and self.axis in (-1, 3)
            and not (self.synchronized or getattr(self, "renorm", False))
            and len(inputs.shape) == 4
            and dtype in ("float32", "float16", "bfloat16")
            and keras.backend.standardize_dtype(self.gamma.dtype) == "float32"
        )


def _normalize_with_tensorflow(inputs, gamma, beta, epsilon):
    import tensorflow as tf

    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs, scale=gamma, offset=beta, mean=[], variance=[], epsilon=epsilon
    )
    # It gives the unbiased estimate, which is for moving averages in TensorFlow 1.
    count = tf.cast(tf.size(inputs) // tf.size(gamma), variance.dtype)
    return outputs, mean, variance * ((count - 1) / count)


def _normalize_with_torch(inputs, gamma, beta, epsilon):
    import torch

    count = inputs.numel() // gamma.numel()
    if count < 2:
        return None  # PyTorch refuses a single value.
    # It gives a batch's statistics only as moving averages, the variance unbiased.
    mean, variance = torch.zeros_like(gamma), torch.zeros_like(gamma)
    outputs = torch.nn.functional.batch_norm(
        inputs.permute(0, 3, 1, 2),
        mean,
        variance,
        gamma,
        beta,
        training=True,
        momentum=1.0,
        eps=epsilon,
    )
    return outputs.permute(0, 2, 3, 1), mean, variance * ((count - 1) / count)


_NORMALIZE = {
    "tensorflow": _normalize_with_tensorflow,
    "torch": _normalize_with_torch,
}
