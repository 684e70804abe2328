"""The space of a search: which flags of a run vary, and over which values."""

import dataclasses
import math
import re
from collections.abc import Mapping
from types import MappingProxyType

# The paper's own parameters, which a search varies by default.
USUAL = ("beta", "delta", "scale")

_TAKEN_BY_ALL = ("learning_rate", "l2", "epochs", "batch_size")

# Digits of a number drawn from a range: 0.0312487 says no more than 0.0312.
_DIGITS = 3

_RANGE = re.compile(r"(?P<low>.+)\.\.(?P<high>.+)")


@dataclasses.dataclass(frozen=True)
class Dimension:
    """A flag that varies.

    Attributes:
        name: The flag.
        values: Its values, or empty where it is a range.
        low, high: The ends of the range, which belong to it.
        step: The distance of two values of the range, or None for any value.
        is_log: Whether the range is even in the logarithm.
        is_whole: Whether its values are whole numbers.
    """

    name: str
    values: tuple[float, ...] = ()
    low: float = 0.0
    high: float = 0.0
    step: float | None = None
    is_log: bool = False
    is_whole: bool = False

    def __str__(self):
        if self.values:
            return f"{self.name}={'/'.join(f'{value:g}' for value in self.values)}"
        return f"{self.name}={self.low:g}..{self.high:g}"

    def value(self, number):
        """Returns a number that a tuner drew as a value of the flag."""
        if self.is_whole:
            return int(number)
        if self.values:
            return float(number)
        rounded = float(f"{number:.{_DIGITS}g}")
        return min(max(rounded, self.low), self.high)


# The usual range of each flag, its step, and its usual values in a grid: 12 cells of
# the first three. The paper's Tables 2 and 3 have beta from 1.0 to 1.9 and delta from
# 0.6 to 2.4, in steps of 0.1; s is 10 in the paper, 19 in its code's README and 30 in
# the code.
_LOG = None
_USUAL: Mapping[str, tuple[float, float, float | None, tuple[float, ...]]] = (
    MappingProxyType(
        {
            "beta": (1.0, 2.0, 0.1, (1.0, 1.5)),
            "delta": (0.3, 2.4, 0.1, (0.6, 1.2, 1.8)),
            "scale": (5.0, 30.0, _LOG, (10.0, 20.0)),
            "max_class_margin": (0.1, 1.0, 0.1, (0.3, 0.5, 0.7)),
            "ldam_scale": (5.0, 60.0, _LOG, (10.0, 30.0)),
            "focal_gamma": (0.5, 5.0, 0.5, (0.5, 1.0, 2.0)),
            "learning_rate": (0.01, 0.5, _LOG, (0.05, 0.1, 0.2)),
            "l2": (1e-5, 1e-2, _LOG, (1e-4, 2e-4, 1e-3)),
        }
    )
)

# Multiples of the run's own value: a fixed range would be too long for one setting
# and too short for another. These flags take whole numbers.
_MULTIPLES = MappingProxyType({"epochs": (0.5, 1, 2), "batch_size": (0.5, 1, 2)})


def parse(texts, config, grid=False):
    """Returns the dimensions that texts name, as `"beta=1..2"`."""
    taken = (*config.row.uses, *_TAKEN_BY_ALL)
    own = _own_numbers(config.row)
    searchable = [name for name in (*_USUAL, *_MULTIPLES, *own) if name in taken]
    if not texts:
        texts = [name for name in USUAL if name in taken] or list(own)
        if not texts:
            raise ValueError(
                f"`search` must name some of {', '.join(searchable)}, as the method "
                f"{config.method} takes none of {', '.join(USUAL)}. "
                "Received: search=''"
            )
    found: dict[str, Dimension] = {}
    for text in texts:
        name, _, spec = (part.strip() for part in text.partition("="))
        if name not in searchable:
            reason = f"there is no {name!r} to search"
            if name in _USUAL:
                reason = f"the method {config.method} does not take {name}"
            raise ValueError(
                f"`search` must name {', '.join(searchable)}: {reason}. "
                f"Received: search={text!r}"
            )
        if name in found:
            raise ValueError(f"`search` names {name} twice. Received: search={text!r}")
        found[name] = _parse(name, spec, config, grid, text)
        _check(found[name], config, text)
    return tuple(found.values())


