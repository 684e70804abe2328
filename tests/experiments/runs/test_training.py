"""From a config to what is trained: network, loss, optimizer, order, schedule."""

import dataclasses

import keras
import numpy as np
import pytest
from flag_parsing import parse
from helpers import TINY, weights_of

from mm_tf import checkpoints, class_weights, layers, losses
from mm_tf.data import DATASETS
from mm_tf.experiments.machine import environment
from mm_tf.experiments.paper.methods import METHODS, Method, MethodLoss, is_used
from mm_tf.experiments.run import RunConfig, run
from mm_tf.experiments.runs import finished, training

LOSSES = {
    "erm": keras.losses.SparseCategoricalCrossentropy,
    "focal": losses.Focal,
    "ldam": losses.LDAM,
    "mm": losses.MaximumMargin,
    "cb_rs": keras.losses.SparseCategoricalCrossentropy,
    "hg_drs": losses.Hinge,
    "ldam_hg_drs": losses.Hinge,
    "m_drw": losses.UniformMargin,
    "ldam_drw_ssp": losses.LDAM,
    "cb_rw": keras.losses.SparseCategoricalCrossentropy,
    "cb_focal": losses.Focal,
    "ldam_drw": losses.LDAM,
    "mm_drw": losses.MaximumMargin,
    "mm_ldam_drw": losses.MaximumMargin,
    "ce_drw": keras.losses.SparseCategoricalCrossentropy,
    "la": losses.LogitAdjusted,
    "mixup_drw": keras.losses.CategoricalCrossentropy,
    **dict.fromkeys(
        ("tau_norm", "crt", "lws"), keras.losses.SparseCategoricalCrossentropy
    ),
    "vs": losses.VectorScaling,
}


@pytest.mark.parametrize("name", METHODS)
def test_rows_of_the_table(name):
    config = RunConfig(**TINY, method=name, delta=0.7, beta=1.2, scale=12.0)
    model = training.build_model(config, DATASETS["digits"])
    loss = model.loss
    is_weighted = isinstance(loss, losses.ClassWeighted)
    assert is_weighted == ("drw" in name or name in ("cb_rw", "cb_focal"))
    if is_weighted:
        expected = np.ones(10)
        if name.startswith("cb_"):
            expected = config.class_weights
        np.testing.assert_allclose(loss.class_weights, expected, rtol=1e-6)
        loss = loss.loss
    assert type(loss) is LOSSES[name]
    margin_loss = any(part in name for part in ("mm", "ldam", "hg", "m_drw"))
    head = type(model.get_layer("head")).__name__
    assert head == ("NormalizedDense" if margin_loss else "Dense")
    if isinstance(loss, losses.Hinge):
        counts = list(config.class_counts) if name == "ldam_hg_drs" else None
        assert loss.class_counts == counts
    if "mm" in name:
        assert (loss.delta, loss.beta, loss.scale) == (0.7, 1.2, 12.0)
        counts = list(config.class_counts) if name == "mm_ldam_drw" else None
        assert loss.class_counts == counts
    labels = np.repeat(np.arange(10), config.class_counts)
    resampled_from = {
        **dict.fromkeys(("cb_rs", "crt", "lws"), 0),
        **dict.fromkeys(("hg_drs", "ldam_hg_drs"), 160),
    }.get(name)
    order = training.build_order(config, labels, DATASETS["digits"])
    assert order.resample_from == resampled_from
    if name in ("la", "vs"):
        assert loss.class_counts == list(config.class_counts)
        own = {f"{name}_{argument}" for argument in loss.get_config()}
        assert set(config.method_arguments) <= own
    # One step, without compiling it.
    model.run_eagerly = True
    before = weights_of(model)
    noise = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1), dtype="uint8")
    labels = np.arange(20) % 10
    if config.mixup:
        labels = np.eye(10)[labels]
    values = model.train_on_batch(noise, labels, return_dict=True)
    assert np.isfinite(values["loss"]) and 0 <= values["accuracy"] <= 1
    moved = [
        not np.array_equal(*pair)
        for pair in zip(before, weights_of(model), strict=True)
    ]
    assert np.mean(moved) > 0.9


