"""The losses against independent loops, and their limiting cases."""

import math

import keras
import numpy as np
import pytest
from gradients import value_and_gradient

from mm_tf import losses

COUNTS = [500, 100, 20, 5]


@pytest.fixture
def cosines():
    return np.random.default_rng(7).uniform(-1, 1, (16, 4)).astype("float32")


@pytest.fixture
def labels():
    return np.random.default_rng(8).integers(0, 4, 16)


def to_numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def assert_close(losses_of_float32, expected):
    """A small loss is a difference of scaled cosines: its error is absolute."""
    np.testing.assert_allclose(to_numpy(losses_of_float32), expected, 2e-5, 2e-6)


def cross_entropy(labels, logits):
    each = []
    for label, row in zip(labels, np.asarray(logits, "float64"), strict=True):
        largest = row.max()
        total = sum(math.exp(value - largest) for value in row)
        each.append(math.log(total) + largest - row[label])
    return np.array(each)


def margins_of_loop(labels, cosines, delta, beta, gammas):
    """Eqs. 2, 3, 5, 6 and 7, one example at a time."""
    margins = []
    for label, row in zip(labels, cosines.astype("float64"), strict=True):
        rival = max(value for j, value in enumerate(row) if j != label)
        minus = delta - gammas[label]
        if row[label] > rival:
            margins.append(math.exp(-max(row[label] - rival, 0) - beta * minus))
        else:
            margins.append(math.exp(-max(rival - row[label], 0) - minus))
    return np.array(margins)


@pytest.mark.parametrize("class_counts", [None, COUNTS])
@pytest.mark.parametrize("beta", [0.5, 1.0, 1.5])
def test_maximum_margin_is_its_equations(cosines, labels, beta, class_counts):
    gammas = np.zeros(4)
    if class_counts:
        gammas = np.array([0.5 * (5 / count) ** 0.25 for count in COUNTS])
    margins = margins_of_loop(labels, cosines, 0.6, beta, gammas)
    logits = cosines.astype("float64")
    logits[np.arange(16), labels] -= margins
    loss = losses.MaximumMargin(
        0.6, beta, class_counts=class_counts, scale=10.0, reduction="none"
    )
    expected = cross_entropy(labels, 10 * logits)
    assert_close(loss(labels, cosines), expected)


@pytest.mark.parametrize("tau", [0.0, 1.0, 1.7])
def test_logit_adjusted_is_cross_entropy_of_shifted_logits(cosines, labels, tau):
    priors = np.array(COUNTS) / sum(COUNTS)
    expected = cross_entropy(labels, 10 * cosines + tau * np.log(priors))
    loss = losses.LogitAdjusted(COUNTS, tau=tau, scale=10.0, reduction="none")
    assert_close(loss(labels, cosines), expected)


def test_logit_adjusted_with_tau_1_is_the_balanced_softmax(cosines, labels):
    weighed = np.array(COUNTS) * np.exp(cosines.astype("float64"))
    own = weighed[np.arange(16), labels]
    expected = -np.log(own / weighed.sum(axis=1))
    assert_close(losses.logit_adjusted(labels, cosines, COUNTS), expected)


@pytest.mark.parametrize(("gamma", "tau"), [(0.2, 1.2), (0.3, 1.0), (0.0, 0.0)])
def test_vector_scaling_is_its_equation(cosines, labels, gamma, tau):
    counts = np.array(COUNTS)
    logits = cosines / (counts.max() / counts) ** gamma
    expected = cross_entropy(labels, logits + tau * np.log(counts / counts.sum()))
    loss = losses.VectorScaling(COUNTS, gamma, tau, reduction="none")
    assert_close(loss(labels, cosines), expected)


def test_rival_may_be_negative():
    # The authors' code multiplies the own cosine by 0, so that its m is >= 0.
    cosines = np.array([[-0.2, -0.9, -0.8]], "float32")
    margin = math.exp(-0.6 - 1.5 * 0.6)
    expected = cross_entropy([0], 10 * np.array([[-0.2 - margin, -0.9, -0.8]]))
    assert float(losses.maximum_margin([0], cosines)[0]) == pytest.approx(expected[0])


def test_tie_counts_as_wrong():
    tie = np.array([[0.5, 0.5]], "float32")
    margin = math.exp(-0.6)
    expected = cross_entropy([0], 10 * np.array([[0.5 - margin, 0.5]]))
    actual = losses.maximum_margin([0], tie, delta=0.6, beta=3.0)
    assert float(actual[0]) == pytest.approx(expected[0], rel=1e-6)


def test_margin_is_a_constant_for_the_gradient(cosines, labels):
    margins = margins_of_loop(labels, cosines, 0.6, 1.5, np.zeros(4))
    shifted = cosines.astype("float64")
    shifted[np.arange(16), labels] -= margins
    exponents = np.exp(10 * shifted)
    expected = 10 * exponents / exponents.sum(axis=1, keepdims=True)
    expected[np.arange(16), labels] -= 10
    _, gradient = value_and_gradient(
        lambda z: keras.ops.sum(losses.maximum_margin(labels, z)), cosines
    )
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5)


