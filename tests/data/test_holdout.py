"""Tests of `mm_tf.data.holdout`."""

import dataclasses
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_images import save_classes

from mm_tf.data import ReadOptions, hold_out, holdout_counts, load, split_holdout

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


@settings(max_examples=200, deadline=None, derandomize=True)
@given(COUNTS, SHARES, SEEDS, st.integers(1, 60))
def test_equal_contents_stay_together_and_counts_are_kept(counts, share, seed, kinds):
    labels = shuffled_labels(counts, seed)
    contents = np.random.default_rng(seed).integers(0, kinds, len(labels)).tolist()
    train, held_out = split_holdout(labels, share, seed, contents)
    assert sorted([*train, *held_out]) == list(range(len(labels)))
    expected = holdout_counts(counts, share)
    assert np.bincount(labels[held_out]).tolist() == expected.tolist()
    again = split_holdout(labels, share, seed, contents)
    assert again[1].tolist() == held_out.tolist()
    for label, wanted in enumerate(expected):
        mine = {i: contents[i] for i in np.flatnonzero(labels == label)}
        elsewhere = {c for i, c in enumerate(contents) if i not in mine}
        single = [c for c in mine.values() if list(mine.values()).count(c) == 1]
        # With enough single ones there is no need to part equal ones.
        if len(set(single) - elsewhere) >= wanted:
            inside = {c for i, c in mine.items() if i in held_out}
            assert not inside & {contents[i] for i in train}


def test_a_group_takes_the_place_of_single_ones():
    # Whatever comes first, 3 of these are a pair and a single one.
    for seed in range(20):
        contents = ["a", "a", "b", "c", "d", "d"]
        labels = [0] * 6 + [1] * 2
        _, held_out = split_holdout(labels, 0.5, seed, [*contents, "e", "f"])
        held = [contents[i] for i in held_out if i < 6]
        assert (
            len(held) == 3 and held.count("a") in (0, 2) and held.count("d") in (0, 2)
        )
    # And 3 of two pairs are one and a half.
    _, held_out = split_holdout([0] * 4, 0.7, 0, ["a", "a", "b", "b"])
    assert len(held_out) == 3


def test_without_equal_contents_the_same_are_held_out():
    labels = shuffled_labels([50, 20, 7], 1)
    without = split_holdout(labels, 0.3, 5)[1]
    assert split_holdout(labels, 0.3, 5, range(77))[1].tolist() == without.tolist()
    # Equal ones of one class change nothing in another.
    contents = [0 if label == 0 else i for i, label in enumerate(labels)]
    found = split_holdout(labels, 0.3, 5, contents)[1]
    assert [i for i in found if labels[i]] == [i for i in without if labels[i]]
    with pytest.raises(ValueError, match="each of 77 examples. Received: 3 values$"):
        split_holdout(labels, 0.3, 5, [1, 2, 3])


def test_an_image_and_its_copy_are_never_on_both_sides(tmp_path):
    folder = save_classes(tmp_path / "photos" / "train", {"ant": 10, "bee": 10})
    save_classes(tmp_path / "photos" / "test", {"ant": 1, "bee": 1}, first_seed=99)
    for number in range(5):
        source = folder / "ant" / f"{number:03}.png"
        shutil.copy(source, folder / "ant" / f"copy{number}.png")
    shutil.copy(folder / "ant" / "009.png", folder / "bee" / "ant.png")
    files = load("folder", tmp_path / "photos", ReadOptions(image_size=(10, 12)))
    arrays = dataclasses.replace(
        files, train_images=files.train_images[:], test_images=files.test_images[:]
    )
    for seed in range(20):
        for data in (files, arrays):
            part = hold_out(data, 0.3, seed)
            assert np.bincount(part.test_labels).tolist() == [4, 3]
            held = {image.tobytes() for image in part.test_images[:]}
            assert not held & {image.tobytes() for image in part.train_images[:]}


def test_the_hold_out_stands_in_place_of_the_test_images():
    digits = load("digits")
    part = hold_out(digits, 0.2, seed=3)
    train, held_out = split_holdout(digits.train_labels, 0.2, seed=3)
    assert (part.train_images == digits.train_images[train]).all()
    assert (part.test_images == digits.train_images[held_out]).all()
    assert (part.test_labels == digits.train_labels[held_out]).all()
    # Results of digits that were kept are of a cut by class alone.
    pairs = digits.train_images[np.arange(len(digits.train_labels)) // 2 * 2]
    part = hold_out(dataclasses.replace(digits, train_images=pairs), 0.2, seed=3)
    assert (part.test_images == pairs[held_out]).all()


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
