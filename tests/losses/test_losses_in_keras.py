"""What every loss owes a user of Keras: shapes, precision, saving, fit, errors."""

import json

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


def test_permuting_a_batch_permutes_its_losses(make, cosines, labels):
    each = to_numpy(make(reduction="none")(labels, cosines))
    assert each.shape == (12,)
    order = np.random.default_rng(3).permutation(12)
    permuted = to_numpy(make(reduction="none")(labels[order], cosines[order]))
    np.testing.assert_allclose(permuted, each[order], rtol=1e-6)


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
def test_logits_up_to_ten_thousand(make, labels, size):
    outputs = np.full((12, 4), 0.0, "float32")
    outputs[np.arange(12), labels] = size
    value = float(make()(labels, outputs))
    assert np.isfinite(value)
    assert value == 0.0 if size > 0 else value > 1e4


def test_json_round_trip(make, cosines, labels):
    loss = make(reduction="none", name="mine", dtype="float64")
    text = json.dumps(keras.saving.serialize_keras_object(loss))
    copy = keras.saving.deserialize_keras_object(json.loads(text))
    assert type(copy) is type(loss)
    assert copy.get_config() == loss.get_config()
    assert (copy.name, copy.reduction, copy.dtype) == ("mine", "none", "float64")
    np.testing.assert_array_equal(
        to_numpy(copy(labels, cosines)), to_numpy(loss(labels, cosines))
    )


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


def test_batch_of_unknown_size(features, labels):
    model = build(MAKERS)
    history = model.fit(
        features, for_each_head(labels), batch_size=5, verbose=0
    ).history
    assert np.isfinite(history["loss"][0])


@pytest.mark.parametrize("label", [-1, 4])
def test_label_outside_is_an_error_where_it_is_seen(make, cosines, labels, label):
    labels[3] = label
    for form in (labels, labels.tolist(), keras.ops.convert_to_tensor(labels)):
        message = rf"`y_true`.*\[0, 4\).*Received: y_true with {label}(\.0)? in it$"
        with pytest.raises(ValueError, match=message):
            make()(form, cosines)


@pytest.mark.parametrize("label", [-1, 4])
def test_label_outside_is_nan_where_only_the_graph_sees_it(features, labels, label):
    if keras.backend.backend() == "torch":
        pytest.skip("torch runs eagerly: there the label is an error")
    labels[3] = label
    history = build(MAKERS).fit(features, for_each_head(labels), verbose=0).history
    for name in MAKERS:
        assert np.isnan(history[f"{name}_loss"][0]), name


@pytest.mark.parametrize(
    ("y_true", "y_pred", "message"),
    [
        (np.zeros(3), np.zeros((3,)), "`y_pred` must have the shape"),
        (np.zeros(3), np.zeros((3, 1)), "`y_pred` must have the shape"),
        (np.zeros(3), np.zeros((3, 4, 4)), "`y_pred` must have the shape"),
        (np.eye(4)[:3], np.zeros((3, 4)), "argmax"),
        (np.zeros(2), np.zeros((3, 4)), "as many rows"),
        ([0.5, 1, 2], np.zeros((3, 4)), "whole numbers.*Received: y_true with 0.5"),
    ],
)
def test_wrong_shapes_and_labels(y_true, y_pred, message):
    for make in (MAKERS["maximum_margin"], MAKERS["mm_ldam"], MAKERS["ldam"]):
        with pytest.raises(ValueError, match=message):
            make()(y_true, np.asarray(y_pred, "float32"))


def test_labels_that_are_no_numbers():
    with pytest.raises(ValueError, match="`y_true` must be an array"):
        losses.maximum_margin(["a", "b"], np.zeros((2, 4), "float32"))


@pytest.mark.parametrize("name", ["mm_ldam", "ldam", "ldam_hinge", "class_weighted"])
def test_counts_of_another_length_than_the_outputs(name):
    with pytest.raises(ValueError, match="4.*classes|classes.*4|5 classes"):
        MAKERS[name]()([0, 1], np.zeros((2, 5), "float32"))


