"""From the outputs of a run's model to probabilities of classes."""

import numpy as np
import scipy.special


def output_scale(result):
    """The number by which a run's outputs become logits.

    Cosines lie in [-1, 1], and their softmax would be nearly even. The losses multiply
    them by a scale of their own (`--scale`, or `--ldam_scale`) before their softmax,
    so it belongs to the network's answer. The margins do not: they belong to the
    training, where the class is known.
    """
    if result.scale is not None:
        return result.scale
    # Results of 0.1.0 do not have it.
    if result.row.head == "linear":
        return 1.0
    for name in ("scale", "ldam_scale"):
        value = result.hyperparameters.get(name)
        if isinstance(value, int | float) and value > 0:
            return float(value)
    raise ValueError(
        "A run's result must have the scale of its cosines. "
        f"Received: method={result.method!r}, hyperparameters={result.hyperparameters}"
    )


def probabilities(outputs, scale=1.0):
    """The softmax of scaled outputs, in float64."""
    return scipy.special.softmax(scale * np.asarray(outputs, "float64"), axis=-1)
