"""Labels, outputs and sample weights as every loss and metric takes them."""

import keras
import numpy as np
from keras import ops


def prepare(y_true, y_pred, num_classes=None):
    """Checks labels and outputs, and lifts half precision to float32.

    Returns:
        Labels, int32 [N], clipped to [0, K); outputs, float32 or float64 [N, K];
        and whether each label was in [0, K), bool [N].
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
    if len(labels.shape) != 1:
        raise ValueError(
            "`y_true` must be integer labels of the shape [N] or [N, 1]; of one-hot "
            "labels take the argmax over the last axis. "
            f"Received: y_true.shape={tuple(labels.shape)}"
        )
    rows = (labels.shape[0], shape[0])
    if None not in rows and rows[0] != rows[1]:
        raise ValueError(
            "`y_true` and `y_pred` must have the same number of rows. "
            f"Received: y_true with {rows[0]}, y_pred with {rows[1]}"
        )
    _check_visible(y_true, num_classes)
    labels = ops.cast(labels, "int32")
    is_valid = ops.logical_and(labels >= 0, labels < num_classes)
    return ops.clip(labels, 0, num_classes - 1), outputs, is_valid


def is_own(labels, num_classes):
    """Returns bool [N, K], True at each example's own class."""
    # Not one_hot, which on torch is made of int64.
    return ops.equal(labels[:, None], ops.arange(num_classes, dtype="int32"))


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
    bad = (labels < 0) | (labels >= num_classes) | (labels != np.floor(labels))
    if bad.any():
        raise ValueError(
            f"`y_true` must be whole numbers in [0, {num_classes}), K being the last "
            f"axis of `y_pred`. Received: y_true with {labels[bad].flat[0]} in it"
        )