def losses_of(method, logits, labels, **arguments):
    """The loss of each example under a method on long-tailed digits."""
    config = RunConfig(**TINY, method=method, method_arguments=arguments)
    loss = training.build_model(config, DATASETS["digits"]).loss
    return keras.ops.convert_to_numpy(loss.call(labels, logits)), config.class_counts


def test_the_losses_of_later_rows_are_their_formulas():
    random = np.random.default_rng(0)
    logits = random.normal(size=(20, 10)).astype("float32")
    labels = random.integers(0, 10, 20)

    def cross_entropy(z):
        return np.log(np.exp(z).sum(axis=1)) - z[np.arange(20), labels]

    found, counts = losses_of("la", logits, labels, la_tau=1.5)
    log_priors = np.log(counts / counts.sum())
    expected = cross_entropy(logits.astype("float64") + 1.5 * log_priors)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    factors = (counts / counts.max()) ** 0.2
    found, _ = losses_of("vs", logits, labels, vs_gamma=0.2, vs_tau=1.2)
    expected = cross_entropy(logits * factors + 1.2 * log_priors)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    # The limits: without gamma LA, without tau cross-entropy, as ERM and CE-DRW have.
    without_gamma, _ = losses_of("vs", logits, labels, vs_gamma=0.0, vs_tau=1.5)
    np.testing.assert_allclose(
        without_gamma, losses_of("la", logits, labels, la_tau=1.5)[0], rtol=1e-5
    )
    erm, _ = losses_of("erm", logits, labels)
    for found in (
        losses_of("la", logits, labels, la_tau=0.0),
        losses_of("ce_drw", logits, labels),
    ):
        np.testing.assert_allclose(found[0], erm, rtol=1e-5)


def test_mixup_drw_mixes_images_and_weighs_them_by_their_classes():
    config = RunConfig(**TINY, method="mixup_drw")
    assert config.mixup == 1.0 and config.identity()["mixup"] == 1.0
    assert RunConfig(method="mixup_drw", mixup=0.5).mixup == 0.5
    assert RunConfig(method="ce_drw").mixup == 0.0
    loss = training.build_model(config, DATASETS["digits"]).loss
    loss.set_class_weights(config.class_weights)
    random = np.random.default_rng(0)
    logits = random.normal(size=(6, 10)).astype("float32")
    shares = np.eye(10)[random.integers(0, 10, (2, 6))]
    soft = 0.3 * shares[0] + 0.7 * shares[1]
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    weights = soft @ config.class_weights
    expected = -((soft * log_p).sum(axis=1) * weights).sum() / weights.sum()
    assert float(loss(soft, logits)) == pytest.approx(expected, rel=1e-5)
    # Of one class, unmixed, it is CE-DRW.
    plain = training.build_model(
        RunConfig(**TINY, method="ce_drw"), DATASETS["digits"]
    ).loss
    plain.set_class_weights(config.class_weights)
    assert float(loss(shares[0], logits)) == pytest.approx(
        float(plain(shares[0].argmax(axis=1), logits)), rel=1e-5
    )


def test_a_row_that_is_added_is_a_method_of_the_command(monkeypatch, tmp_path):
    loss = MethodLoss("Hinge", {"margin": "delta", "scale": "scale"})
    row = Method("mine", "Mine", loss, weighting="deferred")
    monkeypatch.setitem(METHODS, "mine", row)
    flags = ("--method=mine", "--delta=0.25", "--model=resnet8", "--epochs=1")
    folder = tmp_path / "run"
    config = parse(*flags, "--imbalance_ratio=20", f"--output_dir={folder}")
    assert config.hyperparameters == {
        **{"delta": 0.25, "scale": 10.0, "class_weighting": "effective_number"},
        "effective_number_beta": 0.9999,
    }
    assert is_used("reweight_epoch", "mine") and not is_used("beta", "mine")
    hinge = training.build_model(config, DATASETS["digits"]).loss.loss
    assert (hinge.margin, hinge.scale, hinge.class_counts) == (0.25, 10.0, None)
    result = run(config)
    assert result.method == "mine" and result.published_top1_error is None
    assert finished.read_config(folder).method == "mine"
    assert finished.load_model(folder).output_shape == (None, 10)


