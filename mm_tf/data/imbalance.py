"""Class counts of imbalanced training sets, and the subsets that have them."""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from mm_tf._checks import check_choice, check_integer, check_number, in_class_order
from mm_tf.data._checks import check_integers

# Beyond it not every whole number is a float, and the formulas would lie.
_LARGEST_CLASS = 2**53 - 1


def long_tailed_counts(n_max: int, num_classes: int, ratio: float) -> np.ndarray:
    """Class counts that fall exponentially from the first class to the last.

    Class `j` of `K` keeps

    ```
    n_j = int(n_max * (1 / ratio) ** (j / (K - 1)))
    ```

    images, so the first class has `ratio` times as many as the last.

    Args:
        n_max: Images of the largest class, the first one; at least 1.
        num_classes: Number of classes `K`; at least 2.
        ratio: Size of the largest class over that of the smallest; from 1
            (balanced) to `n_max` (one image in the last class).

    Returns:
        An `int64` array [K], largest class first.

    Raises:
        ValueError: If an argument is out of its range, or if `ratio` leaves a
            class without an image.

    Example:

    >>> from mm_tf.data import long_tailed_counts
    >>> long_tailed_counts(5000, 10, ratio=100).tolist()
    [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]

    Reference:

    - [Cui et al., 2019](https://arxiv.org/abs/1901.05555), section 5.1
    - [Cao et al., 2019](https://arxiv.org/abs/1906.07413), section 4.2
    """
    n_max, num_classes, ratio = _checked(n_max, num_classes, ratio)
    decay, last = 1 / ratio, num_classes - 1
    counts = [_whole_part(n_max * decay ** (j / last)) for j in range(num_classes)]
    return np.array(counts, dtype=np.int64)


def step_counts(n_max: int, num_classes: int, ratio: float) -> np.ndarray:
    """Class counts with a first half of large and a second of small classes.

    The first `K // 2` of `K` classes keep `n_max` images and the others
    `int(n_max / ratio)`.

    Args:
        n_max: Images of a large class; at least 1.
        num_classes: Number of classes `K`; at least 2.
        ratio: Size of a large class over that of a small one; from 1
            (balanced) to `n_max` (one image in every small class).

    Returns:
        An `int64` array [K], large classes first.

    Raises:
        ValueError: If an argument is out of its range, or if `ratio` leaves a
            class without an image.

    Example:

    >>> from mm_tf.data import step_counts
    >>> step_counts(5000, 4, ratio=100).tolist()
    [5000, 5000, 50, 50]

    Reference:

    - [Buda et al., 2018](https://arxiv.org/abs/1710.05381), section 3.1
    - [Cao et al., 2019](https://arxiv.org/abs/1906.07413), section 4.2
    """
    n_max, num_classes, ratio = _checked(n_max, num_classes, ratio)
    num_large = num_classes // 2
    small = _whole_part(n_max / ratio)
    counts = [n_max] * num_large + [small] * (num_classes - num_large)
    return np.array(counts, dtype=np.int64)


def balanced_counts(n_max: int, num_classes: int, ratio: Any = None) -> np.ndarray:
    """Class counts of the balanced training set: `n_max` images in every class.

    Args:
        n_max: Images of a class; at least 1.
        num_classes: Number of classes `K`; at least 2.
        ratio: Ignored. It is there so that all functions of `IMBALANCES` are
            called alike.

    Returns:
        An `int64` array [K].

    Raises:
        ValueError: If `n_max` or `num_classes` is out of its range.

    Example:

    >>> from mm_tf.data import balanced_counts
    >>> balanced_counts(500, 3).tolist()
    [500, 500, 500]
    """
    n_max, num_classes, _ = _checked(n_max, num_classes, ratio=1)
    return np.full(num_classes, n_max, dtype=np.int64)


IMBALANCES: Mapping[str, Callable[[int, int, float], np.ndarray]] = MappingProxyType(
    {
        "long_tailed": long_tailed_counts,
        "step": step_counts,
        "none": balanced_counts,
    }
)