def test_a_loss_far_below_1_keeps_its_precision():
    """At z_y - m = 40 it is e^-40, where a softplus of torch's would be 0."""
    cosines = np.array([[20.0, -20.0], [-20.0, 20.0]])
    loss = losses.UniformMargin(margin=0.0, scale=1.0, reduction="none")
    values, gradient = value_and_gradient(
        lambda z: keras.ops.sum(loss(np.array([0, 0]), z)), cosines.astype("float32")
    )
    np.testing.assert_allclose(values, 40.0, rtol=1e-6)
    tiny = np.exp(-40)
    np.testing.assert_allclose(gradient, [[-tiny, tiny], [-1.0, 1.0]], rtol=1e-5)
    alone = keras.ops.convert_to_numpy(loss(np.array([0]), cosines[:1]))
    np.testing.assert_allclose(alone, [tiny], rtol=1e-5)


@pytest.mark.parametrize(
    "outputs", [[np.inf, 1.0], [1.0, np.inf], [np.nan, 1.0], [1.0, np.nan]]
)
@pytest.mark.parametrize(
    "loss",
    [
        losses.MaximumMargin(),
        losses.LDAM([9, 4]),
        losses.UniformMargin(),
        losses.Hinge(margin=0.5),
        losses.Focal(),
    ],
    ids=lambda loss: loss.name,
)
def test_outputs_that_overflowed_are_seen(loss, outputs):
    assert not np.isfinite(float(loss([0], [outputs])))


@pytest.mark.parametrize(
    "loss",
    [losses.MaximumMargin(), losses.LDAM([9, 4]), losses.UniformMargin()],
    ids=lambda loss: loss.name,
)
def test_outputs_that_overflow_when_scaled_do_not_hide_a_wrong_answer(loss):
    """Compiled: XLA reorders sums, and of infinities made a loss of 0."""
    outputs = np.array([[-7e37, -1.4e38]], "float32")
    model = keras.Sequential([keras.Input([2]), keras.layers.Activation("linear")])
    model.compile(loss=loss)
    right, wrong = (
        model.evaluate(outputs, np.array([label]), verbose=0) for label in (0, 1)
    )
    assert right == 0.0
    assert wrong > 1e38


def test_outputs_of_a_thousand_million():
    """At 1e9 float32 has steps of 64."""
    outputs = np.array([[1e9, 1e9 - 64, 1e9 - 128]] * 3, "float32")
    loss = losses.UniformMargin(margin=0.0, scale=1.0, reduction="none")
    actual = to_numpy(loss([0, 1, 2], outputs))
    np.testing.assert_allclose(actual, [0.0, 64.0, 128.0], atol=1e-6)


def test_masked_classes_count_nothing():
    loss = losses.MaximumMargin(reduction="sum")
    outputs = np.array([[0.5, -np.inf, 0.2, 0.1], [0.1, -np.inf, 0.2, 0.5]], "float32")
    value, gradient = value_and_gradient(lambda z: loss([0, 2], z), outputs)
    unmasked = outputs[:, [0, 2, 3]]
    expected = value_and_gradient(lambda z: loss([0, 1], z), unmasked)
    assert value == pytest.approx(expected[0], rel=1e-5)
    np.testing.assert_allclose(gradient[:, [0, 2, 3]], expected[1], 1e-4, 1e-6)
    np.testing.assert_array_equal(gradient[:, 1], 0.0)


def test_ldam_margins():
    margins = losses.label_distribution_margins([10000, 625, 16], max_margin=0.5)
    np.testing.assert_allclose(margins, [0.1, 0.2, 0.5])


def test_focal_is_its_equation(cosines, labels):
    p = np.exp(-cross_entropy(labels, cosines))
    for gamma in (0.5, 1.0, 2.0):
        expected = -((1 - p) ** gamma) * np.log(p)
        actual = losses.focal(labels, cosines, gamma=gamma)
        assert_close(actual, expected)


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 2.0])
def test_focal_has_a_finite_gradient_where_the_answer_is_certain(gamma):
    certain = np.array([[200.0, 0.0], [0.0, 200.0]], "float32")
    value, gradient = value_and_gradient(
        lambda z: keras.ops.sum(losses.focal([0, 0], z, gamma=gamma)), certain
    )
    assert value == pytest.approx(200.0)
    np.testing.assert_allclose(gradient[0], 0.0, atol=1e-6)
    np.testing.assert_allclose(gradient[1], [-1.0, 1.0], rtol=1e-5)


@pytest.mark.parametrize("class_counts", [None, COUNTS])
def test_hinge_is_its_equation(cosines, labels, class_counts):
    margins = np.full(4, 0.5)
    if class_counts:
        margins = losses.label_distribution_margins(COUNTS, 0.5)
        assert len(set(margins)) == 4
    expected = []
    for label, row in zip(labels, cosines, strict=True):
        rival = max(value for j, value in enumerate(row) if j != label)
        expected.append(7 * max(rival - row[label] + margins[label], 0))
    loss = losses.Hinge(0.5, class_counts=class_counts, scale=7.0, reduction="none")
    assert min(expected) == 0 < max(expected)
    assert_close(loss(labels, cosines), expected)
