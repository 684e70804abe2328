"""Checks of arguments that several modules of `mm_tf.data` share."""

import os
from typing import Any

import numpy as np


def check_integers(name: str, values: Any, *, low: int) -> np.ndarray:
    """Returns `values` as an `int64` array [N] of numbers from `low` to 2**31 - 1."""
    high = np.iinfo(np.int32).max
    expected = f"a one-dimensional array, not empty, of integers >= {low} and <= {high}"
    try:
        array = np.asarray(values)
    except Exception:  # Lists of different lengths, tensors of another device, ...
        raise ValueError(
            f"`{name}` must be {expected}. Received: {name}={values!r}"
        ) from None
    if array.ndim != 1 or not len(array) or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(
            f"`{name}` must be {expected}. "
            f"Received: {name} of shape {array.shape} and dtype {array.dtype}"
        )
    # JAX cuts larger labels to int32, before a loss sees them.
    wrong = array[(array < low) | (array > high)]
    if len(wrong):
        raise ValueError(
            f"`{name}` must be {expected}. Received: {name} with {wrong[0]} in it"
        )
    return array.astype(np.int64)


def check_path(name: str, value: Any) -> str:
    """Returns a path as a string, with `~` expanded, or raises a ValueError."""
    if not isinstance(value, (str, os.PathLike)) or not os.fspath(value):
        raise ValueError(f"`{name}` must be a path. Received: {name}={value!r}")
    return os.path.expanduser(os.fspath(value))
