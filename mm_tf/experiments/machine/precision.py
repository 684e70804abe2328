"""In which precision a network computes."""

import contextlib

import keras

from mm_tf.experiments.machine import environment

# Weights are float32 in all of them; so are cosines, margins and the loss.
_POLICIES = {
    "float32": "float32",
    "bfloat16": "mixed_bfloat16",
    # Keras scales the loss by itself with this one.
    "float16": "mixed_float16",
}


def resolved(precision):
    """Returns the precision: as given, or bfloat16 on a GPU and else Keras's own."""
    if precision is not None:
        return precision
    if environment.has_accelerator():
        return "bfloat16"
    return keras.config.dtype_policy().compute_dtype


@contextlib.contextmanager
def computing(precision):
    """Inside, models that are made compute in this precision."""
    precision = resolved(precision)
    before = keras.config.dtype_policy()
    # Another policy can only be a user's own: float64, say.
    keras.config.set_dtype_policy(_POLICIES.get(precision, before))
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
