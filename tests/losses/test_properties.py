"""What the formulas of the losses promise of all cosines, labels and arguments."""

import json

import keras
import numpy as np
import pytest
from gradients import value_and_gradient
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mm_tf import losses

# Derandomized, so that a failure belongs to the change under test.
FEW = settings(max_examples=10, deadline=None, derandomize=True)

# JAX computes in float32, and warns, unless it is told otherwise when imported.
pytestmark = pytest.mark.filterwarnings("ignore:Explicitly requested dtype")
PRECISION = 2e-5 if keras.backend.backend() == "jax" else 1e-11


def unit(high):
    return st.floats(0, high, allow_subnormal=False)


# Each is (loss class, names of its arguments); `class_counts` is drawn for the K of
# the batch.
FAMILIES = {
    "maximum_margin": (losses.MaximumMargin, ["delta", "beta", "scale"]),
    "mm_ldam": (
        losses.MaximumMargin,
        ["delta", "beta", "scale", "class_counts", "max_class_margin"],
    ),
    "ldam": (losses.LDAM, ["class_counts", "max_margin", "scale"]),
    "uniform_margin": (losses.UniformMargin, ["margin", "scale"]),
    "hinge": (losses.Hinge, ["margin", "scale"]),
    "ldam_hinge": (losses.Hinge, ["margin", "class_counts", "scale"]),
    "focal": (losses.Focal, ["gamma", "scale"]),
    "logit_adjusted": (losses.LogitAdjusted, ["class_counts", "tau", "scale"]),
    "vector_scaling": (losses.VectorScaling, ["class_counts", "gamma", "tau"]),
}
NAMES = [*FAMILIES, *(f"weighted_{name}" for name in FAMILIES)]

RANGES = {
    "delta": unit(3),
    "beta": unit(3),
    "margin": unit(1),
    "max_margin": unit(1),
    "max_class_margin": unit(1),
    "gamma": unit(4),
    "tau": unit(3),
    "scale": st.floats(0.125, 64),
}

# Many are equal, so that ties are common, and of half precision, so that no gap is
# smaller than what every backend can hold.
COSINES = st.one_of(
    st.sampled_from([-1.0, 0.0, 0.5, 1.0]),
    st.floats(-1, 1, width=16, allow_subnormal=False),
)


@st.composite
def batches(draw):
    """Labels [N] and cosines [N, K]."""
    num_classes, count = draw(st.integers(2, 5)), draw(st.integers(1, 5))
    row = st.lists(COSINES, min_size=num_classes, max_size=num_classes)
    cosines = draw(st.lists(row, min_size=count, max_size=count))
    label = st.integers(0, num_classes - 1)
    labels = draw(st.lists(label, min_size=count, max_size=count))
    return np.array(labels), np.array(cosines)


def for_each_class(numbers, num_classes):
    return st.lists(numbers, min_size=num_classes, max_size=num_classes)


@st.composite
def cases(draw, name):
    """A batch, the arguments of a loss, and a weight for each class."""
    labels, cosines = draw(batches())
    num_classes = cosines.shape[1]
    arguments = {}
    for argument in FAMILIES[name.removeprefix("weighted_")][1]:
        if argument == "class_counts":
            arguments[argument] = draw(
                for_each_class(st.integers(1, 5000), num_classes)
            )
        else:
            arguments[argument] = draw(RANGES[argument])
    weights = draw(for_each_class(unit(10), num_classes))
    assume(max(weights) > 1e-3)
    return labels, cosines, arguments, weights


def make(name, arguments, weights, **kwargs):
    kwargs = {"reduction": "none", "dtype": "float64", **kwargs}
    family, _ = FAMILIES[name.removeprefix("weighted_")]
    if not name.startswith("weighted_"):
        return family(**arguments, **kwargs)
    inner = family(**arguments, dtype=kwargs["dtype"])
    return losses.ClassWeighted(inner, len(weights), weights, **kwargs)


def evaluate(loss, labels, cosines, **kwargs):
    return keras.ops.convert_to_numpy(loss(labels, cosines, **kwargs))


def assert_equal(actual, expected):
    np.testing.assert_allclose(actual, expected, rtol=PRECISION, atol=PRECISION)


def cross_entropy(labels, logits):
    own = np.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
    return np.logaddexp.reduce(logits, axis=1) - own


for_all_losses = pytest.mark.parametrize("name", NAMES)


@for_all_losses
@given(data=st.data())
@FEW
def test_the_loss_of_an_example_does_not_depend_on_the_others(name, data):
    labels, cosines, arguments, weights = data.draw(cases(name))
    loss = make(name, arguments, weights)
    together = evaluate(loss, labels, cosines)
    assert together.shape == labels.shape
    order = data.draw(st.permutations(range(len(labels))))
    permuted = evaluate(loss, labels[order], cosines[order])
    assert_equal(permuted, together[order])
    one = slice(order[0], order[0] + 1)
    assert_equal(evaluate(loss, labels[one], cosines[one]), together[one])