def _own_numbers(method):
    """The numbers among a method's own hyper-parameters, {flag: Hyperparameter}."""
    return {
        name: each
        for name, each in method.hyperparameters.items()
        if type(each.default) in (int, float)
    }


def _usual(name, config):
    """The usual range of a flag, its step, and its usual values in a grid."""
    if name in _USUAL:
        return _USUAL[name]
    each = config.row.hyperparameters[name]
    half = each.default // 2 if isinstance(each.default, int) else each.default / 2
    low, high = each.usual or (half, each.default * 2)
    if not low < high:
        raise ValueError(
            f"`search` must give a range for {name}, as {name}=0..1: it has none. "
            f"Received: search={name!r}"
        )
    values = dict.fromkeys((low, each.default, high))
    return low, high, None, tuple(values)


def _parse(name, spec, config, grid, text):
    own = config.row.hyperparameters.get(name)
    is_whole = name in _MULTIPLES or (own is not None and isinstance(own.default, int))
    if not spec and name in _MULTIPLES:
        now = getattr(config, name)
        whole = [max(1, round(multiple * now)) for multiple in _MULTIPLES[name]]
        values = tuple(dict.fromkeys(map(float, whole)))
        return Dimension(name, values=values, is_whole=True)
    if not spec:
        low, high, step, values = _usual(name, config)
        if grid:
            return Dimension(name, values=values, is_whole=is_whole)
        is_log = step is _LOG and low > 0
        return Dimension(name, (), low, high, step, is_log, is_whole)
    match = _RANGE.fullmatch(spec)
    parts = [match["low"], match["high"]] if match else spec.split("/")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    wrong = None
    if not numbers or (match and not numbers[0] < numbers[1]):
        wrong = f"be a range, as {name}=1..2, or values, as {name}=1/1.5/2"
    elif is_whole and any(number != int(number) for number in numbers):
        wrong = f"have whole numbers for {name}"
    elif match and grid:
        wrong = f"have values for a grid, as {name}=1/1.5/2"
    if wrong:
        raise ValueError(f"`search` must {wrong}. Received: search={text!r}")
    if not match:
        values = tuple(dict.fromkeys(numbers))
        return Dimension(name, values=values, is_whole=is_whole)
    low, high = numbers
    if is_whole:
        return Dimension(name, low=low, high=high, is_whole=True)
    step = _USUAL[name][2] if name in _USUAL else _LOG
    is_log = step is _LOG and low > 0
    return Dimension(
        name, (), low, high, step if step and step < high - low else None, is_log
    )


def _check(dimension, config, text):
    for number in dimension.values or (dimension.low, dimension.high):
        try:
            value = dimension.value(number)
            config.with_values({dimension.name: value})
        except (OverflowError, ValueError) as error:
            raise ValueError(
                f"`search`: {dimension} is not possible. {error}. "
                f"Received: search={text!r}"
            ) from None


def declare(hp, dimension):
    """Asks a `keras_tuner.HyperParameters` for a dimension; returns its value."""
    name = dimension.name
    if dimension.values:
        kind = int if dimension.is_whole else float
        number = hp.Choice(name, list(map(kind, dimension.values)))
    elif dimension.is_whole:
        number = hp.Int(name, int(dimension.low), int(dimension.high))
    else:
        number = hp.Float(
            name,
            dimension.low,
            dimension.high,
            step=dimension.step,
            sampling="log" if dimension.is_log else "linear",
        )
    return dimension.value(number)


def cells(dimensions):
    """Returns how many cells a grid of dimensions has."""
    return math.prod(len(dimension.values) for dimension in dimensions)
