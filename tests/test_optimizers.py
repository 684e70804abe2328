import json

import keras
import numpy as np
import pytest

from mm_tf import optimizers

RATES = (0.1, 0.1, 0.1, 0.001, 0.001)


@pytest.fixture
def gradients():
    return np.random.default_rng(0).normal(size=(len(RATES), 3)).astype("float32")


def steps_of_keras(optimizer, gradients):
    weight = keras.Variable(np.array([1.0, -2.0, 0.5], "float32"))
    values = []
    for rate, gradient in zip(RATES, gradients, strict=True):
        optimizer.learning_rate = rate
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [weight])
        values.append(keras.ops.convert_to_numpy(weight).copy())
    return np.array(values)


def steps_of_torchs_rule(gradients, momentum, l2, nesterov):
    """The update that PyTorch's documentation of `torch.optim.SGD` gives."""
    weight, buffer, values = np.array([1.0, -2.0, 0.5]), None, []
    for rate, gradient in zip(RATES, gradients, strict=True):
        step = gradient + l2 * weight
        if momentum:
            buffer = step if buffer is None else momentum * buffer + step
            step = step + momentum * buffer if nesterov else buffer
        weight = weight - rate * step
        values.append(weight)
    return np.array(values)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("l2", [0.0, 0.3])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_is_torchs_rule_over_a_drop_of_the_rate(gradients, momentum, l2, nesterov):
    if nesterov and not momentum:
        pytest.skip("PyTorch refuses Nesterov without momentum")
    expected = steps_of_torchs_rule(gradients, momentum, l2, nesterov)
    optimizer = optimizers.SGD(0.1, momentum=momentum, l2=l2, nesterov=nesterov)
    np.testing.assert_allclose(
        steps_of_keras(optimizer, gradients), expected, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("nesterov", [False, True])
def test_is_torch(gradients, nesterov):
    torch = pytest.importorskip("torch")
    weight = torch.tensor([1.0, -2.0, 0.5], requires_grad=True)
    reference = torch.optim.SGD(
        [weight], lr=0.1, momentum=0.9, weight_decay=0.3, nesterov=nesterov
    )
    expected = []
    for rate, gradient in zip(RATES, gradients, strict=True):
        reference.param_groups[0]["lr"] = rate
        weight.grad = torch.tensor(gradient)
        reference.step()
        expected.append(weight.detach().numpy().copy())
    optimizer = optimizers.SGD(0.1, momentum=0.9, l2=0.3, nesterov=nesterov)
    np.testing.assert_allclose(
        steps_of_keras(optimizer, gradients), expected, rtol=1e-5, atol=1e-6
    )


def test_variables_can_be_left_out_of_the_decay():
    decayed = keras.Variable([1.0], name="kernel")
    left_out = keras.Variable([1.0], name="bias")
    optimizer = optimizers.SGD(0.1, momentum=0.0, l2=0.5)
    optimizer.exclude_from_weight_decay([left_out])
    zero = keras.ops.zeros([1])
    optimizer.apply([zero, zero], [decayed, left_out])
    assert float(decayed.value[0]) == pytest.approx(0.95)
    assert float(left_out.value[0]) == 1.0


def test_biases_and_normalization_have_a_rate_of_their_own():
    kernel, bias = keras.Variable([[1.0]]), keras.Variable([1.0])
    optimizer = optimizers.SGD(0.1, momentum=0.0, l2=0.0, vector_rate=8.0)
    one = keras.ops.ones
    optimizer.apply([one([1, 1]), one([1])], [kernel, bias])
    assert float(kernel.value[0, 0]) == pytest.approx(0.9)
    assert float(bias.value[0]) == pytest.approx(0.2)


@pytest.mark.parametrize("rise", [0.0, 0.2, 1.0])
def test_one_cycle_is_numpys_interpolation(rise):
    schedule = optimizers.OneCycle(0.5, 50, rise, start=0.1, end=0.02)
    corners = [0.0, 50 * rise, 50.0], [0.05, 0.5, 0.01]
    for step in (1, 9, 10, 11, 30, 49):
        expected = np.interp(step, *corners)
        assert float(schedule(step)) == pytest.approx(expected, rel=1e-5)
    assert float(schedule(80)) == pytest.approx(0.01)


def test_one_cycle_trains_with_the_rate_of_each_step():
    weight = keras.Variable([[0.0]])
    schedule = optimizers.OneCycle(1.0, steps=4, rise=0.5, start=0.5)
    optimizer = optimizers.SGD(schedule, momentum=0.0, l2=0.0)
    steps = []
    for _ in range(4):
        before = float(weight.value[0, 0])
        optimizer.apply([keras.ops.ones([1, 1])], [weight])
        steps.append(before - float(weight.value[0, 0]))
    np.testing.assert_allclose(steps, [0.5, 0.75, 1.0, 0.5], rtol=1e-6)
    text = json.dumps(keras.saving.serialize_keras_object(optimizer))
    copy = keras.saving.deserialize_keras_object(json.loads(text))
    assert copy.get_config() == optimizer.get_config()


def test_json_round_trip(gradients):
    optimizer = optimizers.SGD(0.1, momentum=0.8, l2=0.01, nesterov=True, clipnorm=1.0)
    text = json.dumps(keras.saving.serialize_keras_object(optimizer))
    copy = keras.saving.deserialize_keras_object(json.loads(text))
    assert copy.get_config() == optimizer.get_config()
    np.testing.assert_array_equal(
        steps_of_keras(copy, gradients), steps_of_keras(optimizer, gradients)
    )
