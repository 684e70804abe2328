"""Tests of `mm_tf.data.splits`: one rule for hold-outs and test sets."""

import dataclasses
import shutil

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_images import save_classes

from mm_tf.data import ReadOptions, hold_out, holdout_counts, load, split_holdout
from mm_tf.data.splits import stratified_split

MANY = settings(max_examples=200, deadline=None, derandomize=True)
COUNTS = st.lists(st.integers(2, 60), min_size=2, max_size=8)
SHARES = st.floats(1e-3, 1 - 1e-3)
SEEDS = st.integers(0, 99)


@st.composite
def examples(draw, counts=COUNTS):
    """Labels in any order, and contents some of which are equal."""
    sizes, seed = draw(counts), draw(SEEDS)
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    kinds = draw(st.sampled_from([1, 5, 60, 10**6]))
    return labels, rng.integers(0, kinds, len(labels)).tolist()


def contents_of(contents, indices):
    return {contents[index] for index in indices}


@MANY
@given(COUNTS, SHARES)
def test_counts_are_the_share_of_every_class_and_never_all_or_none(counts, share):
    held_out = holdout_counts(counts, share)
    assert held_out.dtype == np.int64
    assert (held_out >= 1).all() and (held_out < counts).all()
    inside = (held_out > 1) & (held_out < np.array(counts) - 1)
    assert (np.abs(held_out - share * np.array(counts))[inside] <= 0.5).all()


@MANY
@given(examples(), SHARES, SEEDS)
def test_a_hold_out_has_its_counts_and_divides_no_copies_needlessly(drawn, share, seed):
    labels, contents = drawn
    train, held_out = split_holdout(labels, share, seed, contents)
    assert sorted([*train, *held_out]) == list(range(len(labels)))
    assert (np.diff(train) > 0).all() and (np.diff(held_out) > 0).all()
    expected = holdout_counts(np.bincount(labels), share)
    assert np.bincount(labels[held_out]).tolist() == expected.tolist()
    again = split_holdout(labels, share, seed, contents)
    assert again[1].tolist() == held_out.tolist()
    for label, wanted in enumerate(expected):
        mine = np.flatnonzero(labels == label)
        single = [c for c in contents_of(contents, mine) if contents.count(c) == 1]
        if len(single) >= wanted:
            inside = contents_of(contents, set(mine) & set(held_out))
            assert not inside & contents_of(contents, train)


@MANY
@given(examples(st.lists(st.integers(1, 30), min_size=1, max_size=5)), SHARES, SEEDS)
def test_a_test_set_has_every_class_that_it_can_and_no_copies(drawn, share, seed):
    labels, contents = drawn
    is_test = stratified_split(labels, share, seed, contents)
    assert (stratified_split(labels, share, seed, contents) == is_test).all()
    train, test = np.flatnonzero(~is_test), np.flatnonzero(is_test)
    assert not contents_of(contents, train) & contents_of(contents, test)
    for label in range(labels.max() + 1):
        mine = np.flatnonzero(labels == label)
        kinds = contents_of(contents, mine)
        only_here = kinds - contents_of(contents, np.flatnonzero(labels != label))
        tested = is_test[mine].sum()
        assert tested < len(mine)
        assert (tested > 0) == (len(kinds) > 1 and len(only_here) > 0)


@MANY
@given(examples(), SHARES, SEEDS)
def test_both_are_one_rule_and_larger_ones_hold_smaller(drawn, share, seed):
    labels, _ = drawn
    held_out = split_holdout(labels, share, seed)[1].tolist()
    assert np.flatnonzero(stratified_split(labels, share, seed)).tolist() == held_out
    different = range(len(labels))
    assert split_holdout(labels, share, seed, different)[1].tolist() == held_out
    assert {*split_holdout(labels, share / 2, seed)[1]} <= {*held_out}


def test_a_split_of_a_seed_never_changes():
    # Saved results name their seed: another split would belie them.
    labels = np.repeat(np.arange(2), 10)
    held_out = [0, 7, 8, 10, 18, 19]
    assert split_holdout(labels, 0.3, seed=7)[1].tolist() == held_out
    assert np.flatnonzero(stratified_split(labels, 0.3, seed=7)).tolist() == held_out
    assert split_holdout(labels, 0.3, seed=8)[1].tolist() != held_out


def test_copies_in_one_class_change_nothing_in_another():
    labels = np.random.default_rng(1).permutation(np.repeat([0, 1, 2], [50, 20, 7]))
    contents = [0 if label == 0 else i for i, label in enumerate(labels)]
    found, without = (split_holdout(labels, 0.3, 5, c)[1] for c in (contents, None))
    assert [i for i in found if labels[i]] == [i for i in without if labels[i]]


def test_copies_are_divided_only_where_the_number_needs_it():
    # Whatever comes first, 3 of these are a pair and a single one.
    for seed in range(20):
        contents = ["a", "a", "b", "c", "d", "d"]
        labels = [0] * 6 + [1] * 2
        _, held_out = split_holdout(labels, 0.5, seed, [*contents, "e", "f"])
        held = [contents[i] for i in held_out if i < 6]
        assert len(held) == 3
        assert held.count("a") in (0, 2) and held.count("d") in (0, 2)
    # And 3 of two pairs are one and a half.
    assert len(split_holdout([0] * 4, 0.7, 0, ["a", "a", "b", "b"])[1]) == 3
    assert np.sum(stratified_split([0] * 4, 0.7, 0, ["a", "a", "b", "b"])) == 2


def test_an_image_and_its_copy_are_never_on_both_sides(tmp_path):
    folder = save_classes(tmp_path / "photos" / "train", {"ant": 10, "bee": 10})
    save_classes(tmp_path / "photos" / "test", {"ant": 1, "bee": 1}, first_seed=99)
    for number in range(5):
        source = folder / "ant" / f"{number:03}.png"
        shutil.copy(source, folder / "ant" / f"copy{number}.png")
    shutil.copy(folder / "ant" / "009.png", folder / "bee" / "ant.png")
    # Without `verify` the image in two classes is not left out.
    options = ReadOptions(image_size=(10, 12), verify=False)
    files = load("folder", tmp_path / "photos", options)
    arrays = dataclasses.replace(
        files, train_images=files.train_images[:], test_images=files.test_images[:]
    )
    # The mean and the deviation are those of all training images.
    assert hold_out(files, 0.3, 0).info == files.info
    for seed in range(20):
        drawn = dataclasses.replace(options, split_seed=seed, test_fraction=0.3)
        splits = [hold_out(files, 0.3, seed), hold_out(arrays, 0.3, seed)]
        for data in [*splits, load("folder", folder, drawn)]:
            assert len(data.train_labels) + len(data.test_labels) == 26
            assert np.bincount(data.test_labels).tolist() in ([4, 3], [3, 3])
            held = {image.tobytes() for image in data.test_images[:]}
            assert not held & {image.tobytes() for image in data.train_images[:]}


def test_the_hold_out_stands_in_place_of_the_test_images():
    digits = load("digits")
    part = hold_out(digits, 0.2, seed=3)
    train, held_out = split_holdout(digits.train_labels, 0.2, seed=3)
    assert (part.train_images == digits.train_images[train]).all()
    assert (part.test_images == digits.train_images[held_out]).all()
    assert (part.test_labels == digits.train_labels[held_out]).all()
    # Known data sets are split by class only, whatever their images hold.
    pairs = digits.train_images[np.arange(len(digits.train_labels)) // 2 * 2]
    part = hold_out(dataclasses.replace(digits, train_images=pairs), 0.2, seed=3)
    assert (part.test_images == pairs[held_out]).all()
