import numpy as np
import pandas as pd
import pytest

from mm_tf import class_weights, data, losses, metrics

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


def test_counts_of_a_dict_or_series_are_taken_by_their_keys():
    by_count = pd.Series(np.repeat([2, 0, 1], [9, 5, 2])).value_counts()
    assert by_count.tolist() == [9, 5, 2]
    for counts in (by_count, by_count.to_dict()):
        weights = class_weights.inverse_frequency(counts)
        np.testing.assert_array_equal(
            weights, class_weights.inverse_frequency([5, 2, 9])
        )
        assert losses.LDAM(counts).class_counts == [5, 2, 9]
        assert metrics.ShotAccuracy(counts, "few").class_counts == [5, 2, 9]
        drawn = data.subsample(np.repeat([0, 1, 2], 9), counts, seed=0)
        assert len(drawn) == 16
    named = pd.Series([5, 2], index=["cat", "dog"])
    with pytest.raises(ValueError, match="`class_counts`.*keys 0 to K - 1.*Received"):
        class_weights.inverse_frequency(named)
    weighted = losses.ClassWeighted(losses.Focal(), 2, {1: 3.0, 0: 1.0})
    np.testing.assert_array_equal(weighted.class_weights, [1, 3])


def test_permuting_classes_permutes_weights():
    order = np.random.default_rng(0).permutation(10)
    for weigh in (class_weights.inverse_frequency, class_weights.effective_number):
        np.testing.assert_allclose(weigh(np.array(COUNTS)[order]), weigh(COUNTS)[order])
