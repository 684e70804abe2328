"""Tests of `mm_tf.data.imbalance`."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_tf.data import (
    IMBALANCES,
    balanced_counts,
    class_counts,
    long_tailed_counts,
    step_counts,
    subsample,
)

CIFAR10_LT_100 = [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
CIFAR10_LT_10 = [5000, 3871, 2997, 2320, 1796, 1391, 1077, 834, 645, 500]


@pytest.mark.parametrize(
    "n_max, ratio, total, last",
    [
        (5000, 100, 12406, CIFAR10_LT_100),
        (5000, 10, 20431, CIFAR10_LT_10),
        (500, 100, 10847, [5, 5, 5]),
        (500, 10, 19573, [52, 51, 50]),
    ],
)
def test_long_tailed_as_in_the_paper(n_max, ratio, total, last):
    result = long_tailed_counts(n_max, 50_000 // n_max, ratio)
    assert (result[0], result.sum(), result.dtype) == (n_max, total, np.int64)
    assert result[-len(last) :].tolist() == last


@pytest.mark.parametrize(
    "n_max, num_classes, ratio, small",
    [(5000, 10, 100, 50), (5000, 10, 10, 500), (500, 100, 100, 5), (500, 100, 10, 50)],
)
def test_step_as_in_the_paper(n_max, num_classes, ratio, small):
    half = num_classes // 2
    result = step_counts(n_max, num_classes, ratio)
    assert result.tolist() == [n_max] * half + [small] * half
    assert result.dtype == np.int64


def test_none_is_balanced_whatever_the_ratio():
    assert set(IMBALANCES) == {"long_tailed", "step", "none"}
    assert class_counts("none", 7, 3, ratio=100).tolist() == [7, 7, 7]
    assert balanced_counts(7, 3).tolist() == [7, 7, 7]


def test_subsample_of_a_seed_never_changes():
    # Saved runs name their seed: another order would belie them.
    labels = np.repeat(np.arange(3), 20)
    assert subsample(labels, [3, 2, 1], seed=7).tolist() == [3, 8, 12, 34, 37, 55]


# What holds for all settings

# Derandomized, so that a failure belongs to the change under test.
FEW = settings(max_examples=60, deadline=None, derandomize=True)
MANY = settings(max_examples=200, deadline=None, derandomize=True)

NUMBERS_OF_CLASSES = st.integers(2, 40)


@st.composite
def ratios(draw, n_max):
    """Ratios from 1 to `n_max`, whole or with two decimals."""
    hundredths = st.integers(100, 100 * n_max).map(lambda number: number / 100)
    return draw(st.one_of(st.integers(1, n_max), hundredths))


@st.composite
def count_settings(draw):
    n_max = draw(st.integers(1, 10_000))
    return n_max, draw(NUMBERS_OF_CLASSES), draw(ratios(n_max))


def as_written(ratio):
    """The ratio that a user wrote: 1.1 is eleven tenths, not the float beside it."""
    return Fraction(repr(ratio))


@given(count_settings())
@MANY
def test_long_tailed_counts_are_the_whole_part_of_the_formula(setting):
    n_max, num_classes, ratio = setting
    last = num_classes - 1

    def fits(images, j):  # images <= n_max * ratio ** (-j / last), without roots
        return images**last * as_written(ratio) ** j <= n_max**last

    counts = long_tailed_counts(*setting).tolist()
    assert counts[0] == n_max
    for j, count in enumerate(counts):
        assert fits(count, j) and not fits(count + 1, j), (j, count)


@given(count_settings())
@MANY
def test_step_counts_are_the_whole_part_of_the_formula(setting):
    n_max, num_classes, ratio = setting
    half = num_classes // 2
    small = n_max // as_written(ratio)
    expected = [n_max] * half + [small] * (num_classes - half)
    assert step_counts(*setting).tolist() == expected


@pytest.mark.parametrize("function", [long_tailed_counts, step_counts])
@given(st.integers(1, 10_000), NUMBERS_OF_CLASSES, st.data())
@MANY
def test_the_ratio_may_be_a_quotient_of_counts(function, n_max, num_classes, data):
    smallest = data.draw(st.integers(1, n_max))
    assert function(n_max, num_classes, n_max / smallest)[-1] == smallest


@pytest.mark.parametrize("function", [long_tailed_counts, step_counts])
@given(st.integers(1, 2**53 - 1), NUMBERS_OF_CLASSES)
@FEW
def test_n_max_is_the_last_ratio_that_leaves_an_image(function, n_max, num_classes):
    assert function(n_max, num_classes, n_max)[-1] == 1
    with pytest.raises(ValueError, match=f"`ratio`.*Received: ratio={n_max + 1}$"):
        function(n_max, num_classes, n_max + 1)


@st.composite
def subsets(draw):
    """Shuffled labels of classes with some examples each, and two counts."""
    sizes = draw(st.lists(st.integers(1, 12), min_size=1, max_size=6))
    labels = draw(st.permutations(np.repeat(np.arange(len(sizes)), sizes).tolist()))
    large = [draw(st.integers(1, size)) for size in sizes]
    small = [draw(st.integers(1, count)) for count in large]
    return labels, small, large


SEEDS = st.integers(0, 2**70)


@given(subsets(), SEEDS)
@MANY
def test_subsets_have_their_counts_and_are_nested(subset, seed):
    labels, small, large = subset
    of_small, of_large = (subsample(labels, counts, seed) for counts in (small, large))
    for indices, counts in ((of_small, small), (of_large, large)):
        assert indices.dtype == np.int64
        assert (np.diff(indices) > 0).all()  # Rising, hence none twice.
        assert np.bincount(np.array(labels)[indices]).tolist() == counts
    # Hence a class is drawn alike, whatever becomes of the others.
    assert set(of_small) <= set(of_large)


@given(subsets(), SEEDS)
@FEW
def test_a_subset_depends_only_on_seed_labels_and_counts(subset, seed):
    labels, counts, _ = subset
    first = subsample(labels, counts, seed).tolist()
    state = np.random.get_state()[1].tolist()
    again = subsample(np.array(labels, "uint8"), np.array(counts, "int32"), seed)
    assert again.tolist() == first
    assert np.random.get_state()[1].tolist() == state


@given(st.integers(0, 2**32), st.integers(1, 2**32))
@FEW
def test_another_seed_draws_another_subset(seed, step):
    # That two halves of 60 are the same by chance is one in 10^17.
    labels, counts = [0] * 60, [30]
    first = subsample(labels, counts, seed).tolist()
    assert subsample(labels, counts, seed + step).tolist() != first
