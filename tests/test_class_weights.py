import numpy as np
import pytest

from mm_tf import class_weights

COUNTS = [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]


def test_inverse_frequency():
    weights = class_weights.inverse_frequency(COUNTS)
    assert weights.sum() == pytest.approx(10)
    np.testing.assert_allclose(weights * COUNTS, weights[0] * COUNTS[0])


def test_effective_number_is_its_formula():
    weights = class_weights.effective_number(COUNTS, beta=0.999)
    expected = np.array([0.001 / (1 - 0.999**count) for count in COUNTS])
    np.testing.assert_allclose(weights, expected / expected.sum() * 10)


def test_effective_number_between_its_limits():
    ones = class_weights.effective_number(COUNTS, beta=0.0)
    np.testing.assert_array_equal(ones, np.ones(10))
    nearly_one = class_weights.effective_number(COUNTS, beta=1 - 1e-12)
    inverse = class_weights.inverse_frequency(COUNTS)
    np.testing.assert_allclose(nearly_one, inverse, rtol=1e-6)


def test_permuting_classes_permutes_weights():
    order = np.random.default_rng(0).permutation(10)
    for weigh in (class_weights.inverse_frequency, class_weights.effective_number):
        np.testing.assert_allclose(weigh(np.array(COUNTS)[order]), weigh(COUNTS)[order])
