"""Tests of `mm_tf.data.imbalance`."""

import numpy as np
import pytest

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
    "ratio, counts, total",
    [(100, CIFAR10_LT_100, 12406), (10, CIFAR10_LT_10, 20431)],
)
def test_long_tailed_cifar10_as_in_the_paper(ratio, counts, total):
    result = long_tailed_counts(5000, 10, ratio)
    assert result.tolist() == counts
    assert result.sum() == total
    assert result.dtype == np.int64


@pytest.mark.parametrize(
    "ratio, total, last", [(100, 10847, [5, 5, 5]), (10, 19573, [52, 51, 50])]
)
def test_long_tailed_cifar100_as_in_the_paper(ratio, total, last):
    result = long_tailed_counts(500, 100, ratio)
    assert result.sum() == total
    assert result[0] == 500
    assert result[-3:].tolist() == last


@pytest.mark.parametrize(
    "n_max, num_classes, ratio, small",
    [(5000, 10, 100, 50), (5000, 10, 10, 500), (500, 100, 100, 5), (500, 100, 10, 50)],
)
def test_step_as_in_the_paper(n_max, num_classes, ratio, small):
    half = num_classes // 2
    result = step_counts(n_max, num_classes, ratio)
    assert result.tolist() == [n_max] * half + [small] * half
    assert result.dtype == np.int64


def test_step_of_an_odd_number_of_classes_has_fewer_large_ones():
    assert step_counts(100, 5, 3).tolist() == [100, 100, 33, 33, 33]


@pytest.mark.parametrize("name", ["long_tailed", "step"])
@pytest.mark.parametrize("ratio", [1, 1.5, 7, 49, 124])
def test_counts_fall_from_n_max_by_the_ratio(name, ratio):
    counts = class_counts(name, 124, 10, ratio)
    assert counts[0] == 124
    assert (np.diff(counts) <= 0).all()
    assert counts[-1] == int(124 / ratio) >= 1


@pytest.mark.parametrize("n_max", [1, 49, 98, 103, 5000])
def test_the_largest_ratio_leaves_one_image(n_max):
    # (1 / 49) * 49 is below 1 in floating point.
    assert long_tailed_counts(n_max, 10, n_max)[-1] == 1
    assert step_counts(n_max, 10, n_max)[-1] == 1


def test_none_is_balanced_whatever_the_ratio():
    assert class_counts("none", 7, 3, ratio=100).tolist() == [7, 7, 7]
    assert balanced_counts(7, 3).tolist() == [7, 7, 7]


def test_class_counts_calls_the_function_of_that_name():
    assert set(IMBALANCES) == {"long_tailed", "step", "none"}
    assert class_counts("long_tailed", 5000, 10, 100).tolist() == CIFAR10_LT_100


def test_unknown_imbalance_is_named():
    with pytest.raises(ValueError, match="'none'.*Received: imbalance='exp'$"):
        class_counts("exp", 5000, 10, 100)


@pytest.mark.parametrize("function", [long_tailed_counts, step_counts])
@pytest.mark.parametrize(
    "arguments, message",
    [
        ((0, 10, 1), "`n_max`.*Received: n_max=0$"),
        ((5.0, 10, 1), r"`n_max`.*Received: n_max=5\.0$"),
        ((True, 10, 1), "`n_max`.*Received: n_max=True$"),
        ((5, 1, 1), "`num_classes`.*Received: num_classes=1$"),
        ((5, "10", 1), "`num_classes`.*Received: num_classes='10'$"),
        ((5, 10, 0), "`ratio`.*Received: ratio=0$"),
        ((5, 10, 0.99), r"`ratio`.*Received: ratio=0\.99$"),
        ((5, 10, float("inf")), "`ratio`.*Received: ratio=inf$"),
        ((5, 10, float("nan")), "`ratio`.*Received: ratio=nan$"),
        ((5, 10, True), "`ratio`.*Received: ratio=True$"),
        ((5, 10, "2"), "`ratio`.*Received: ratio='2'$"),
        ((500, 10, 501), "`ratio`.*at most 500. Received: ratio=501$"),
    ],
)
def test_bad_settings_are_named(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(*arguments)


@pytest.fixture
def labels():
    return np.random.default_rng(0).permutation(np.repeat(np.arange(4), 30))


def test_subsample_has_the_wanted_counts(labels):
    indices = subsample(labels, [30, 20, 5, 1], seed=0)
    assert np.bincount(labels[indices]).tolist() == [30, 20, 5, 1]
    assert (np.diff(indices) > 0).all()
    assert indices.dtype == np.int64


def test_subsets_of_a_seed_are_nested(labels):
    small = subsample(labels, [10, 8, 2, 1], seed=5)
    large = subsample(labels, [10, 9, 20, 30], seed=5)
    assert set(small) < set(large)


def test_subsample_depends_on_the_seed_alone(labels):
    counts = [5, 5, 5, 5]
    first = subsample(labels, counts, seed=1).tolist()
    assert subsample(labels, counts, seed=1).tolist() == first
    assert subsample(labels, counts, seed=2).tolist() != first


def test_subsample_of_a_seed_never_changes():
    # Runs that were kept name their seed: another order would belie them.
    labels = np.repeat(np.arange(3), 20)
    assert subsample(labels, [3, 2, 1], seed=7).tolist() == [3, 8, 12, 34, 37, 55]


def test_a_class_does_not_depend_on_the_others(labels):
    other = np.where(labels == 3, 2, labels)
    of_class_1 = [i for i in subsample(labels, [5, 5, 5, 5], seed=1) if labels[i] == 1]
    without_class_3 = subsample(other, [9, 5, 1], seed=1)
    assert [i for i in without_class_3 if other[i] == 1] == of_class_1


def test_classes_are_drawn_differently():
    labels = np.repeat(np.arange(2), 100)
    indices = subsample(labels, [50, 50], seed=0)
    assert indices[:50].tolist() != (indices[50:] - 100).tolist()


@pytest.mark.parametrize(
    "labels, counts, seed, message",
    [
        ([[0, 1]], [1, 1], 0, r"`labels`.*shape \(1, 2\)"),
        ([0.0, 1.0], [1, 1], 0, "`labels`.*float64$"),
        ([], [1, 1], 0, r"`labels`.*shape \(0,\)"),
        ([False, True], [1, 1], 0, "`labels`.*bool$"),
        ([0, -1], [1, 1], 0, "`labels`.*with -1 in it$"),
        ([0, 1, 2], [1, 1], 0, "`labels`.*below.*2.*with the value 2$"),
        ([0, 1], [1, 0], 0, "`counts`.*with 0 in it$"),
        ([0, 1], [1, -1], 0, "`counts`.*with -1 in it$"),
        ([0, 1], [1, 1.0], 0, "`counts`.*float64$"),
        ([0, 1], [True, True], 0, "`counts`.*bool$"),
        ([0, 0, 1], [1, 2], 0, r"`counts`.*class 1 has 1 .*Received: counts\[1\]=2$"),
        ([0, 1], [1, 1], -1, "`seed`.*Received: seed=-1$"),
        ([0, 1], [1, 1], 0.5, r"`seed`.*Received: seed=0\.5$"),
        ([0, 1], [1, 1], True, "`seed`.*Received: seed=True$"),
    ],
)
def test_subsample_names_bad_arguments(labels, counts, seed, message):
    with pytest.raises(ValueError, match=message):
        subsample(labels, counts, seed)
