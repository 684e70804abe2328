"""Labels, outputs and sample weights as every loss and metric takes them."""

import keras
import numpy as np
from keras import ops

# How far the shares of a soft label may sum from 1: bfloat16 rounds each of them.
_SUM_TOLERANCE = 1e-2


def prepare(y_true, y_pred, num_classes=None):
    """Checks labels and outputs, and lifts half precision to float32.

    Returns:
        Labels, int32 [N], clipped to [0, K), or soft labels as they are, [N, K];
        outputs, float32 or float64 [N, K]; and whether each label was a whole number
        in [0, K), or shares that sum to 1, bool [N].
    """
    outputs = to_tensor("y_pred", y_pred)
    if keras.backend.standardize_dtype(outputs.dtype) not in ("float32", "float64"):
        # Scaled logits leave the range of float16 and the precision of bfloat16.
        outputs = ops.cast(outputs, "float32")
    shape = tuple(outputs.shape)
    if len(shape) != 2 or (shape[1] or 0) < 2 or num_classes not in (None, shape[1]):
        raise ValueError(
            "`y_pred` must have the shape [N, K], an output for each of "
            f"{num_classes or 'K >= 2'} classes. Received: y_pred.shape={shape}"
        )
    num_classes = shape[1]
    labels = to_tensor("y_true", y_true)
    if len(labels.shape) == 2 and labels.shape[-1] == 1:
        labels = ops.squeeze(labels, axis=-1)
    if len(labels.shape) != 1 and labels.shape[1:] != (num_classes,):
        raise ValueError(
            "`y_true` must be integer labels of the shape [N] or [N, 1], or soft "
            f"labels [N, {num_classes}], a share for each class. "
            f"Received: y_true.shape={tuple(labels.shape)}"
        )
    rows = (labels.shape[0], shape[0])
    if None not in rows and rows[0] != rows[1]:
        raise ValueError(
            "`y_true` and `y_pred` must have the same number of rows. "
            f"Received: y_true with {rows[0]}, y_pred with {rows[1]}"
        )
    _check_visible(y_true, num_classes)
    if is_soft(labels):
        shares = ops.cast(labels, outputs.dtype)
        are_one = ops.abs(ops.sum(shares, axis=-1) - 1) < _SUM_TOLERANCE
        are_shares = ops.logical_and(ops.all(shares >= 0, axis=-1), are_one)
        return shares, outputs, are_shares
    whole = ops.cast(labels, "int32")
    # Cast back, fractions, NaN and what is beyond int32 are no longer themselves.
    is_whole = ops.equal(ops.cast(whole, labels.dtype), labels)
    is_inside = ops.logical_and(whole >= 0, whole < num_classes)
    whole = ops.clip(whole, 0, num_classes - 1)
    return whole, outputs, ops.logical_and(is_whole, is_inside)


def is_soft(labels):
    """Whether the labels of `prepare` are shares [N, K], not integers [N]."""
    return len(labels.shape) == 2


def of_labels(labels, values):
    """Returns each example's value of its class, [N]; for soft labels the mean.

    Args:
        labels: Labels as `prepare` returns them.
        values: A value for each class, [K].
    """
    if is_soft(labels):
        return ops.matmul(labels, values)
    return ops.take(values, labels, axis=0)


def mixture(labels, losses):
    """Returns losses [N]: of soft labels, the mean of those of each class, [N, K]."""
    return ops.sum(labels * losses, axis=-1) if is_soft(labels) else losses


def cross_entropy(y_true, y_pred, to_logits):
    """Returns labels, and [N] the cross-entropy of each example's logits.

    Of soft labels it returns that of each class, [N, K]. That of a wrong label is NaN:
    a running graph can raise no error of its own on every backend.
    """
    labels, outputs, is_valid = prepare(y_true, y_pred)
    logits = to_logits(outputs)
    if is_soft(labels):
        is_valid, losses = is_valid[:, None], -ops.log_softmax(logits, axis=-1)
    else:
        losses = ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    return labels, ops.where(is_valid, losses, float("nan"))


def is_own(labels, num_classes):
    """Returns bool [N, K], True at each example's own class."""
    # Not one_hot, which on torch is made of int64.
    return ops.equal(labels[:, None], ops.arange(num_classes, dtype="int32"))


def check_num_classes(name, values, outputs):
    """Raises a ValueError unless there is a value for each class of the outputs."""
    if len(values) != outputs.shape[-1]:
        raise ValueError(
            f"`{name}` must hold a number for each of the {outputs.shape[-1]} classes "
            f"of `y_pred`. Received: {name} of {len(values)} classes"
        )


def to_tensor(name, values):
    """Returns `values` as a tensor, or raises a ValueError if they are not numbers.

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


def _check_visible(y_true, num_classes):
    """Raises a ValueError for a wrong label, unless a function is being traced."""
    if getattr(y_true, "is_cuda", False):
        # A look at them would make every step of torch wait for the GPU.
        return
    try:
        labels = np.asarray(ops.convert_to_numpy(y_true))
    except Exception:  # Each backend has an error of its own for a traced tensor.
        return
    if labels.ndim == 2 and labels.shape[1] > 1:
        shares = labels.astype("float64")
        bad = ~(shares >= 0).all(-1) | ~(abs(shares.sum(-1) - 1) < _SUM_TOLERANCE)
        # On torch Keras calls a loss with ones, to learn the shape of its result.
        bad &= ~(shares == 1).all(-1)
        expected = "soft labels: for each example K shares >= 0 with the sum 1"
    else:
        bad = (labels < 0) | (labels >= num_classes) | (labels != np.floor(labels))
        expected = f"whole numbers in [0, {num_classes})"
    if bad.any():
        raise ValueError(
            f"`y_true` must be {expected}, K being the last axis of `y_pred`. "
            f"Received: y_true with {labels[bad].tolist()[0]} in it"
        )
