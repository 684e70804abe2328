"""Each example's own output, the others, and a margin between them."""

from typing import Any, NamedTuple

import numpy as np
from keras import ops

from mm_tf import _checks
from mm_tf.losses.inputs import is_own, prepare


class Compared(NamedTuple):
    """Each example's own output beside the others.

    Attributes:
        labels: int32 [N], in [0, K).
        own: [N]. NaN where it is not finite, of which a loss of 0 could come, or
            where the label was outside [0, K): a running graph can raise no error of
            its own on every backend.
        others: [N, K], -inf in place of the own one.
        strongest: [N], the largest of the others.
    """

    labels: Any
    own: Any
    others: Any
    strongest: Any


def compare(y_true, y_pred):
    """Checks labels and outputs, and splits off each example's own output."""
    labels, outputs, is_valid = prepare(y_true, y_pred)
    owns = is_own(labels, outputs.shape[-1])
    own = ops.sum(ops.where(owns, outputs, 0.0), axis=-1)
    is_usable = ops.logical_and(is_valid, ops.isfinite(own))
    others = ops.where(owns, -float("inf"), outputs)
    return Compared(
        labels,
        ops.where(is_usable, own, float("nan")),
        others,
        ops.max(others, axis=-1),
    )


def cross_entropy(compared, margins, scale):
    """Returns [N], the cross-entropy of scale * (z - margin * onehot(y)).

    As log(1 + exp(log sum_{j != y} exp(scale z_j) - scale (z_y - margin))), which keeps
    its precision far below 1. Of arrays [N, K] it needs one copy of the outputs and one
    of their exponentials.
    """
    # Taken out of both logits, so not of the gradient; and before the scale, which
    # large outputs would not survive.
    strongest = ops.stop_gradient(compared.strongest)
    exponentials = ops.exp(scale * (compared.others - strongest[:, None]))
    lead = compared.own - strongest - margins
    log_odds = ops.log(ops.sum(exponentials, axis=-1)) - scale * lead
    # Not softplus, which on torch is the identity from 20 on.
    return -ops.log_sigmoid(-log_odds)


def per_class(name, values, compared):
    """Returns [N], for each example the value of its class, or the one for all."""
    num_classes = compared.others.shape[-1]
    numbers = _checks.as_numbers(values)
    if (
        numbers is None
        or numbers.shape not in ((), (num_classes,))
        or not np.all(np.isfinite(numbers))
    ):
        raise ValueError(
            f"`{name}` must hold one finite number for each of the {num_classes} "
            f"classes of `y_pred`. Received: {name}={values!r}"
        )
    numbers = np.broadcast_to(numbers, (num_classes,))
    numbers = ops.convert_to_tensor(numbers, dtype=compared.own.dtype)
    return ops.take(numbers, compared.labels, axis=0)
