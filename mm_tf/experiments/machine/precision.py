"""The precision that a network computes in."""

import contextlib

import keras

from mm_tf.experiments.machine import environment

# Weights, cosines, margins and the loss are float32 in all of them.
_POLICIES = {
    "float32": "float32",
    "bfloat16": "mixed_bfloat16",
    # Keras scales the loss of this one.
    "float16": "mixed_float16",
}


def resolved(precision):
    """Returns the given precision; by default bfloat16 on a GPU, else Keras's own."""
    if precision is not None:
        return precision
    if environment.has_accelerator():
        return "bfloat16"
    return keras.config.dtype_policy().compute_dtype


@contextlib.contextmanager
def computing(precision):
    """Inside, new models compute in this precision."""
    precision = resolved(precision)
    before = keras.config.dtype_policy()
    # Another policy is one that the user set, such as float64.
    keras.config.set_dtype_policy(_POLICIES.get(precision, before))
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
