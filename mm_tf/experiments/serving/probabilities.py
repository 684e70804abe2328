"""From the outputs of a run's model to probabilities of classes."""

import numpy as np

from mm_tf.experiments.paper.methods import METHODS


def output_scale(result):
    """The number by which a run's outputs become logits.

    Cosines lie in [-1, 1], and their softmax would be nearly even. The losses multiply
    them by a scale of their own (`--scale`, or `--ldam_scale`) before their softmax,
    so it is what the network was trained to be read with. The margins of the losses
    are no part of it: they belong to the training, where the class is known.
    """
    method = METHODS.get(result.method)
    if method is not None and method.head == "linear":
        return 1.0
    for name in ("scale", "ldam_scale"):
        value = result.hyperparameters.get(name)
        if isinstance(value, int | float) and value > 0:
            return float(value)
    raise ValueError(
        "A run's result must say the scale of its cosines. "
        f"Received: method={result.method!r}, hyperparameters={result.hyperparameters}"
    )


def probabilities(outputs, scale=1.0):
    """The softmax of scaled outputs.

    p_j = exp(s z_j) / sum over k of exp(s z_k)
    """
    logits = scale * np.asarray(outputs, dtype="float64")
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
