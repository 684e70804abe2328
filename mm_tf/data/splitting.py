"""Test images that are taken from a data set which has none."""

from collections.abc import Hashable, Sequence

import numpy as np

from mm_tf._checks import check_integer, check_number
from mm_tf.data._checks import check_integers


def check_test_fraction(test_fraction: float) -> float:
    """Returns a number between 0 and 1, both excluded."""
    fraction = check_number("test_fraction", test_fraction, low=0, low_allowed=False)
    if fraction >= 1:
        raise ValueError(
            f"`test_fraction` must be below 1. Received: test_fraction={test_fraction}"
        )
    return fraction


def stratified_split(
    labels: Sequence[int] | np.ndarray,
    test_fraction: float = 0.2,
    seed: int = 0,
    contents: Sequence[Hashable] | None = None,
) -> np.ndarray:
    """Which examples become test examples: of each class the same share.

    Of a class of `n` examples about `test_fraction * n` become test examples: at
    least one and at most `n - 1`, where `n` is at least 2. The only example of a
    class stays a training example.

    Examples of equal content stay together, so that no test example is seen in
    training; the share may be smaller for that. Those of a content that occurs in
    several classes are training examples, and so is a class of one content.
    """
    labels = check_integers("labels", labels, low=0)
    fraction = check_test_fraction(test_fraction)
    seed = check_integer("seed", seed, low=0)
    contents = range(len(labels)) if contents is None else contents
    if len(contents) != len(labels):
        raise ValueError(
            f"`contents` must hold one value for each of {len(labels)} examples. "
            f"Received: {len(contents)} values"
        )
    together: dict[Hashable, list[int]] = {}
    for place, content in enumerate(contents):
        together.setdefault(content, []).append(place)
    groups: dict[int, list[list[int]]] = {}
    for places in together.values():
        first, *others = {int(labels[place]) for place in places}
        if not others:
            groups.setdefault(first, []).append(places)
    is_test = np.zeros(len(labels), dtype=bool)
    totals = np.bincount(labels)
    for label, of_class in groups.items():
        # A spawn key keeps the stream apart from `subsample`'s of the same class,
        # which would draw the same images first.
        sequence = np.random.SeedSequence(seed, spawn_key=(label, 0))
        drawn = np.random.default_rng(sequence).permutation(len(of_class))
        wanted = min(max(round(fraction * totals[label]), 1), totals[label] - 1)
        for places in _draw([of_class[i] for i in drawn], wanted, totals[label]):
            is_test[places] = True
    return is_test


def _draw(groups: list[list[int]], wanted: int, total: int) -> list[list[int]]:
    """The first groups that fit into the wanted number, or else the smallest."""
    chosen, size = [], 0
    for places in groups:
        if size + len(places) <= wanted:
            chosen.append(places)
            size += len(places)
    smallest = min(groups, key=len)
    if not chosen and len(smallest) < total:
        chosen.append(smallest)
    return chosen