def test_model_and_optimizer_are_the_configs():
    config = RunConfig(**TINY, learning_rate=0.07, momentum=0.8, l2=0.003, method="mm")
    info = DATASETS["cifar10"]
    model = training.build_model(config, info)
    optimizer = model.optimizer
    assert float(optimizer.learning_rate) == pytest.approx(0.07)
    assert (optimizer.momentum, optimizer.l2) == (0.8, 0.003)
    assert model.get_layer("crop").padding == info.crop_padding
    assert isinstance(model.get_layer("flip"), layers.RandomHorizontalFlip)
    pixels = keras.ops.convert_to_tensor([[[[0.0, 0.0, 0.0], [255.0, 255.0, 255.0]]]])
    black, white = np.asarray(model.get_layer("rescale")(pixels))[0, 0]
    np.testing.assert_allclose(black, -np.array(info.mean) / info.std, rtol=1e-5)
    np.testing.assert_allclose(white, (1 - np.array(info.mean)) / info.std, rtol=1e-5)
    still = training.build_model(dataclasses.replace(config, augment=False), info)
    assert still.get_layer("crop").padding == 0
    assert "flip" not in [layer.name for layer in still.layers]
    digits = training.build_model(config, DATASETS["digits"])
    assert "flip" not in [layer.name for layer in digits.layers]


@pytest.mark.parametrize("method", ["erm", "mm"])
def test_augmentation_leaves_initial_weights_and_predictions_alone(method):
    plain = RunConfig(**TINY, method=method)
    changed = dataclasses.replace(plain, cutout=16, augmentation="randaugment", mixup=1)
    info = DATASETS["cifar10"]
    expected, model = (training.build_model(each, info) for each in (plain, changed))
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), "uint8")
    # XLA rounds another graph in another way.
    np.testing.assert_allclose(
        model.predict(images, verbose=0), expected.predict(images, verbose=0), rtol=1e-4
    )
    cutout = model.get_layer("cutout")
    assert cutout.size == 16 and cutout.color == pytest.approx(
        [125.3, 123, 113.9], 0.01
    )
    pixels = images.astype("float32")
    for name in ("cutout", "randaugment"):
        layer, same = (
            training.build_model(changed, info).get_layer(name) for _ in range(2)
        )
        once = np.asarray(layer(pixels, training=True))
        assert not np.array_equal(once, pixels)
        np.testing.assert_array_equal(once, same(pixels, training=True))


def test_cross_entropy_of_mixed_labels():
    model = training.build_model(
        RunConfig(**TINY, method="erm", mixup=1.0), DATASETS["digits"]
    )
    soft = np.array([[0.25, 0.75, *[0] * 8]], "float32")
    logits = np.array([[1.0, 3.0, *[0] * 8]], "float32")
    log_p = logits - np.log(np.exp(logits).sum())
    assert float(model.loss(soft, logits)) == pytest.approx(-(soft * log_p).sum())
    assert model.loss.reduction == "sum_over_batch_size"


def test_class_weights_are_the_configs():
    config = RunConfig(**TINY, effective_number_beta=0.99)
    counts = config.class_counts
    expected = class_weights.effective_number(counts, beta=0.99)
    np.testing.assert_allclose(config.class_weights, expected)
    config = dataclasses.replace(config, class_weighting="inverse_frequency")
    expected = class_weights.inverse_frequency(counts)
    np.testing.assert_allclose(config.class_weights, expected)


def test_schedule_is_the_configs():
    config = RunConfig(
        **TINY, epochs=20, learning_rate=0.4, warmup_epochs=2, method="ldam_drw"
    )
    rate, reweighting = training.schedule(config)
    rates = [rate.schedule(epoch) for epoch in range(20)]
    np.testing.assert_allclose(rates[:3], [0.2, 0.4, 0.4])
    np.testing.assert_allclose(rates[15:19], [0.4, 0.004, 0.004, 0.00004])
    assert reweighting.start_epoch == 16
    np.testing.assert_allclose(reweighting.class_weights, config.class_weights)
    for method in ("ldam", "cb_rw", "cb_rs"):
        other = dataclasses.replace(config, method=method)
        assert len(training.schedule(other)) == 1


def test_order_is_the_seeds():
    labels = np.arange(10).repeat(20)
    orders = [
        training.build_order(
            RunConfig(**TINY, seed=seed), labels, DATASETS["digits"]
        ).order(0)
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], orders[2])


