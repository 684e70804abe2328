"""Tests of `mm_tf.data.holdout`."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_tf.data import hold_out, holdout_counts, load, split_holdout

COUNTS = st.lists(st.integers(2, 60), min_size=2, max_size=8)
SHARES = st.floats(1e-3, 1 - 1e-3)
SEEDS = st.integers(0, 99)


def shuffled_labels(counts, seed):
    labels = np.repeat(np.arange(len(counts)), counts)
    return np.random.default_rng(seed).permutation(labels)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(COUNTS, SHARES)
def test_counts_are_the_share_of_every_class_and_never_all_or_none(counts, share):
    held_out = holdout_counts(counts, share)
    assert held_out.dtype == np.int64
    assert (held_out >= 1).all() and (held_out < counts).all()
    inside = (held_out > 1) & (held_out < np.array(counts) - 1)
    assert (np.abs(held_out - share * np.array(counts))[inside] <= 0.5).all()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(COUNTS, SHARES, SEEDS)
def test_a_split_is_disjoint_complete_and_of_the_right_counts(counts, share, seed):
    labels = shuffled_labels(counts, seed)
    train, held_out = split_holdout(labels, share, seed)
    assert sorted([*train, *held_out]) == list(range(len(labels)))
    expected = holdout_counts(counts, share)
    assert np.bincount(labels[held_out]).tolist() == expected.tolist()
    assert np.bincount(labels[train]).tolist() == (counts - expected).tolist()
    for indices in (train, held_out):
        assert (np.diff(indices) > 0).all()


@settings(max_examples=30, deadline=None, derandomize=True)
@given(COUNTS, SHARES, SEEDS)
def test_a_split_depends_on_the_seed_alone_and_larger_ones_hold_smaller(
    counts, share, seed
):
    labels = shuffled_labels(counts, seed)
    _, small = split_holdout(labels, share / 2, seed)
    _, large = split_holdout(labels, share, seed)
    assert set(small) <= set(large)
    assert split_holdout(labels, share, seed)[1].tolist() == large.tolist()


def test_another_seed_is_another_hold_out():
    labels = shuffled_labels([50, 50], 0)
    first, second = (set(split_holdout(labels, 0.3, seed)[1]) for seed in (0, 1))
    assert first != second


def test_a_split_of_a_seed_never_changes():
    # Results that were kept name their seed: another cut would belie them.
    labels = np.repeat(np.arange(2), 10)
    assert split_holdout(labels, 0.3, seed=7)[1].tolist() == [0, 7, 8, 10, 18, 19]


def test_the_hold_out_stands_in_place_of_the_test_images():
    digits = load("digits")
    part = hold_out(digits, 0.2, seed=3)
    train, held_out = split_holdout(digits.train_labels, 0.2, seed=3)
    assert (part.train_images == digits.train_images[train]).all()
    assert (part.test_images == digits.train_images[held_out]).all()
    assert (part.test_labels == digits.train_labels[held_out]).all()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (([5, 1, 1], 0.2), r"2 of 3 classes have .* class 1. Received: counts\[1\]=1$"),
        (([5, 5], 0), r"`share` must be.*Received: share=0$"),
        (([5, 5], 1.0), r"`share` must be below 1. Received: share=1.0$"),
        (([5, 5], float("nan")), "`share` must be.*Received: share=nan$"),
        (([], 0.2), "`counts` must be"),
    ],
)
def test_bad_counts_and_shares_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        holdout_counts(*arguments)


def test_a_class_without_examples_is_named():
    with pytest.raises(ValueError, match="Received: labels without class 1$"):
        split_holdout([0, 0, 2, 2], 0.5, seed=0)
