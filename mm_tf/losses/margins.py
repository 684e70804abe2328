"""Each example's own output, the others, and a margin between them."""

from typing import Any, NamedTuple

import numpy as np
from keras import ops

from mm_tf import _checks
from mm_tf.losses import inputs


class Compared(NamedTuple):
    """Each example's own output beside the others.

    Attributes:
        labels: int32 [N], in [0, K); or soft labels [N, K], for which each class is
            compared in turn.
        own: [N]; of soft labels [N, K]. NaN where it is not finite, of which a loss
            of 0 could come, or where the label was wrong: a running graph can raise
            no error of its own on every backend.
        others: [N, K], -inf in place of the own one; of soft labels in place of the
            largest.
        strongest: [N], the largest of the others; of soft labels [N, K].
    """

    labels: Any
    own: Any
    others: Any
    strongest: Any


def compare(y_true, y_pred):
    """Checks labels and outputs, and splits off each example's own output."""
    labels, outputs, is_valid = inputs.prepare(y_true, y_pred)
    if inputs.is_soft(labels):
        return _compare_each_class(labels, outputs, is_valid[:, None])
    owns = inputs.is_own(labels, outputs.shape[-1])
    own = ops.sum(ops.where(owns, outputs, 0.0), axis=-1)
    others = ops.where(owns, -float("inf"), outputs)
    own = _nan_unless(is_valid, own)
    return Compared(labels, own, others, ops.max(others, axis=-1))


def _compare_each_class(labels, outputs, is_valid):
    largest = ops.cast(ops.argmax(outputs, axis=-1), "int32")
    is_largest = inputs.is_own(largest, outputs.shape[-1])
    others = ops.where(is_largest, -float("inf"), outputs)
    strongest = ops.where(
        is_largest,
        ops.max(others, axis=-1, keepdims=True),
        ops.max(outputs, axis=-1, keepdims=True),
    )
    return Compared(labels, _nan_unless(is_valid, outputs), others, strongest)


def _nan_unless(is_valid, own):
    is_usable = ops.logical_and(is_valid, ops.isfinite(own))
    return ops.where(is_usable, own, float("nan"))


def cross_entropy(compared, margins, scale):
    """Returns [N], the cross-entropy of scale * (z - margin * onehot(y)).

    As log(1 + exp(log sum_{j != y} exp(scale z_j) - scale (z_y - margin))), which keeps
    its precision far below 1. Of arrays [N, K] it needs one copy of the outputs and one
    of their exponentials. Of soft labels it returns that of each class, [N, K].
    """
    # Taken out of both logits, so not of the gradient; and before the scale, which
    # large outputs would not survive.
    strongest = ops.stop_gradient(compared.strongest)
    lead = compared.own - strongest - margins
    log_odds = ops.log(_sum_of_others(compared, strongest, scale)) - scale * lead
    # Not softplus, which on torch is the identity from 20 on.
    return -ops.log_sigmoid(-log_odds)


def _sum_of_others(compared, strongest, scale):
    """Returns the sum over j != y of exp(scale (z_j - strongest)), at least 1."""
    if not inputs.is_soft(compared.labels):
        exponentials = ops.exp(scale * (compared.others - strongest[:, None]))
        return ops.sum(exponentials, axis=-1)
    is_largest = ops.equal(compared.others, -float("inf"))
    second = ops.max(compared.others, axis=-1, keepdims=True)
    of_largest = ops.exp(scale * (compared.others - second))
    largest = ops.max(strongest, axis=-1, keepdims=True)
    all_of_them = ops.exp(scale * (compared.own - largest))
    return ops.where(
        is_largest,
        ops.sum(of_largest, axis=-1, keepdims=True),
        ops.sum(all_of_them, axis=-1, keepdims=True) - all_of_them,
    )


def per_class(name, values, compared):
    """Returns [N], for each example the value of its class, or the one for all.

    Of soft labels those of the classes, [K].
    """
    num_classes = compared.others.shape[-1]
    numbers = _checks.as_numbers(_checks.in_class_order(values))
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
    if inputs.is_soft(compared.labels):
        return numbers
    return ops.take(numbers, compared.labels, axis=0)
