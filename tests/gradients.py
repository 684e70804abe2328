"""The gradient of a function of one tensor, on whichever backend Keras uses."""

import keras
import numpy as np


def value_and_gradient(function, x):
    """Returns (value, gradient to x) of a scalar function, as float64 arrays."""
    return _VALUE_AND_GRADIENT[keras.backend.backend()](function, x)


def _with_tensorflow(function, x):
    import tensorflow as tf

    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = function(x)
    return np.float64(value), np.asarray(tape.gradient(value, x), "float64")


def _with_jax(function, x):
    import jax

    value, gradient = jax.value_and_grad(function)(jax.numpy.asarray(x))
    return np.float64(value), np.asarray(gradient, "float64")


def _with_torch(function, x):
    import torch

    x = torch.tensor(x, requires_grad=True)
    value = function(x)
    value.backward()
    return np.float64(value.detach()), x.grad.numpy().astype("float64")


_VALUE_AND_GRADIENT = {
    "tensorflow": _with_tensorflow,
    "jax": _with_jax,
    "torch": _with_torch,
}