def class_counts(
    imbalance: str, n_max: int, num_classes: int, ratio: float
) -> np.ndarray:
    """Class counts of the imbalance that has the given name.

    Args:
        imbalance: A name in `IMBALANCES`: `"long_tailed"` (see
            `long_tailed_counts`), `"step"` (see `step_counts`) or `"none"` (see
            `balanced_counts`).
        n_max: Images of the largest class; at least 1.
        num_classes: Number of classes `K`; at least 2.
        ratio: Size of the largest class over that of the smallest; from 1 to
            `n_max`. Without a meaning for `"none"`.

    Returns:
        An `int64` array [K].

    Raises:
        ValueError: If there is no such imbalance, or for the reasons of the
            function that it names.

    Example:

    >>> from mm_tf.data import class_counts
    >>> class_counts("step", 500, 4, ratio=10).tolist()
    [500, 500, 50, 50]
    """
    check_choice("imbalance", imbalance, IMBALANCES)
    return IMBALANCES[imbalance](n_max, num_classes, ratio)


def subsample(
    labels: Sequence[int] | np.ndarray, counts: Sequence[int] | np.ndarray, seed: int
) -> np.ndarray:
    """Indices of a subset that has `counts[j]` examples of every class `j`.

    Each class has one order, which depends only on the seed and that class, and the
    subset takes the first `counts[j]` of it. So subsets of the same seed are nested:
    whatever one draws, another one with larger counts draws too.

    Args:
        labels: Classes of all examples, integers [N] from 0 to `K - 1`.
        counts: Wanted examples of each class, integers [K], each from 1 to the
            number of examples that the class has.
        seed: Seed of the orders, an integer of at least 0.

    Returns:
        The chosen indices, rising, `int64` [sum of `counts`].

    Raises:
        ValueError: If an argument is not as described, or if a class has fewer
            examples than wanted.

    Example:

    >>> from mm_tf.data import subsample
    >>> labels = [0, 1, 0, 1, 0, 1, 0, 1]
    >>> indices = subsample(labels, counts=[4, 2], seed=0)
    >>> [labels[i] for i in indices].count(0), [labels[i] for i in indices].count(1)
    (4, 2)
    """
    labels = check_integers("labels", labels, low=0)
    counts = check_integers("counts", in_class_order(counts), low=1)
    seed = check_integer("seed", seed, low=0)
    num_classes = len(counts)
    if labels.max() >= num_classes:
        raise ValueError(
            f"`labels` must be below the number of `counts`, {num_classes}. "
            f"Received: labels with the value {labels.max()}"
        )
    available = np.bincount(labels, minlength=num_classes)
    lacking = np.flatnonzero(counts > available)
    if len(lacking):
        j = lacking[0]
        raise ValueError(
            "`counts` must not exceed what a class has: class "
            f"{j} has {available[j]} examples. Received: counts[{j}]={counts[j]}"
        )
    chosen = [order_of_class(labels, j, seed)[:n] for j, n in enumerate(counts)]
    return np.sort(np.concatenate(chosen))


def order_of_class(labels: np.ndarray, label: int, seed: int) -> np.ndarray:
    """Indices of a class's examples in the order in which subsets draw them."""
    members = np.flatnonzero(labels == label)
    return np.random.default_rng([seed, label]).permutation(members)


def _checked(n_max: Any, num_classes: Any, ratio: Any) -> tuple[int, int, float]:
    n_max = check_integer("n_max", n_max, low=1, high=_LARGEST_CLASS)
    num_classes = check_integer("num_classes", num_classes, low=2)
    checked = check_number("ratio", ratio, low=1)
    if checked > n_max:
        raise ValueError(
            "`ratio` must leave at least one image in every class: with "
            f"n_max={n_max} it is at most {n_max}. Received: ratio={ratio!r}"
        )
    return n_max, num_classes, checked


def _whole_part(value: float) -> int:
    # A float may fall short of the whole number that was meant: 98 * (1 / 49) is
    # below 2, and 33 / 1.1 below 30.
    nearest = round(value)
    return nearest if math.isclose(value, nearest, rel_tol=1e-12) else int(value)
