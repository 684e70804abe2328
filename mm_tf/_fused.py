"""Operations that a backend has in one piece and `keras.ops` has in many.

Where there is none for a backend, `keras.ops` does the same.
"""

import keras


def batch_normalization(inputs, gamma, beta, epsilon):
    """Normalizes a batch by its own mean and variance, in one operation.

    Args:
        inputs: float32 or half precision [N, height, width, channels].
        gamma: Scale, float32 [channels].
        beta: Offset, float32 [channels].
        epsilon: What is added to the variance.

    Returns:
        (outputs [N, height, width, channels], mean [channels], variance [channels],
        divided by the number of values), or None where this backend has no such
        operation for these inputs.
    """
    fused = _BATCH_NORMALIZATION.get(keras.backend.backend())
    dtype = keras.backend.standardize_dtype(inputs.dtype)
    if fused is None or dtype not in ("float32", "float16", "bfloat16"):
        return None
    return fused(inputs, gamma, beta, epsilon)


def _with_tensorflow(inputs, gamma, beta, epsilon):
    import tensorflow as tf

    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs, scale=gamma, offset=beta, mean=[], variance=[], epsilon=epsilon
    )
    # It gives the unbiased estimate, which is for moving averages in TensorFlow 1.
    count = tf.cast(tf.size(inputs) // tf.size(gamma), variance.dtype)
    return outputs, mean, variance * ((count - 1) / count)


def _with_torch(inputs, gamma, beta, epsilon):
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


_BATCH_NORMALIZATION = {"tensorflow": _with_tensorflow, "torch": _with_torch}