@for_all_losses
@given(data=st.data())
@FEW
def test_names_of_classes_do_not_matter(name, data):
    labels, cosines, arguments, weights = data.draw(cases(name))
    old_of = np.array(data.draw(st.permutations(range(cosines.shape[1]))))
    renamed = dict(arguments)
    if "class_counts" in arguments:
        renamed["class_counts"] = np.array(arguments["class_counts"])[old_of]
    loss = make(name, arguments, weights)
    loss_of_renamed = make(name, renamed, np.array(weights)[old_of])
    assert_equal(
        evaluate(loss_of_renamed, np.argsort(old_of)[labels], cosines[:, old_of]),
        evaluate(loss, labels, cosines),
    )


@for_all_losses
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(data=st.data())
@FEW
def test_losses_are_finite_and_not_negative_and_so_are_gradients(name, dtype, data):
    labels, cosines, arguments, weights = data.draw(cases(name))
    loss = make(name, arguments, weights, dtype=dtype, reduction="sum")
    value, gradient = value_and_gradient(
        lambda z: loss(labels, z), cosines.astype(dtype)
    )
    assert np.isfinite(value) and value >= 0
    assert np.isfinite(gradient).all()


@for_all_losses
@given(data=st.data())
@FEW
def test_a_config_makes_the_same_loss_again(name, data):
    labels, cosines, arguments, weights = data.draw(cases(name))
    loss = make(name, arguments, weights)
    text = json.dumps(keras.saving.serialize_keras_object(loss))
    copy = keras.saving.deserialize_keras_object(json.loads(text))
    assert copy.get_config() == loss.get_config()
    np.testing.assert_array_equal(
        evaluate(copy, labels, cosines), evaluate(loss, labels, cosines)
    )


@pytest.mark.parametrize("name", sorted(set(FAMILIES) - {"vector_scaling"}))
@given(data=st.data())
@FEW
def test_only_differences_of_cosines_count(name, data):
    labels, cosines, arguments, weights = data.draw(cases(name))
    # Multiples of 1/64, whose sums are exact: a tie stays one.
    cosines = np.round(64 * cosines) / 64
    shift = data.draw(st.integers(-64, 64)) / 64
    loss = make(name, arguments, weights)
    shifted = evaluate(loss, labels, cosines + shift)
    np.testing.assert_allclose(
        shifted,
        evaluate(loss, labels, cosines),
        rtol=10 * PRECISION,
        atol=10 * PRECISION,
    )


@pytest.mark.parametrize(
    ("make_loss", "counts_needed"),
    [
        (lambda s, counts: losses.UniformMargin(0.0, s), False),
        (lambda s, counts: losses.LDAM(counts, 0.0, s), True),
        (lambda s, counts: losses.Focal(0.0, s), False),
        (lambda s, counts: losses.LogitAdjusted(counts, 0.0, s), True),
        # The margin of maximum margin nears 0 as delta grows.
        (lambda s, counts: losses.MaximumMargin(800.0, 1.5, scale=s), False),
        (lambda s, counts: losses.MaximumMargin(800.0, 1.5, counts, 0.5, s), True),
    ],
    ids=["uniform_margin", "ldam", "focal", "la", "maximum_margin", "mm_ldam"],
)
@given(batch=batches(), scale=RANGES["scale"], data=st.data())
@FEW
def test_without_a_margin_it_is_cross_entropy(
    make_loss, counts_needed, batch, scale, data
):
    labels, cosines = batch
    counts = None
    if counts_needed:
        counts = data.draw(for_each_class(st.integers(1, 5000), cosines.shape[1]))
    loss = make_loss(scale, counts)
    actual = keras.ops.convert_to_numpy(loss.call(labels, cosines))
    assert_equal(actual, cross_entropy(labels, scale * cosines))


@for_all_losses
@given(data=st.data())
@FEW
def test_a_soft_label_is_the_mixture_of_the_hard_ones(name, data):
    labels, cosines, arguments, weights = data.draw(cases(name))
    shares = data.draw(
        st.lists(
            for_each_class(st.integers(0, 3), cosines.shape[1]),
            min_size=len(labels),
            max_size=len(labels),
        )
    )
    shares = np.array(shares) + np.eye(cosines.shape[1])[labels]
    shares = shares / shares.sum(axis=1, keepdims=True)
    inner = make(name.removeprefix("weighted_"), arguments, weights)
    of_each_class = [
        evaluate(inner, np.full_like(labels, label), cosines)
        for label in range(cosines.shape[1])
    ]
    expected = np.sum(shares * np.transpose(of_each_class), axis=1)
    if name.startswith("weighted_"):
        expected = expected * (shares @ weights)
    loss = make(name, arguments, weights)
    soft = evaluate(loss, shares, cosines)
    # On torch Keras takes a NumPy array in as float32.
    precision = 1e-6 if keras.backend.backend() == "torch" else 10 * PRECISION
    np.testing.assert_allclose(soft, expected, precision, precision)
    one_hot = evaluate(loss, np.eye(cosines.shape[1])[labels], cosines)
    hard = evaluate(loss, labels, cosines)
    np.testing.assert_allclose(one_hot, hard, precision, precision)


