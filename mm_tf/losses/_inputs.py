"""What every loss does with its labels and outputs before its own formula."""

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from mm_tf import _checks, _fused


class Inputs(NamedTuple):
    """Checked inputs of a loss.

    Attributes:
        labels: int32 [N], clipped to [0, K).
        outputs: float32 or float64 [N, K].
        is_valid: bool [N], whether the label was in [0, K).
    """

    labels: Any
    outputs: Any
    is_valid: Any


def prepare(y_true, y_pred):
    """Checks labels and outputs, and lifts half precision to float32."""
    outputs = to_tensor("y_pred", y_pred)
    if keras.backend.standardize_dtype(outputs.dtype) not in ("float32", "float64"):
        # Scaled logits leave the range of float16 and the precision of bfloat16.
        outputs = ops.cast(outputs, "float32")
    if len(outputs.shape) != 2 or outputs.shape[-1] is None or outputs.shape[-1] < 2:
        raise ValueError(
            "`y_pred` must have the shape [N, K], an output for each of K >= 2 "
            f"classes. Received: y_pred.shape={tuple(outputs.shape)}"
        )
    num_classes = outputs.shape[-1]
    labels, is_valid = prepare_labels(y_true, num_classes)
    check_rows(labels, outputs)
    return Inputs(labels, outputs, is_valid)


def is_target(inputs):
    """Returns bool [N, K], True at each example's own class."""
    # Not one_hot, which on torch is made of int64.
    classes = ops.arange(inputs.outputs.shape[-1], dtype="int32")
    return ops.equal(ops.expand_dims(inputs.labels, axis=-1), classes)


def to_tensor(name, values):
    """Returns `values` as a tensor, or raises a ValueError if they are no numbers.

    Each backend has another error for strings, None and ragged lists, from deep
    inside.
    """
    if not (ops.is_tensor(values) or isinstance(values, keras.KerasTensor)):
        try:
            array = np.asarray(values)
        except Exception:  # Lists of different lengths, for one.
            array = None
        # Not numbers: complex, bytes, objects, strings, dates.
        if array is None or array.dtype.kind in "cSOUmM":
            raise ValueError(
                f"`{name}` must be an array or a tensor of numbers. "
                f"Received: {name}={values!r}"
            )
    return ops.convert_to_tensor(values)


def check_rows(labels, outputs):
    """Raises a ValueError unless there is a label for each row of the outputs."""
    rows = (labels.shape[0], outputs.shape[0])
    if None not in rows and rows[0] != rows[1]:
        raise ValueError(
            "`y_true` and `y_pred` must have as many rows as each other. "
            f"Received: y_true with {rows[0]}, y_pred with {rows[1]}"
        )


def check_sample_weight(sample_weight, y_pred):
    """Returns `sample_weight` as a tensor that fits a batch of losses [N]."""
    weights = to_tensor("sample_weight", sample_weight)
    shape, count = tuple(weights.shape), y_pred.shape[:1]
    is_known = None not in shape and None not in count
    if is_known and shape not in ((), (*count,), (*count, 1)):
        raise ValueError(
            "`sample_weight` must hold a number for each example, [N] or [N, 1], or "
            f"be one for all. Received: sample_weight.shape={shape}, "
            f"y_pred.shape={tuple(y_pred.shape)}"
        )
    return weights


def prepare_labels(y_true, num_classes):
    """Returns (labels int32 [N] clipped to [0, K), whether each was in it)."""
    _check_visible_labels(y_true, num_classes)
    labels = to_tensor("y_true", y_true)
    if len(labels.shape) == 2 and labels.shape[-1] == 1:
        labels = ops.squeeze(labels, axis=-1)
    if len(labels.shape) != 1:
        raise ValueError(
            "`y_true` must be integer labels of the shape [N] or [N, 1]; of one-hot "
            "labels take the argmax over the last axis. "
            f"Received: y_true.shape={tuple(labels.shape)}"
        )
    labels = ops.cast(labels, "int32")
    is_valid = ops.logical_and(labels >= 0, labels < num_classes)
    return ops.clip(labels, 0, num_classes - 1), is_valid


def cross_entropy(inputs, logits):
    """Returns [N], the cross-entropy of `logits`; NaN where the label is invalid."""
    losses = ops.sparse_categorical_crossentropy(
        inputs.labels, logits, from_logits=True
    )
    return nan_where_invalid(inputs, losses)


