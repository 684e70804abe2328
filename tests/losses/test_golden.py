"""The losses equal those of the authors' own PyTorch code, gradients included."""

import json

import keras
import numpy as np
import pytest
from gradients import value_and_gradient

from mm_tf import class_weights, losses

CASES = range(3)
TOLERANCES = {"float64": 1e-10, "float32": 1e-5}
MAXIMUM_MARGIN = ("mm", "mm_ldam", "mm_b", "mm_ldam_b")


@pytest.fixture(scope="module")
def golden(shared):
    return json.loads((shared / "golden" / "losses.json").read_text())


@pytest.fixture(params=TOLERANCES)
def dtype(request):
    if request.param == "float64" and keras.backend.backend() == "jax":
        pytest.skip("JAX computes in float32 unless its x64 mode is on")
    return request.param


def assert_equal(loss, labels, outputs, dtype, expected, expected_gradient):
    """Compares value and gradient, relative to the largest of each example."""
    if dtype == "float64" and keras.backend.backend() == "torch":
        pytest.skip("Keras's mean on torch has the precision of float32")
    tolerance = TOLERANCES[dtype]
    outputs = np.asarray(outputs, dtype)
    expected_gradient = np.asarray(expected_gradient)
    value, gradient = value_and_gradient(lambda z: loss(labels, z), outputs)
    assert value == pytest.approx(expected, rel=tolerance)
    size = np.abs(expected_gradient).max(axis=-1, keepdims=True)
    assert np.max(np.abs(gradient - expected_gradient) / size) < tolerance


@pytest.mark.parametrize("number", CASES)
@pytest.mark.parametrize("name", MAXIMUM_MARGIN)
def test_maximum_margin(golden, number, name, dtype):
    case = golden[number]
    expected = case["losses"][name]
    arguments = dict(
        delta=expected["delta_neg"],
        beta=expected["beta"],
        class_counts=case["class_counts"] if expected["class_margin"] else None,
        max_class_margin=expected["max_class_margin"],
        scale=expected["scale"],
        dtype=dtype,
    )
    outputs = np.asarray(case["cosines"], dtype)
    each = losses.MaximumMargin(**arguments, reduction="none")
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(each(case["labels"], outputs)),
        expected["per_example"],
        rtol=TOLERANCES[dtype],
    )
    assert_equal(
        losses.MaximumMargin(**arguments, reduction="sum"),
        case["labels"],
        outputs,
        dtype,
        np.sum(expected["per_example"]),
        expected["per_example_gradient"],
    )


def weighted(counts, loss):
    return losses.ClassWeighted(
        loss, len(counts), class_weights.effective_number(counts)
    )


def ldam(expected, counts, dtype):
    margin, scale = expected["max_margin"], expected["scale"]
    return losses.LDAM(counts, margin, scale, dtype=dtype)


def focal(expected, counts, dtype):
    assert expected["logits"] == "10 * cosines"
    return losses.Focal(expected["gamma"], dtype=dtype)


# A name, the loss, what the outputs are times the cosines, and the gradient's name.
OTHERS = {
    "ldam": (ldam, 1, "gradient"),
    "ldam_weighted": (
        lambda e, n, dtype: weighted(n, ldam(e, n, dtype)),
        1,
        "gradient",
    ),
    "focal_1": (focal, 10, "gradient_to_logits"),
    "focal_2": (focal, 10, "gradient_to_logits"),
}


@pytest.mark.parametrize("number", CASES)
@pytest.mark.parametrize("name", OTHERS)
def test_ldam_and_focal(golden, number, name, dtype):
    case, (make, factor, gradient) = golden[number], OTHERS[name]
    expected, counts = case["losses"][name], case["class_counts"]
    assert_equal(
        make(expected, counts, dtype),
        case["labels"],
        factor * np.asarray(case["cosines"]),
        dtype,
        expected["reduced"],
        expected[gradient],
    )


@pytest.mark.parametrize("number", CASES)
def test_effective_number(golden, number):
    case = golden[number]
    weights = class_weights.effective_number(case["class_counts"])
    np.testing.assert_allclose(weights, case["effective_number_weights"], rtol=1e-12)
