"""Checks of arguments that more than one part of mm_tf takes."""

import math
import numbers

import numpy as np


def check_number(name, value, *, low=-math.inf, high=math.inf, low_allowed=True):
    """Returns `value` as a float, or raises a ValueError that names it.

    Args:
        name: The argument's name, for the message.
        value: What was received.
        low: The smallest allowed value.
        high: The largest allowed value.
        low_allowed: Whether `low` itself is allowed.
    """
    expected = f"a finite number {'>=' if low_allowed else '>'} {low:g}"
    if low == -math.inf:
        expected = "a finite number"
    if high != math.inf:
        expected += f" and <= {high:g}"
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if (
        not is_number
        or not math.isfinite(value)
        or not low <= value <= high
        or (value == low and not low_allowed)
    ):
        raise ValueError(f"`{name}` must be {expected}. Received: {name}={value!r}")
    return float(value)


def check_integer(name, value, *, low):
    """Returns `value` as an int of at least `low`, or raises a ValueError."""
    is_integer = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_integer or value < low:
        raise ValueError(
            f"`{name}` must be an integer >= {low}. Received: {name}={value!r}"
        )
    return int(value)


def check_class_counts(class_counts, name="class_counts"):
    """Returns the numbers of training images of each class as float64 [K].

    Args:
        class_counts: K >= 2 whole numbers, each at least 1.
        name: The argument's name, for the message.

    Raises:
        ValueError: `class_counts` is no list of at least two whole numbers >= 1.
    """
    try:
        counts = np.asarray(class_counts, dtype="float64")
    except (TypeError, ValueError):
        counts = np.empty(0)
    if (
        counts.ndim != 1
        or counts.size < 2
        or not np.all(np.isfinite(counts))
        or np.any(counts < 1)
        or np.any(counts != np.floor(counts))
    ):
        raise ValueError(
            f"`{name}` must be a list of at least two whole numbers, the training "
            "images of each class, none of them below 1. "
            f"Received: {name}={class_counts!r}"
        )
    return counts
