"""Tests of `mm_tf.data.order`."""

import numpy as np
import pytest

from mm_tf.data import EpochOrder

LABELS = np.repeat([0, 1, 2], [900, 90, 10])
INVERSE = [1 / 900, 1 / 90, 1 / 10]


def test_an_epoch_is_a_permutation():
    order = EpochOrder(LABELS, 128, seed=0)
    for epoch in range(3):
        assert sorted(order.order(epoch)) == list(range(1000))
    assert order.order(0).dtype == np.int64


def test_epochs_and_seeds_differ():
    orders = [
        EpochOrder(LABELS, 128, seed).order(epoch).tolist()
        for seed in range(3)
        for epoch in range(3)
    ]
    assert len({tuple(o) for o in orders}) == 9


def test_the_order_of_a_seed_never_changes():
    # Runs that were kept name their seed: another order would belie them.
    assert EpochOrder([0] * 8, 4, seed=7).order(2).tolist() == [3, 6, 0, 7, 2, 4, 1, 5]


@pytest.mark.parametrize("resample_from", [None, 2])
def test_an_epoch_does_not_depend_on_what_was_asked_before(resample_from):
    def new():
        return EpochOrder(LABELS, 300, 1, INVERSE, resample_from)

    used = new()
    for step in (17, 0, 9, 3, 8):
        used.batch(step)
    used.order(5)
    for epoch in (3, 1, 3):
        assert used.order(epoch).tolist() == new().order(epoch).tolist()
    for step in (8, 9, 7, 8):
        assert used.batch(step).tolist() == new().batch(step).tolist()


def test_batches_cut_the_epochs():
    order = EpochOrder(LABELS, 300, seed=0)
    assert order.steps_per_epoch == 4
    for epoch in range(3):
        batches = [order.batch(4 * epoch + i) for i in range(4)]
        assert [len(b) for b in batches] == [300, 300, 300, 100]
        assert np.concatenate(batches).tolist() == order.order(epoch).tolist()


@pytest.mark.parametrize(
    "batch_size, steps, last", [(1, 1000, 1), (500, 2, 500), (2000, 1, 1000)]
)
def test_steps_per_epoch(batch_size, steps, last):
    order = EpochOrder(LABELS, batch_size, seed=0)
    assert order.steps_per_epoch == steps
    assert len(order.batch(steps - 1)) == last


def test_a_changed_batch_changes_nothing():
    order = EpochOrder(LABELS, 300, seed=0)
    before = order.batch(0).copy()
    order.batch(0)[:] = 0
    assert order.batch(0).tolist() == before.tolist()


def test_resampling_leaves_earlier_epochs_as_they_were():
    plain = EpochOrder(LABELS, 128, seed=0)
    resampled = EpochOrder(LABELS, 128, 0, INVERSE, resample_from=2)
    for epoch in (0, 1):
        assert resampled.order(epoch).tolist() == plain.order(epoch).tolist()
    for epoch in (2, 3):
        assert sorted(resampled.order(epoch)) != list(range(1000))


def test_resampling_from_the_first_epoch():
    order = EpochOrder(LABELS, 128, 0, INVERSE, resample_from=0).order(0)
    assert len(order) == 1000
    assert (np.bincount(LABELS[order]) > 250).all()


def test_weights_alone_do_not_resample():
    weighted = EpochOrder(LABELS, 128, 0, INVERSE)
    plain = EpochOrder(LABELS, 128, 0)
    assert weighted.order(300).tolist() == plain.order(300).tolist()


@pytest.mark.parametrize(
    "weights, shares",
    [(INVERSE, [1, 1, 1]), ([1, 1, 1], [90, 9, 1]), ([0, 1, 9], [0, 1, 1])],
)
def test_resampling_draws_classes_by_their_weights(weights, shares):
    order = EpochOrder(LABELS, 128, 0, weights, resample_from=0)
    drawn = np.bincount(
        np.concatenate([LABELS[order.order(epoch)] for epoch in range(20)]),
        minlength=3,
    )
    expected = np.array(shares) / sum(shares) * 20_000
    assert (drawn[expected == 0] == 0).all()
    occurs = expected > 0
    chi_square = ((drawn - expected)[occurs] ** 2 / expected[occurs]).sum()
    assert chi_square < 13.8  # 0.1 % at two degrees of freedom.


def test_resampling_draws_the_examples_of_a_class_alike():
    order = EpochOrder(LABELS, 128, 0, INVERSE, resample_from=0)
    drawn = np.bincount(np.concatenate([order.order(e) for e in range(20)]))[990:]
    expected = 20_000 / 3 / 10
    assert ((drawn - expected) ** 2 / expected).sum() < 27.9  # 0.1 % at nine.


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"labels": []}, "`labels`"),
        ({"labels": [0.5]}, "`labels`.*float64$"),
        ({"labels": [[0]]}, r"`labels`.*shape \(1, 1\)"),
        ({"labels": [0, -1]}, "`labels`.*with -1 in it$"),
        ({"batch_size": 0}, "`batch_size`.*Received: batch_size=0$"),
        ({"batch_size": True}, "`batch_size`.*Received: batch_size=True$"),
        ({"seed": -1}, "`seed`.*Received: seed=-1$"),
        ({"seed": None}, "`seed`.*Received: seed=None$"),
        ({"resample_from": -1}, "`resample_from`.*Received: resample_from=-1$"),
        ({"class_weights": None}, "`class_weights` must be given.*=None$"),
        ({"class_weights": [1.0, 1.0]}, "`class_weights`.*3 or more.*2 weights$"),
        ({"class_weights": [1, 1, -1]}, "`class_weights`.*at least 0"),
        ({"class_weights": [1, 1, np.nan]}, "`class_weights`.*finite"),
        ({"class_weights": [0, 0, 0, 1]}, "`class_weights`.*more than 0"),
        ({"class_weights": [[1, 1, 1]]}, "`class_weights`.*one-dimensional"),
        ({"class_weights": "abc"}, "`class_weights`.*numbers"),
    ],
)
def test_bad_arguments_are_named(changed, message):
    arguments = dict(
        labels=LABELS, batch_size=4, seed=0, class_weights=INVERSE, resample_from=1
    )
    with pytest.raises(ValueError, match=message):
        EpochOrder(**{**arguments, **changed})


@pytest.mark.parametrize("method, name", [("order", "epoch"), ("batch", "step")])
@pytest.mark.parametrize("value", [-1, 1.0, True])
def test_bad_positions_are_named(method, name, value):
    with pytest.raises(ValueError, match=f"`{name}`.*Received: {name}={value}$"):
        getattr(EpochOrder(LABELS, 4, 0), method)(value)