@given(batch=batches(), data=st.data())
@FEW
def test_vector_scaling_without_gamma_is_logit_adjusted(batch, data):
    labels, cosines = batch
    counts = data.draw(for_each_class(st.integers(1, 5000), cosines.shape[1]))
    tau = data.draw(RANGES["tau"])
    scaled = make("vector_scaling", dict(class_counts=counts, gamma=0.0, tau=tau), None)
    adjusted = make("logit_adjusted", dict(class_counts=counts, tau=tau), None)
    assert_equal(evaluate(scaled, *batch), evaluate(adjusted, *batch))


@given(batch=batches(), scale=RANGES["scale"])
@FEW
def test_hinge_without_a_margin_is_the_rivals_lead(batch, scale):
    labels, cosines = batch
    each = evaluate(make("hinge", dict(margin=0.0, scale=scale), None), *batch)
    for label, row, loss in zip(labels, cosines, each, strict=True):
        lead = np.delete(row, label).max() - row[label]
        assert_equal(loss, scale * max(lead, 0))


@given(batch=batches(), scale=RANGES["scale"], margin=unit(1))
@FEW
def test_a_margin_adds_at_most_its_own_size(batch, scale, margin):
    labels, cosines = batch
    plain = cross_entropy(labels, scale * cosines)
    arguments = dict(margin=margin, scale=scale)
    added = evaluate(make("uniform_margin", arguments, None), *batch) - plain
    slack = PRECISION * (1 + plain)
    assert (added >= -slack).all() and (added <= scale * margin + slack).all()


MARGINS = {
    "uniform_margin": "margin",
    "hinge": "margin",
    "ldam": "max_margin",
    "ldam_hinge": "margin",
    "mm_ldam": "max_class_margin",
}
# A larger argument makes no loss smaller, or (-1) none larger.
MONOTONE = [
    *((name, argument, 1) for name, argument in MARGINS.items()),
    ("maximum_margin", "delta", -1),
    ("mm_ldam", "delta", -1),
    ("focal", "gamma", -1),
]


@pytest.mark.parametrize(("name", "argument", "sign"), MONOTONE)
@given(data=st.data())
@FEW
def test_losses_are_monotone_in_an_argument(name, argument, sign, data):
    labels, cosines, arguments, _ = data.draw(cases(name))
    larger = {**arguments, argument: arguments[argument] + data.draw(unit(1))}
    loss, loss_of_larger = (
        evaluate(make(name, each, None), labels, cosines)
        for each in (arguments, larger)
    )
    assert (sign * (loss_of_larger - loss) >= -PRECISION * (1 + loss)).all()


@given(st.lists(st.integers(1, 10**9), min_size=2, max_size=8), unit(1))
@FEW
def test_the_rarer_class_has_no_smaller_margin(counts, max_margin):
    margins = losses.label_distribution_margins(counts, max_margin)
    by_count = margins[np.argsort(counts, kind="stable")]
    assert (np.diff(by_count) <= 0).all()
    assert by_count[0] == pytest.approx(max_margin)
    assert (margins >= 0).all()


@pytest.mark.parametrize(
    ("by_class", "for_all"),
    [
        ("ldam", "uniform_margin"),
        ("ldam_hinge", "hinge"),
        ("mm_ldam", "maximum_margin"),
    ],
)
@given(data=st.data())
@FEW
def test_equal_counts_are_no_imbalance(by_class, for_all, data):
    labels, cosines, arguments, _ = data.draw(cases(by_class))
    arguments["class_counts"] = [arguments["class_counts"][0]] * cosines.shape[1]
    expected = {"scale": arguments["scale"]}
    if by_class == "mm_ldam":
        gamma = arguments["max_class_margin"]
        arguments["delta"] += gamma
        expected["delta"] = arguments["delta"] - gamma
        expected["beta"] = arguments["beta"]
    else:
        expected["margin"] = arguments[MARGINS[by_class]]
    assert_equal(
        evaluate(make(by_class, arguments, None), labels, cosines),
        evaluate(make(for_all, expected, None), labels, cosines),
    )


@pytest.mark.parametrize("name", FAMILIES)
@given(data=st.data())
@FEW
def test_the_weighted_mean_divides_by_the_sum_of_the_weights(name, data):
    labels, cosines, arguments, weights = data.draw(cases(name))
    each = evaluate(make(name, arguments, None), labels, cosines)
    of_examples = np.array(data.draw(for_each_class(unit(3), len(labels))))
    weight = np.array(weights)[labels] * of_examples
    # Where nothing weighs anything, there is nothing to learn.
    expected = (weight * each).sum() / weight.sum() if weight.sum() > 0 else 0.0
    assume(weight.sum() == 0 or weight.sum() > 1e-6)
    inner = FAMILIES[name][0](**arguments, dtype="float64")
    loss = losses.ClassWeighted(inner, len(weights), weights)
    actual = evaluate(loss, labels, cosines, sample_weight=of_examples)
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=PRECISION)
    unweighted = make(f"weighted_{name}", arguments, weights)
    assert_equal(
        evaluate(unweighted, labels, cosines), np.array(weights)[labels] * each
    )