def margin_cross_entropy(inputs, compared, margins, scale):
    """Returns [N], the cross-entropy of scale * (z - margin * onehot(y)).

    As log(1 + exp(log sum_{j != y} exp(scale z_j) - scale (z_y - margin))), which keeps
    its precision far below 1.
    """
    log_odds = _fused.log_odds_of_rivals(
        inputs.outputs, inputs.labels, compared.target, compared.strongest, scale
    )
    if log_odds is None:
        log_odds = _log_odds_of_rivals(compared, scale)
    # Not softplus, which on torch is the identity from 20 on.
    losses = -ops.log_sigmoid(-(log_odds + scale * margins))
    return nan_where_overflowed(inputs, compared, losses)


def _log_odds_of_rivals(compared, scale):
    """Returns [N], log sum_{j != y} exp(scale z_j) - scale z_y.

    Of arrays [N, K] it needs one copy of the outputs and one of their exponentials.
    """
    target, rivals, strongest = compared
    # Taken out of both logits, so not of the gradient; and before the scale, which
    # large outputs would not survive.
    strongest = ops.stop_gradient(strongest)
    exponentials = ops.exp(scale * (rivals - ops.expand_dims(strongest, axis=-1)))
    return ops.log(ops.sum(exponentials, axis=-1)) - scale * (target - strongest)


class Compared(NamedTuple):
    """Each example's own output, and all others.

    Attributes:
        target: [N], the own ones.
        rivals: [N, K], the others, and -inf in place of the own one.
        strongest: [N], the largest of the others.
    """

    target: Any
    rivals: Any
    strongest: Any


def compare(inputs):
    """Returns `Compared` of `Inputs`."""
    outputs = inputs.outputs
    fused = _fused.own_and_rivals(outputs, inputs.labels)
    if fused is None:
        is_own = is_target(inputs)
        target = ops.sum(ops.where(is_own, outputs, 0.0), axis=-1)
        rivals = ops.where(is_own, -float("inf"), outputs)
    else:
        target, rivals = fused
    return Compared(target, rivals, ops.max(rivals, axis=-1))


def nan_where_overflowed(inputs, compared, losses):
    """Returns `losses` with NaN where the own output or the label is not to be used.

    Of an own output that overflowed the loss would be 0, and hide it.
    """
    losses = ops.where(ops.isfinite(compared.target), losses, float("nan"))
    return nan_where_invalid(inputs, losses)


def nan_where_invalid(inputs, losses):
    """Returns `losses` with NaN where a label was outside [0, K).

    A running graph can raise no error of its own on every backend; NaN is seen,
    a wrong but finite loss is not.
    """
    return ops.where(inputs.is_valid, losses, float("nan"))


def per_class(values, inputs, name):
    """Returns [N], for each example the value of its class."""
    num_classes = inputs.outputs.shape[-1]
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
    if numbers.ndim == 0:
        return ops.full_like(inputs.outputs[:, 0], float(numbers))
    numbers = ops.convert_to_tensor(numbers, dtype=inputs.outputs.dtype)
    return ops.take(numbers, inputs.labels, axis=0)


def _check_visible_labels(y_true, num_classes):
    labels = _visible(y_true)
    if labels is None or labels.size == 0 or labels.ndim > 2:
        return
    if labels.ndim == 2 and labels.shape[-1] != 1:
        return
    try:
        bad = (labels < 0) | (labels >= num_classes) | (labels != np.floor(labels))
    except TypeError:
        raise ValueError(
            f"`y_true` must be integer labels. Received: y_true of dtype {labels.dtype}"
        ) from None
    if bad.any():
        raise ValueError(
            f"`y_true` must be whole numbers in [0, {num_classes}), K being the last "
            f"axis of `y_pred`. Received: y_true with {labels[bad].flat[0]} in it"
        )


def _visible(y_true):
    """Returns the labels as an array, or None while a function is being traced."""
    if not ops.is_tensor(y_true):
        return None if isinstance(y_true, keras.KerasTensor) else np.asarray(y_true)
    if getattr(y_true, "is_cuda", False):
        # A look at them would make every step of torch wait for the GPU.
        return None
    try:
        return np.asarray(ops.convert_to_numpy(y_true))
    except Exception:  # Each backend has an error of its own for a traced tensor.
        return None
