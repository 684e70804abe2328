"""Tests of `mm_tf.data.order`."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mm_tf.data import EpochOrder

LONG_TAIL = np.repeat([0, 1, 2], [900, 90, 10])
INVERSE = [1 / 900, 1 / 90, 1 / 10]


def test_the_order_of_a_seed_never_changes():
    # Saved runs name their seed: another order would belie them.
    assert EpochOrder([0] * 8, 4, seed=7).order(2).tolist() == [3, 6, 0, 7, 2, 4, 1, 5]


@pytest.mark.parametrize(
    "weights, shares",
    [(INVERSE, [1, 1, 1]), ([1, 1, 1], [90, 9, 1]), ([0, 1, 9], [0, 1, 1])],
)
def test_resampling_draws_by_weights(weights, shares):
    order = EpochOrder(LONG_TAIL, 128, 0, weights, resample_from=0)
    drawn = np.concatenate([order.order(epoch) for epoch in range(20)])
    by_class = np.bincount(LONG_TAIL[drawn], minlength=3)
    expected = np.array(shares) / sum(shares) * 20_000
    assert (by_class[expected == 0] == 0).all()
    occurs = expected > 0
    chi_square = ((by_class - expected)[occurs] ** 2 / expected[occurs]).sum()
    assert chi_square < 13.8  # 0.1 % at two degrees of freedom.
    # And the ten examples of the last class alike.
    alike = expected[2] / 10
    chi_square = ((np.bincount(drawn)[990:] - alike) ** 2 / alike).sum()
    assert chi_square < 27.9  # 0.1 % at nine.


# What holds for all labels, weights and sequences of calls

# Derandomized, so that a failure belongs to the change under test.
FEW = settings(max_examples=60, deadline=None, derandomize=True)

LABELS = st.lists(st.integers(0, 4), min_size=1, max_size=40)
BATCH_SIZES = st.integers(1, 50)
SEEDS = st.integers(0, 2**70)
EPOCHS = st.integers(0, 500)
WEIGHTS = st.lists(
    st.one_of(st.just(0.0), st.floats(0, 10, allow_subnormal=False)),
    min_size=5,
    max_size=5,
)
# So many examples that two orders are never the same by chance.
MANY_LABELS = [0] * 20 + [1] * 10 + [2] * 2


@st.composite
def resampled(draw, **fixed):
    """Arguments of an `EpochOrder` some of whose classes have no weight."""
    labels, weights = draw(LABELS), draw(WEIGHTS)
    assume(any(weights[label] > 0 for label in labels))
    arguments = dict(
        labels=labels,
        batch_size=draw(BATCH_SIZES),
        seed=draw(SEEDS),
        class_weights=weights,
        resample_from=draw(st.integers(0, 300)),
    )
    return {**arguments, **fixed}


@given(LABELS, BATCH_SIZES, SEEDS, EPOCHS)
@FEW
def test_an_epoch_without_resampling_is_a_permutation(labels, size, seed, epoch):
    order = EpochOrder(labels, size, seed).order(epoch)
    assert order.dtype == np.int64
    assert sorted(order) == list(range(len(labels)))


@given(resampled(), EPOCHS)
@FEW
def test_the_batches_of_an_epoch_are_its_order_in_pieces(arguments, epoch):
    order, size = EpochOrder(**arguments), arguments["batch_size"]
    first = epoch * order.steps_per_epoch
    batches = [order.batch(first + i) for i in range(order.steps_per_epoch)]
    assert np.concatenate(batches).tolist() == order.order(epoch).tolist()
    assert all(len(batch) == size for batch in batches[:-1])
    assert 1 <= len(batches[-1]) <= size


@given(SEEDS, EPOCHS, st.integers(1, 1000), st.integers(1, 2**32))
@FEW
def test_another_epoch_or_seed_has_another_order(seed, epoch, epochs_on, seeds_on):
    first = EpochOrder(MANY_LABELS, 8, seed).order(epoch).tolist()
    later = EpochOrder(MANY_LABELS, 8, seed).order(epoch + epochs_on)
    other = EpochOrder(MANY_LABELS, 8, seed + seeds_on).order(epoch)
    assert first != later.tolist()
    assert first != other.tolist()


@given(LABELS, BATCH_SIZES, BATCH_SIZES, SEEDS, EPOCHS)
@FEW
def test_the_order_depends_on_neither_batch_size_nor_labels(
    labels, size, other_size, seed, epoch
):
    order = EpochOrder(labels, size, seed).order(epoch)
    other = EpochOrder([0] * len(labels), other_size, seed).order(epoch)
    assert order.tolist() == other.tolist()


@given(resampled(), EPOCHS)
@FEW
def test_resampling_draws_only_what_has_a_weight(arguments, epochs_on):
    labels = np.array(arguments["labels"])
    weights = np.array(arguments["class_weights"])
    order = EpochOrder(**arguments).order(arguments["resample_from"] + epochs_on)
    assert order.shape == labels.shape
    assert (weights[labels[order]] > 0).all()


@given(resampled())
@FEW
def test_resampling_never_begins_before_its_epoch(arguments):
    resample_from = arguments["resample_from"]
    plain = EpochOrder(*(arguments[key] for key in ("labels", "batch_size", "seed")))
    order = EpochOrder(**arguments)
    never = EpochOrder(**{**arguments, "resample_from": None})
    assert never.order(300).tolist() == plain.order(300).tolist()
    for epoch in {0, resample_from // 2, resample_from - 1} - {-1, resample_from}:
        assert order.order(epoch).tolist() == plain.order(epoch).tolist()


@given(
    resampled(),
    st.one_of(st.floats(1e-6, 1e6), st.integers(-900, 900).map(lambda e: 2.0**e)),
)
@FEW
def test_only_proportions_of_weights_matter(arguments, factor):
    weights = np.array(arguments["class_weights"])
    scaled = weights * factor
    # Of a weight that is lost below the smallest float there is no proportion.
    assume(np.isfinite(scaled).all() and (scaled[weights > 0] > 1e-300).all())
    orders = [
        EpochOrder(**{**arguments, "class_weights": w}) for w in (weights, scaled)
    ]
    epoch = arguments["resample_from"]
    assert orders[0].order(epoch).tolist() == orders[1].order(epoch).tolist()


@given(SEEDS, st.sampled_from([1e308, 5e-324]))
@FEW
def test_weights_at_the_limits_of_floats(seed, weight):
    extreme = EpochOrder(MANY_LABELS, 8, seed, [weight] * 3, resample_from=0)
    equal = EpochOrder(MANY_LABELS, 8, seed, [1, 1, 1], resample_from=0)
    assert extreme.order(0).tolist() == equal.order(0).tolist()


CALLS = st.lists(
    st.tuples(st.sampled_from(["order", "batch"]), st.integers(0, 600)), max_size=12
)


@given(resampled(), CALLS)
@FEW
def test_the_sequence_of_calls_changes_nothing(arguments, calls):
    used, state = EpochOrder(**arguments), np.random.get_state()[1].tolist()
    for method, position in calls:
        expected = getattr(EpochOrder(**arguments), method)(position)
        result = getattr(used, method)(position)
        assert result.tolist() == expected.tolist()
        result[:] = -1  # What a caller does to it is the caller's affair.
    assert np.random.get_state()[1].tolist() == state
