"""What every loss owes a user of Keras: shapes, precision, saving, fit, errors."""

import keras
import numpy as np
import pytest
from gradients import value_and_gradient

from mm_tf import layers, losses

COUNTS = [500, 100, 20, 5]
MAKERS = {
    "maximum_margin": lambda **kw: losses.MaximumMargin(delta=0.7, beta=1.2, **kw),
    "mm_ldam": lambda **kw: losses.MaximumMargin(class_counts=COUNTS, **kw),
    "ldam": lambda **kw: losses.LDAM(COUNTS, max_margin=0.4, **kw),
    "uniform_margin": lambda **kw: losses.UniformMargin(margin=0.4, **kw),
    "hinge": lambda **kw: losses.Hinge(margin=0.4, **kw),
    "ldam_hinge": lambda **kw: losses.Hinge(0.4, class_counts=COUNTS, **kw),
    "focal": lambda **kw: losses.Focal(gamma=2.0, scale=10.0, **kw),
    "logit_adjusted": lambda **kw: losses.LogitAdjusted(COUNTS, scale=10.0, **kw),
    "vector_scaling": lambda **kw: losses.VectorScaling(COUNTS, gamma=0.1, **kw),
    "class_weighted": lambda **kw: losses.ClassWeighted(
        losses.MaximumMargin(), 4, class_weights=[0.1, 0.5, 1.0, 2.4], **kw
    ),
}


@pytest.fixture(params=MAKERS)
def make(request):
    return MAKERS[request.param]


@pytest.fixture
def cosines():
    return np.random.default_rng(1).uniform(-1, 1, (12, 4)).astype("float32")


@pytest.fixture
def labels():
    return np.random.default_rng(2).integers(0, 4, 12)


