"""What a backend computes in one piece is what `keras.ops` computes in many."""

import keras
import numpy as np
import pytest

from mm_tf import _fused, losses
from mm_tf.experiments.machine import determinism

tensorflow_only = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="Only TensorFlow has losses in one piece.",
)

LOSSES = [
    losses.MaximumMargin(dtype="float64"),
    losses.MaximumMargin(class_counts=[90, 20, 5, 2], dtype="float64"),
    losses.LDAM([90, 20, 5, 2], dtype="float64"),
    losses.UniformMargin(dtype="float64"),
    losses.Hinge(dtype="float64"),
]


def derivatives(loss, labels, outputs, is_graph):
    """Returns (value, gradient, gradient of the squared norm of that gradient)."""
    import tensorflow as tf

    def compute(outputs):
        with tf.GradientTape() as outer:
            outer.watch(outputs)
            with tf.GradientTape() as inner:
                inner.watch(outputs)
                value = loss(labels, outputs)
            first = inner.gradient(value, outputs)
            norm = tf.reduce_sum(first**2)
        second = outer.gradient(norm, outputs, unconnected_gradients="zero")
        return value, first, second

    compute = tf.function(compute) if is_graph else compute
    return [np.asarray(each) for each in compute(tf.constant(outputs))]


@tensorflow_only
@pytest.mark.parametrize("is_graph", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.name)
@pytest.mark.parametrize("size", [1.0, 1e3])
@pytest.mark.parametrize("is_repeatable", [False, True])
def test_losses_and_their_first_and_second_derivatives(
    loss, is_graph, size, is_repeatable, monkeypatch
):
    with determinism.computing(is_repeatable):
        _compare_derivatives(loss, is_graph, size, monkeypatch)


def _compare_derivatives(loss, is_graph, size, monkeypatch):
    generator = np.random.default_rng(0)
    outputs = size * generator.uniform(-1, 1, (16, 4))
    labels = generator.integers(0, 4, 16).astype("int32")
    in_one = derivatives(loss, labels, outputs, is_graph)
    monkeypatch.setattr(_fused, "_is_on_tensorflow", lambda tensor: False)
    in_pieces = derivatives(loss, labels, outputs, is_graph)
    for mine, theirs in zip(in_one, in_pieces, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-12)


@tensorflow_only
def test_large_outputs_do_not_swallow_the_depth_of_the_own_ones():
    """At 1e9 float32 has steps of 64, of which a depth of 20 is less than half."""
    outputs = np.array([[1e9, 1e9 - 64, 1e9 - 128]], "float32")
    loss = losses.UniformMargin(margin=0.0, scale=1.0)
    actual = [float(loss(np.array([label]), outputs)) for label in range(3)]
    np.testing.assert_allclose(actual, [0.0, 64.0, 128.0], atol=1e-6)


@tensorflow_only
@pytest.mark.parametrize("is_compiled", [False, True], ids=["graph", "xla"])
def test_classes_that_are_masked_count_nothing(is_compiled):
    import tensorflow as tf

    loss = losses.MaximumMargin(reduction="none")
    outputs = tf.constant([[0.5, -np.inf, 0.2, 0.1], [0.1, -np.inf, 0.2, 0.5]])

    @tf.function(jit_compile=is_compiled)
    def value_and_gradient(labels, outputs):
        with tf.GradientTape() as tape:
            tape.watch(outputs)
            value = loss(labels, outputs)
        return value, tape.gradient(value, outputs)

    value, gradient = value_and_gradient(tf.constant([0, 2]), outputs)
    without = tf.gather(outputs, [0, 2, 3], axis=1)
    expected = value_and_gradient(tf.constant([0, 1]), without)
    np.testing.assert_allclose(value, expected[0], rtol=1e-5)
    np.testing.assert_allclose(
        tf.gather(gradient, [0, 2, 3], axis=1), expected[1], rtol=1e-4, atol=1e-6
    )
    np.testing.assert_array_equal(gradient[:, 1], 0.0)
