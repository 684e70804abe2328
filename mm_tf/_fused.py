"""Operations that a backend has in one piece and `keras.ops` has in many.

Where there is none for a backend, or inputs are symbolic, these return None, and
the caller does the same with `keras.ops`.
"""

import keras


def batch_normalization(inputs, gamma, beta, epsilon):
    """Normalizes a batch by its own mean and variance, in one operation."""
    fused = _BATCH_NORMALIZATION.get(keras.backend.backend())
    dtype = keras.backend.standardize_dtype(inputs.dtype)
    if fused is None or dtype not in ("float32", "float16", "bfloat16"):
        return None
    return fused(inputs, gamma, beta, epsilon)


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


_BATCH_NORMALIZATION = {
    "tensorflow": _normalize_with_tensorflow,
    "torch": _normalize_with_torch,
}


def own_and_rivals(outputs, labels):
    """Takes each example's own output from the others."""
    if not _is_on_tensorflow(outputs):
        return None
    import tensorflow as tf

    nothing = tf.fill(tf.shape(labels), tf.constant(-float("inf"), outputs.dtype))
    return (
        tf.gather_nd(outputs, _places(labels)),
        _with_own_ones_at(nothing, outputs, labels),
    )


def log_odds_of_rivals(outputs, labels, target, strongest, scale):
    """Computes log sum_{j != y} exp(scale z_j) - scale z_y.

    As a fused cross-entropy, whose gradient for its logits is the one wanted, softmax
    - onehot(y), wherever the own logit stands. Put far below all others it adds
    nothing to the sum, and what the value is then too large by is known.
    """
    if not _is_on_tensorflow(outputs):
        return None
    import tensorflow as tf

    target, strongest = tf.stop_gradient(target), tf.stop_gradient(strongest)
    # exp(-depth) is below the precision of a sum that has exp(0) in it.
    depth = tf.constant(_DEPTHS[outputs.dtype.name] / scale, outputs.dtype)
    # Large outputs would swallow it.
    below = strongest - tf.maximum(depth, 1e-6 * tf.abs(strongest))

    placed = _with_own_ones_at(below, outputs, labels)
    logits = scale * (placed - strongest[:, None])
    return (
        _cross_entropy(labels, logits)
        + scale * (below - strongest)
        - scale * (target - strongest)
    )


def _cross_entropy(labels, logits):
    """Returns [N]; the gradient is made with it, and in place of the logits."""
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        # A GPU's kernel is not repeatable: this one knows where it must be.
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    # A CPU's always is, but is left aside where repeatable operations are asked for.
    losses, _ = tf.raw_ops.SparseSoftmaxCrossEntropyWithLogits(
        features=logits, labels=labels
    )
    return losses


def _with_own_ones_at(values, outputs, labels):
    """Returns `outputs` [N, K] with `values` [N] in place of each example's own one.

    The gradient passes as if the own ones had not been replaced.
    """
    import tensorflow as tf

    # The one of TensorFlow is an array [N, K] more.
    @tf.custom_gradient
    def replaced(outputs):
        placed = tf.tensor_scatter_nd_update(outputs, _places(labels), values)
        return placed, lambda gradient: gradient

    return replaced(outputs)


_DEPTHS = {"float32": 20.0, "float64": 40.0}


def _is_on_tensorflow(tensor):
    is_symbolic = isinstance(tensor, keras.KerasTensor)
    return keras.backend.backend() == "tensorflow" and not is_symbolic


def _places(labels):
    """Returns int32 [N, 2], the row and column of each example's own output."""
    import tensorflow as tf

    return tf.stack([tf.range(tf.shape(labels)[0]), labels], axis=1)