@pytest.mark.parametrize(("is_terminal", "expected"), [(True, 1), (False, 2)])
def test_progress_bars_only_at_a_terminal(monkeypatch, is_terminal, expected):
    monkeypatch.setattr(training.sys.stdout, "isatty", lambda: is_terminal)
    assert training.verbosity() == expected


@pytest.mark.parametrize(
    ("batch_size", "steps", "at_once"), [(32, 14, 14), (8, 53, 1), (4, 105, 15)]
)
def test_on_a_gpu_the_largest_divisor_of_an_epoch_is_taken_at_once(
    batch_size, steps, at_once, monkeypatch
):
    config = RunConfig(**TINY | dict(batch_size=batch_size))
    assert config.steps_per_epoch == steps
    if keras.backend.backend() == "torch":
        at_once = 1
    for has_gpu, expected in ((True, at_once), (False, 1)):
        monkeypatch.setattr(environment, "has_accelerator", lambda has=has_gpu: has)
        model = training.build_model(config, DATASETS["digits"])
        assert model.steps_per_execution == expected


def test_a_given_number_of_steps_is_taken_at_once():
    config = RunConfig(**TINY, steps_per_execution=7)
    assert config.identity() == RunConfig(**TINY).identity()
    if keras.backend.backend() != "torch":
        model = training.build_model(config, DATASETS["digits"])
        assert model.steps_per_execution == 7
    with pytest.raises(ValueError, match="7: be one of 1, 7. .*ution=4$"):
        RunConfig(**TINY, steps_per_execution=4)
    with pytest.raises(ValueError, match="must be 1 on torch.*execution=7$"):
        RunConfig(**TINY, steps_per_execution=7, backend="torch")


@pytest.fixture
def seen(monkeypatch):
    """What a run trains on: labels [epochs, N], weights of the loss at each step."""
    seen = {"labels": [], "weights": []}
    fit, fit_data = checkpoints.fit, checkpoints.fit_data

    class Watch(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            seen["weights"].append([])

        def on_train_batch_end(self, batch, logs=None):
            if isinstance(self.model.loss, losses.ClassWeighted):
                seen["weights"][-1].append(self.model.loss.class_weights.copy())

    def watched_fit(*arguments, callbacks, **options):
        return fit(*arguments, callbacks=[*callbacks, Watch()], **options)

    def watched_data(images, labels, order, epochs, *first):
        # Batches are a function of these: a second look at them is the same.
        batches = fit_data(images, labels, order, epochs, *first)
        drawn = [keras.ops.convert_to_numpy(part) for _, part in batches]
        seen["labels"] = np.concatenate(drawn).reshape(epochs, len(labels))
        return fit_data(images, labels, order, epochs, *first)

    monkeypatch.setattr(checkpoints, "fit", watched_fit)
    monkeypatch.setattr(checkpoints, "fit_data", watched_data)
    return seen


@pytest.mark.parametrize(
    ("name", "resampled_from", "reweighted_from"),
    [("cb_rs", 0, 3), ("hg_drs", 2, 3), ("mm_drw", 3, 2)],
)
def test_a_run_trains_with_them(name, resampled_from, reweighted_from, tmp_path, seen):
    given = dict(TINY, epochs=3, reweight_epoch=2, output_dir=str(tmp_path / "run"))
    config = RunConfig(**given, method=name)
    run(config)
    counts = config.class_counts
    drawn = np.array([np.bincount(each, minlength=10) for each in seen["labels"]])
    assert drawn.shape == (3, 10)
    before = drawn[:resampled_from]
    np.testing.assert_array_equal(before, np.broadcast_to(counts, before.shape))
    # Effective numbers of so few images are nearly the inverse frequency.
    assert np.all(drawn[resampled_from:] > 3 * counts.min())
    if reweighted_from == 3:
        assert not any(seen["weights"])
        return
    weights = np.array(seen["weights"])
    assert weights.shape == (3, config.steps_per_epoch, 10)
    np.testing.assert_array_equal(weights[:2], np.ones_like(weights[:2]))
    expected = class_weights.effective_number(counts, beta=0.9999)
    np.testing.assert_allclose(
        weights[2], np.broadcast_to(expected, weights[2].shape), rtol=1e-5
    )
