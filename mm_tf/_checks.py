"""Checks of arguments that more than one part of mm_tf takes."""

import argparse
import difflib
import math
import numbers
import re
import sys
import warnings
from typing import NoReturn

import numpy as np

from mm_tf import _text


def check_number(name, value, *, low=-math.inf, high=math.inf, low_allowed=True):
    """Returns `value` as a float, or raises a ValueError that names it."""
    expected = f"a finite number {'>=' if low_allowed else '>'} {low:g}"
    if low == -math.inf:
        expected = "a finite number"
    if high != math.inf:
        expected += f" and <= {high:g}"
    if (
        not _is_finite_number(value)
        or not low <= value <= high
        or (value == low and not low_allowed)
    ):
        raise ValueError(f"`{name}` must be {expected}. Received: {name}={value!r}")
    return float(value)


def _is_finite_number(value):
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # An integer that no float can hold.
        return False


def check_integer(name, value, *, low, high=None):
    """Returns `value` as an int from `low` to `high`, or raises a ValueError."""
    is_integer = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not is_integer or value < low or (high is not None and value > high):
        expected = f"an integer >= {low}"
        if high is not None:
            expected += f" and <= {high}"
        raise ValueError(f"`{name}` must be {expected}. Received: {name}={value!r}")
    return int(value)


def check_bool(name, value):
    """Returns `value` if it is True or False, or raises a ValueError."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"`{name}` must be True or False. Received: {name}={value!r}")
    return bool(value)


def check_choice(name, value, choices):
    """Returns `value` if it is one of the strings `choices`, or raises a ValueError."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(
            f"`{name}` must be one of {', '.join(map(repr, choices))}. "
            f"Received: {name}={value!r}"
        )
    return value


def as_numbers(values):
    """Returns `values` as a float64 array, or None where they are not numbers.

    Strings, bools and complex numbers are not taken, though NumPy would convert them.
    """
    try:
        array = np.asarray(values)
    except Exception:  # Ragged lists, tensors of another device, ...
        return None
    return array.astype("float64") if array.dtype.kind in "iuf" else None


def in_class_order(values):
    """Returns a value for each class in the order of the classes.

    Those of a dict or a pandas Series are at its keys 0 to K - 1, whatever their order
    there; None stands where a key is missing.
    """
    if not hasattr(values, "items"):
        return values
    by_class = dict(values.items())
    return [by_class.get(key) for key in range(len(by_class))]


def check_class_counts(class_counts, name="class_counts"):
    """Returns the numbers of training images of each class as float64 [K]."""
    counts = as_numbers(in_class_order(class_counts))
    if (
        counts is None
        or counts.ndim != 1
        or counts.size < 2
        or not np.all(np.isfinite(counts))
        or np.any(counts < 1)
        or np.any(counts != np.floor(counts))
    ):
        raise ValueError(
            f"`{name}` must be a list of at least two whole numbers, the training "
            "images of each class, none of them below 1, or a dict or Series of them "
            "with the keys 0 to K - 1. "
            f"Received: {name}={class_counts!r}"
        )
    return counts


def list_class_counts(class_counts):
    """Returns checked class counts as a list of ints, as a Keras config saves them."""
    return check_class_counts(class_counts).astype(int).tolist()


class ScheduleWarning(UserWarning):
    """A training ends before its schedule does."""


def warn_if_never(owner, name, epoch, epochs=None):
    """Warns that an argument names an epoch that this `fit` does not reach.

    Without `epochs` the owner is a callback, which knows how many there are.
    """
    if epochs is None:
        epochs = (owner.params or {}).get("epochs")
    if epochs is not None and epoch >= epochs:
        warnings.warn(
            f"`{name}` of {type(owner).__name__} waits for epoch {epoch} (counted "
            f"from 0), but this `fit` ends after {epochs} epochs. Received: "
            f"epochs={epochs}",
            ScheduleWarning,
            stacklevel=3,
        )


def check_address(name, value):
    """Returns (host, port) of `"HOST:PORT"`."""
    host, _, port = str(value).rpartition(":")
    if not (host and port.isdecimal() and 0 < int(port) < 2**16):
        raise ValueError(
            f"`{name}` must be HOST:PORT, the port from 1 to 65535. "
            f"Received: {name}={value!r}"
        )
    return host, int(port)


def _initials(name):
    return "".join(word[:1] for word in name.split("_"))


def nearest(name, names):
    """Words that suggest a name in place of a wrong one, or none."""
    lowered = {each.lower(): each for each in names}
    name = str(name).lower()
    found = difflib.get_close_matches(name, lowered, n=1)
    # `lr` is short for learning_rate, and `batch` for batch_size.
    found = found or [
        each
        for each in lowered
        if name and (each.startswith(name) or name == _initials(each))
    ]
    return f" Did you mean {lowered[found[0]]}?" if found else ""


class _Parser(argparse.ArgumentParser):
    """A parser that says what is wrong as commands with absl's flags do."""

    def error(self, message: str) -> NoReturn:
        name, _, problem = message.removeprefix("argument ").partition(": ")
        action = self._option_string_actions.get(name)
        wrong = re.match(r"invalid (\w+)(?: value)?: (.*?)(?: \(choose|$)", problem)
        if name == "unrecognized arguments":
            hint = nearest(re.split("[= ]", problem)[0], self._option_string_actions)
            message = f"A flag must be one of those that --help lists.{hint}"
            message = f"{message} Received: {problem}"
        elif action and wrong:
            kind, value = wrong.groups()
            choices = list(action.choices or ())
            kinds = {"int": "an integer", "float": "a number"}
            message = (
                f"`{action.dest}` must be "
                f"{kinds.get(kind) or 'one of ' + ', '.join(choices)}."
                f"{nearest(value.strip(chr(39)), choices)} "
                f"Received: {action.dest}={value}"
            )
        print(f"mm_tf: {_text.printable_lines(message)}", file=sys.stderr)
        sys.exit(2)


def parser(module: str, doc: str | None) -> argparse.ArgumentParser:
    """The parser of a command that takes words, which absl's flags do not."""
    _text.prepare_output()
    return _Parser(
        prog=" ".join(_text.typed[:2]) or f"python -m {module}",
        description=(doc or "").partition("\n")[0],  # -OO leaves no docstrings.
        allow_abbrev=False,
    )