FUNCTIONS = {
    "maximum_margin": losses.maximum_margin,
    "uniform_margin": losses.uniform_margin,
    "focal": losses.focal,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_alone_survive_saving(name, features, labels, tmp_path):
    model = keras.Sequential([keras.Input([8]), layers.NormalizedDense(4)])
    model.compile("sgd", FUNCTIONS[name])
    expected = model.evaluate(features, labels, verbose=0)
    model.save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    assert copy.evaluate(features, labels, verbose=0) == pytest.approx(expected)


def test_gradients_of_logits_of_ten_thousand_are_finite(make, labels):
    for size in (1e4, -1e4):
        outputs = np.zeros((12, 4), "float32")
        outputs[np.arange(12), labels] = size
        loss = make()
        _, gradient = value_and_gradient(lambda z, loss=loss: loss(labels, z), outputs)
        assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize(
    "compute",
    [
        losses.maximum_margin,
        lambda y, z: losses.ldam(y, z, [0.1, 0.2, 0.3, 0.4]),
        losses.uniform_margin,
        lambda y, z: losses.hinge(y, z, 0.5),
        losses.focal,
    ],
    ids=["maximum_margin", "ldam", "uniform_margin", "hinge", "focal"],
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


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: losses.MaximumMargin(delta=-0.1), "delta"),
        (lambda: losses.MaximumMargin(beta=-1), "beta"),
        (lambda: losses.MaximumMargin(beta=float("nan")), "beta"),
        (lambda: losses.MaximumMargin(scale=0), "scale"),
        (lambda: losses.MaximumMargin(scale=-10), "scale"),
        (lambda: losses.MaximumMargin(scale="10"), "scale"),
        (lambda: losses.MaximumMargin(scale=True), "scale"),
        (lambda: losses.MaximumMargin(max_class_margin=-1), "max_class_margin"),
        (lambda: losses.MaximumMargin(class_counts=[5, 0]), "class_counts"),
        (lambda: losses.MaximumMargin(class_counts=[5]), "class_counts"),
        (lambda: losses.MaximumMargin(class_counts=[5, 2.5]), "class_counts"),
        (lambda: losses.MaximumMargin(class_counts=[[5, 2]]), "class_counts"),
        (lambda: losses.MaximumMargin(class_counts="many"), "class_counts"),
        (lambda: losses.LDAM([5, -1]), "class_counts"),
        (lambda: losses.LDAM([5, 5], scale=-1), "scale"),
        (lambda: losses.LDAM([5, 5], max_margin=-1), "max_margin"),
        (lambda: losses.UniformMargin(margin=-1), "margin"),
        (lambda: losses.UniformMargin(scale=float("inf")), "scale"),
        (lambda: losses.Hinge(margin=-1), "margin"),
        (lambda: losses.Hinge(scale=0), "scale"),
        (lambda: losses.Hinge(class_counts=[5, 0]), "class_counts"),
        (lambda: losses.Focal(gamma=-1), "gamma"),
        (lambda: losses.Focal(scale=0), "scale"),
        (lambda: losses.maximum_margin([0], [[0.1, 0.2]], scale=-10.0), "scale"),
        (lambda: losses.maximum_margin([0], [[0.1, 0.2]], beta=-1.0), "beta"),
        (lambda: losses.ldam([0], [[0.1, 0.2]], [0.1, 0.2], scale=0), "scale"),
        (lambda: losses.uniform_margin([0], [[0.1, 0.2]], margin=None), "margin"),
        (lambda: losses.hinge([0], [[0.1, 0.2]], 0.1, scale=-1), "scale"),
        (lambda: losses.focal([0], [[0.1, 0.2]], gamma=None), "gamma"),
        (lambda: losses.ClassWeighted("focal", 2), "loss"),
        (lambda: losses.ClassWeighted(losses.Focal(), 1), "num_classes"),
        (lambda: losses.ClassWeighted(losses.Focal(), 2, [1, 2, 3]), "class_weights"),
        (lambda: losses.ClassWeighted(losses.Focal(), 2, [0, 0]), "class_weights"),
        (lambda: losses.ClassWeighted(losses.Focal(), 2, [1, -1]), "class_weights"),
    ],
)
def test_wrong_arguments(call, name):
    with pytest.raises(ValueError, match=rf"`{name}` must.*Received: {name}="):
        call()
