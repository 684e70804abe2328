"""What `mm_tf.data.imbalance` promises of all settings, not of a few examples."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm_tf.data import class_counts, long_tailed_counts, step_counts, subsample

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


@pytest.mark.parametrize("n_max, ratio, count", [(98, 49, 2), (33, 1.1, 30)])
@pytest.mark.parametrize("function", [long_tailed_counts, step_counts])
def test_rounding_takes_no_image_from_the_last_class(function, n_max, ratio, count):
    # In floating point both quotients are just below the whole number.
    assert function(n_max, 10, ratio)[-1] == count


@pytest.mark.parametrize("function", [long_tailed_counts, step_counts])
@given(st.integers(1, 10_000), NUMBERS_OF_CLASSES, st.data())
@MANY
def test_the_ratio_may_be_a_quotient_of_counts(function, n_max, num_classes, data):
    smallest = data.draw(st.integers(1, n_max))
    assert function(n_max, num_classes, n_max / smallest)[-1] == smallest


@pytest.mark.parametrize("name", ["long_tailed", "step"])
@given(setting=count_settings())
@FEW
def test_counts_fall_from_n_max_to_at_least_one(name, setting):
    n_max, num_classes, ratio = setting
    counts = class_counts(name, *setting)
    assert counts.dtype == np.int64 and counts.shape == (num_classes,)
    assert counts[0] == n_max
    assert (np.diff(counts) <= 0).all()
    assert counts[-1] == n_max // as_written(ratio) >= 1


@pytest.mark.parametrize("name", ["long_tailed", "step"])
@given(data=st.data())
@FEW
def test_a_larger_ratio_takes_images_and_a_larger_n_max_gives_them(name, data):
    n_max, num_classes, ratio = data.draw(count_settings())
    counts = class_counts(name, n_max, num_classes, ratio)
    larger_ratio = max(ratio, data.draw(ratios(n_max)))
    assert (class_counts(name, n_max, num_classes, larger_ratio) <= counts).all()
    more = n_max + data.draw(st.integers(0, 1000))
    assert (class_counts(name, more, num_classes, ratio) >= counts).all()


@pytest.mark.parametrize("name", ["long_tailed", "step", "none"])
@given(st.integers(1, 2**53 - 1), NUMBERS_OF_CLASSES)
@FEW
def test_ratio_one_is_balanced(name, n_max, num_classes):
    counts = class_counts(name, n_max, num_classes, ratio=1)
    assert counts.tolist() == [n_max] * num_classes


@pytest.mark.parametrize("function", [long_tailed_counts, step_counts])
@given(st.integers(1, 2**53 - 1), NUMBERS_OF_CLASSES)
@FEW
def test_n_max_is_the_last_ratio_that_leaves_an_image(function, n_max, num_classes):
    assert function(n_max, num_classes, n_max)[-1] == 1
    with pytest.raises(ValueError, match=f"`ratio`.*Received: ratio={n_max + 1}$"):
        function(n_max, num_classes, n_max + 1)


@pytest.mark.parametrize("function", [long_tailed_counts, step_counts])
def test_n_max_beyond_the_floats_is_refused(function):
    with pytest.raises(ValueError, match="`n_max`.*Received: n_max=10{30}$"):
        function(10**30, 10, 100)


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
    assert set(of_small) <= set(of_large)


@given(subsets(), SEEDS)
@FEW
def test_a_subset_depends_on_seed_labels_and_counts_alone(subset, seed):
    labels, counts, _ = subset
    first = subsample(labels, counts, seed).tolist()
    state = np.random.get_state()[1].tolist()
    again = subsample(np.array(labels, "uint8"), np.array(counts, "int32"), seed)
    assert again.tolist() == first
    assert np.random.get_state()[1].tolist() == state


@given(subsets(), SEEDS)
@FEW
def test_all_examples_are_the_subset_of_all_counts(subset, seed):
    labels, _, _ = subset
    everything = subsample(labels, np.bincount(labels), seed)
    assert everything.tolist() == list(range(len(labels)))


@given(subsets(), SEEDS, st.data())
@FEW
def test_a_class_is_drawn_alike_whatever_becomes_of_the_others(subset, seed, data):
    labels, counts, large = map(np.array, subset)
    j = data.draw(st.integers(0, len(counts) - 1))
    others_too = np.where(np.arange(len(counts)) == j, counts, large)
    drawn = [
        [index for index in subsample(labels, wanted, seed) if labels[index] == j]
        for wanted in (counts, others_too)
    ]
    assert drawn[0] == drawn[1]


@given(st.integers(0, 2**32), st.integers(1, 2**32))
@FEW
def test_another_seed_draws_another_subset(seed, step):
    # That two halves of 60 are the same by chance is one in 10^17.
    labels, counts = [0] * 60, [30]
    first = subsample(labels, counts, seed).tolist()
    assert subsample(labels, counts, seed + step).tolist() != first