def to_numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def test_labels_of_any_integer_form(make, cosines, labels):
    loss = make()
    expected = float(loss(labels, cosines))
    for form in (
        labels.tolist(),
        labels[:, None],
        labels.astype("uint8"),
        labels.astype("float32"),
        keras.ops.convert_to_tensor(labels),
    ):
        assert float(loss(form, cosines)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_outputs(make, cosines, labels, dtype):
    halved = keras.ops.cast(cosines, dtype)
    expected = float(make()(labels, keras.ops.cast(halved, "float32")))
    for loss in (make(), make(dtype=dtype)):
        assert loss.dtype == "float32"
        assert float(loss(labels, halved)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("size", [1e4, -1e4])
def test_logits_of_ten_thousand(make, labels, size):
    outputs = np.zeros((12, 4), "float32")
    outputs[np.arange(12), labels] = size
    loss = make()
    value, gradient = value_and_gradient(lambda z: loss(labels, z), outputs)
    assert np.isfinite(value) and np.isfinite(gradient).all()
    assert value == 0.0 if size > 0 else value > 5e3


def build(makers, jit_compile="auto"):
    """A model with one head for each loss: Keras compiles but one step for all."""
    inputs = keras.Input([8])
    outputs = {
        name: layers.NormalizedDense(
            4, kernel_initializer=keras.initializers.RandomNormal(seed=5), name=name
        )(inputs)
        for name in makers
    }
    model = keras.Model(inputs, outputs)
    model.compile(
        keras.optimizers.SGD(0.1),
        {name: make() for name, make in makers.items()},
        jit_compile=jit_compile,
    )
    return model


@pytest.fixture
def features():
    return np.random.default_rng(4).normal(size=(12, 8)).astype("float32")


def for_each_head(labels):
    return dict.fromkeys(MAKERS, labels)


def kernels(model):
    return {name: to_numpy(model.get_layer(name).kernel) for name in MAKERS}


def test_keras_file_round_trip(features, labels, tmp_path):
    model, targets = build(MAKERS), for_each_head(labels)
    model.fit(features, targets, verbose=0)
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    for name, loss in model.loss.items():
        assert type(copy.loss[name]) is type(loss)
        assert copy.loss[name].get_config() == loss.get_config()
    expected = model.evaluate(features, targets, verbose=0, return_dict=True)
    actual = copy.evaluate(features, targets, verbose=0, return_dict=True)
    assert actual == pytest.approx(expected)
    # The optimizer's state came along too: another step ends the same.
    for each in (model, copy):
        each.fit(features, targets, shuffle=False, verbose=0)
    for name, kernel in kernels(model).items():
        np.testing.assert_allclose(kernels(copy)[name], kernel, rtol=1e-6)


def test_fit_learns_the_same_with_and_without_jit(features, labels):
    if keras.backend.backend() == "torch":
        pytest.skip("torch.compile needs a C++ compiler, which users may not have")
    final = []
    for jit_compile in (False, True):
        model = build(MAKERS, jit_compile)
        history = model.fit(
            features,
            for_each_head(labels),
            epochs=20,
            batch_size=6,
            shuffle=False,
            verbose=0,
        ).history
        for name in MAKERS:
            losses_of_head = history[f"{name}_loss"]
            assert losses_of_head[-1] < losses_of_head[0], name
        final.append(kernels(model))
    without, with_jit = final
    for name in MAKERS:
        np.testing.assert_allclose(
            with_jit[name], without[name], rtol=1e-3, atol=1e-5, err_msg=name
        )


@pytest.mark.parametrize("label", [-1, 4])
def test_label_outside_is_an_error_where_it_is_seen(make, cosines, labels, label):
    labels[3] = label
    for form in (labels, labels.tolist(), keras.ops.convert_to_tensor(labels)):
        message = rf"`y_true`.*\[0, 4\).*Received: y_true with {label}(\.0)? in it$"
        with pytest.raises(ValueError, match=message):
            make()(form, cosines)


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("label", [-1, 4, 0.5, -0.7, float("nan"), 2.0**40])
def test_wrong_label_is_nan_where_only_the_graph_sees_it(
    features, labels, label, jit_compile
):
    if keras.backend.backend() == "torch" or (
        keras.backend.backend() == "jax" and not jit_compile
    ):
        pytest.skip("run eagerly, where the label is an error")
    labels = labels.astype("float32")
    labels[3] = label
    model = build(MAKERS, jit_compile)
    history = model.fit(features, for_each_head(labels), verbose=0).history
    for name in MAKERS:
        assert np.isnan(history[f"{name}_loss"][0]), name


@pytest.mark.parametrize("share", [-0.1, 0.5, float("nan")])
def test_soft_label_that_is_no_shares(features, labels, share):
    soft = np.eye(4, dtype="float32")[labels]
    soft[3, (labels[3] + 1) % 4] = share
    for make in MAKERS.values():
        with pytest.raises(ValueError, match="`y_true` must be soft labels.*Received"):
            make()(soft, features[:, :4])
    if keras.backend.backend() == "torch":
        return
    history = build(MAKERS).fit(features, for_each_head(soft), verbose=0).history
    for name in MAKERS:
        assert np.isnan(history[f"{name}_loss"][0]), name


def test_fit_with_label_smoothing(features, labels):
    soft = 0.9 * np.eye(4, dtype="float32")[labels] + 0.025
    history = build(MAKERS).fit(features, for_each_head(soft), epochs=5, verbose=0)
    for name in MAKERS:
        losses_of_head = history.history[f"{name}_loss"]
        assert losses_of_head[-1] < losses_of_head[0], name


@pytest.mark.parametrize(
    ("y_true", "y_pred", "message"),
    [
        (np.zeros(3), np.zeros((3,)), "`y_pred` must have the shape"),
        (np.zeros(3), np.zeros((3, 1)), "`y_pred` must have the shape"),
        (np.zeros(3), np.zeros((3, 4, 4)), "`y_pred` must have the shape"),
        (np.eye(5)[:3], np.zeros((3, 4)), r"soft labels \[N, 4\]"),
        (np.zeros(2), np.zeros((3, 4)), "the same number of rows"),
        ([0.5, 1, 2], np.zeros((3, 4)), "whole numbers.*Received: y_true with 0.5"),
        (["a", "b"], np.zeros((2, 4)), "`y_true` must be an array"),
    ],
)
def test_wrong_shapes_and_labels(y_true, y_pred, message):
    for make in (MAKERS["maximum_margin"], MAKERS["mm_ldam"], MAKERS["ldam"]):
        with pytest.raises(ValueError, match=message):
            make()(y_true, np.asarray(y_pred, "float32"))


@pytest.mark.parametrize(
    "name",
    [
        "mm_ldam",
        "ldam",
        "ldam_hinge",
        "logit_adjusted",
        "vector_scaling",
        "class_weighted",
    ],
)
def test_counts_of_another_length_than_the_outputs(name):
    with pytest.raises(ValueError, match="4.*classes|classes.*4|5 classes"):
        MAKERS[name]()([0, 1], np.zeros((2, 5), "float32"))


FUNCTIONS = {
    "maximum_margin": losses.maximum_margin,
    "uniform_margin": losses.uniform_margin,
    "focal": losses.focal,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_loss_functions_survive_saving(name, features, labels, tmp_path):
    model = keras.Sequential([keras.Input([8]), layers.NormalizedDense(4)])
    model.compile("sgd", FUNCTIONS[name])
    expected = model.evaluate(features, labels, verbose=0)
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    assert copy.evaluate(features, labels, verbose=0) == pytest.approx(expected)


@pytest.mark.parametrize(
    "compute",
    [
        losses.maximum_margin,
        lambda y, z: losses.ldam(y, z, [0.1, 0.2, 0.3, 0.4]),
        losses.uniform_margin,
        lambda y, z: losses.hinge(y, z, 0.5),
        losses.focal,
        lambda y, z: losses.logit_adjusted(y, z, COUNTS),
        lambda y, z: losses.vector_scaling(y, z, COUNTS),
    ],
    ids=["maximum_margin", "ldam", "uniform_margin", "hinge", "focal", "la", "vs"],
)
def test_a_loss_as_a_part_of_a_model(compute, cosines, labels):
    y, z = keras.Input([], dtype="int32"), keras.Input([4])
    model = keras.Model([y, z], compute(y, z))
    each = to_numpy(model([labels.astype("int32"), cosines]))
    np.testing.assert_allclose(each, to_numpy(compute(labels, cosines)), rtol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_fit_under_half_precision_policies(features, labels, policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = build(MAKERS)
        history = model.fit(
            features, for_each_head(labels), epochs=5, verbose=0
        ).history
    finally:
        keras.config.set_dtype_policy("float32")
    for name in MAKERS:
        assert history[f"{name}_loss"][-1] < history[f"{name}_loss"][0], name
