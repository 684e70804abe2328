"""Temperature, prior adjustment and the measures of calibration."""

import numpy as np
import pytest
from scipy import special

from mm_tf import calibration


def drawn(number, temperature=1.0, seed=0):
    """Logits z, and labels drawn from softmax(z / temperature)."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (number, 4))
    chances = special.softmax(logits / temperature, axis=-1)
    labels = (chances.cumsum(-1) < rng.random((number, 1))).sum(-1)
    return logits, np.minimum(labels, 3)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_drew_the_labels_is_found(temperature):
    logits, labels = drawn(20_000, temperature)
    assert calibration.fit_temperature(logits, labels) == pytest.approx(
        temperature, rel=0.05
    )


def test_no_other_temperature_is_likelier():
    logits, labels = drawn(300, 2.0)
    offset = np.log([1.0, 2.0, 3.0, 4.0])
    best = calibration.fit_temperature(logits, labels, offset)

    def loss(temperature):
        chances = special.softmax(logits / temperature + offset, axis=-1)
        return calibration.negative_log_likelihood(chances, labels)

    assert loss(best) < min(loss(best * 1.02), loss(best / 1.02), loss(1.0))


def test_a_network_that_is_always_right_gets_the_lowest_temperature():
    assert calibration.fit_temperature([[3.0, 0.0]] * 3, [0, 0, 0]) <= 0.2


def test_an_adjusted_posterior_is_that_of_the_other_prior():
    # Two classes of normal features at -1 and 1: the posterior is known.
    x = np.linspace(-3, 3, 7)
    likelihood = np.stack([np.exp(-((x + 1) ** 2) / 2), np.exp(-((x - 1) ** 2) / 2)], 1)

    def posterior(prior):
        joint = likelihood * prior
        return joint / joint.sum(-1, keepdims=True)

    offset = calibration.prior_adjustment([900, 100], [0.3, 0.7])
    found = special.softmax(np.log(posterior([0.9, 0.1])) + offset, axis=-1)
    np.testing.assert_allclose(found, posterior([0.3, 0.7]), rtol=1e-12)
    np.testing.assert_array_equal(calibration.prior_adjustment([5, 2], [5, 2]), 0)


@pytest.mark.parametrize("tau", [0.0, 0.5, 1.0, 2.0])
def test_logit_adjustment_divides_by_the_prior_to_the_power_of_tau(tau):
    counts = np.array([900, 90, 10])
    added = calibration.logit_adjustment(counts, tau)
    np.testing.assert_allclose(np.exp(added), (counts / 1000) ** -tau)
    uniform = calibration.prior_adjustment(counts, [1, 1, 1])
    if tau == 1:
        np.testing.assert_allclose(added - uniform, np.log(3))


def test_the_calibration_error_of_what_is_drawn_is_near_zero():
    logits, labels = drawn(50_000)
    right = special.softmax(logits, axis=-1)
    assert calibration.expected_calibration_error(right, labels) < 0.01
    too_sure = special.softmax(3 * logits, axis=-1)
    assert calibration.expected_calibration_error(too_sure, labels) > 0.1
    # Golden: two bins, 0.9 of which half are right, 0.6 of which all are.
    chances = [[0.9, 0.1]] * 2 + [[0.6, 0.4]] * 2
    assert calibration.expected_calibration_error(
        chances, [0, 1, 0, 0]
    ) == pytest.approx(0.5 * 0.4 + 0.5 * 0.4)
