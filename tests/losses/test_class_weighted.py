"""Class weights: their mean, their change, other weights beside them."""

import importlib

import keras
import numpy as np
import pytest

from mm_tf import losses

WEIGHTS = np.array([0.25, 1.0, 1.75])


@pytest.fixture
def cosines():
    return np.random.default_rng(1).uniform(-1, 1, (8, 3)).astype("float32")


@pytest.fixture
def labels():
    return np.array([0, 0, 0, 0, 0, 1, 1, 2])


def each_loss(labels, cosines):
    return keras.ops.convert_to_numpy(losses.maximum_margin(labels, cosines))


@pytest.mark.parametrize("shape", [(8,), (8, 1)])
def test_sample_weights_multiply(labels, cosines, shape):
    sample_weight = np.random.default_rng(2).uniform(0, 1, 8).astype("float32")
    loss = losses.ClassWeighted(losses.MaximumMargin(), 3, WEIGHTS)
    expected = np.average(
        each_loss(labels, cosines), weights=WEIGHTS[labels] * sample_weight
    )
    actual = loss(labels, cosines, sample_weight=sample_weight.reshape(shape))
    assert float(actual) == pytest.approx(expected, rel=1e-6)


def test_around_a_loss_of_keras(labels, cosines):
    cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    loss = losses.ClassWeighted(cross_entropy, 3, WEIGHTS)
    each = keras.ops.convert_to_numpy(cross_entropy.call(labels, cosines))
    expected = np.average(each, weights=WEIGHTS[labels])
    assert float(loss(labels, cosines)) == pytest.approx(expected, rel=1e-6)


def test_weights_can_be_changed_and_are_saved(labels, cosines):
    loss = losses.ClassWeighted(losses.MaximumMargin(), 3)
    loss.set_class_weights(WEIGHTS)
    np.testing.assert_allclose(loss.class_weights, WEIGHTS)
    copy = losses.ClassWeighted.from_config(loss.get_config())
    np.testing.assert_array_equal(copy.class_weights, loss.class_weights)
    expected = np.average(each_loss(labels, cosines), weights=WEIGHTS[labels])
    assert float(copy(labels, cosines)) == pytest.approx(expected, rel=1e-6)


def test_changed_weights_reach_what_is_compiled(labels, cosines):
    loss = losses.ClassWeighted(losses.MaximumMargin(), 3)
    model = keras.Sequential([keras.Input([3]), keras.layers.Identity()])
    model.compile(keras.optimizers.SGD(0.0), loss)
    steps = [
        model.train_on_batch,
        model.test_on_batch,
        compiled(lambda z, y: loss(y, z)),
    ]
    for weights in (np.ones(3), WEIGHTS):
        loss.set_class_weights(weights)
        expected = np.average(each_loss(labels, cosines), weights=weights[labels])
        for step in steps:
            assert float(step(cosines, labels)) == pytest.approx(expected, rel=1e-5)


def compiled(step):
    """The step as a user of the backend compiles it."""
    if keras.backend.backend() == "tensorflow":
        return importlib.import_module("tensorflow").function(step)
    if keras.backend.backend() == "jax":
        return importlib.import_module("jax").jit(step)
    return step
