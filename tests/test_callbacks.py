"""The callbacks, in one file: they share the small models that they train."""

import csv
import json
import pickle
import warnings

import keras
import numpy as np
import pytest

from mm_tf import callbacks, layers, losses, metrics, optimizers
from mm_tf.checkpoints import Checkpoints

WEIGHTS = np.array([0.5, 1.0, 1.5])


@pytest.fixture
def examples():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(12, 4)).astype("float32")
    return x, np.array([0] * 6 + [1] * 4 + [2] * 2)


def build(loss, jit_compile="auto"):
    initializer = keras.initializers.RandomNormal(seed=1)
    model = keras.Sequential(
        [keras.Input([4]), layers.NormalizedDense(3, kernel_initializer=initializer)]
    )
    model.compile(keras.optimizers.SGD(0.0), loss, jit_compile=jit_compile)
    return model


def loss_of(examples, weights):
    x, y = examples
    model = build(losses.ClassWeighted(losses.MaximumMargin(), 3, weights))
    return model.evaluate(x, y, verbose=0)


class Evaluated(keras.callbacks.Callback):
    """What a user evaluates between two epochs."""

    def __init__(self, x, y):
        super().__init__()
        self.x, self.y, self.losses = x, y, []

    def on_epoch_end(self, epoch, logs=None):
        self.losses.append(self.model.evaluate(self.x, self.y, verbose=0))


class TestDeferredReweighting:
    @pytest.mark.parametrize("jit_compile", [False, True])
    def test_acts_from_its_epoch_on_and_not_before(self, examples, jit_compile):
        if jit_compile and keras.backend.backend() == "torch":
            pytest.skip("torch.compile needs a C++ compiler, which users may not have")
        x, y = examples
        model = build(losses.ClassWeighted(losses.MaximumMargin(), 3), jit_compile)
        drw = callbacks.DeferredReweighting(WEIGHTS, start_epoch=3)
        log = Evaluated(x, y)
        history = model.fit(
            x,
            y,
            batch_size=12,
            epochs=5,
            validation_data=(x, y),
            callbacks=[drw, log],
            verbose=0,
        ).history
        # The learning rate is 0: only the weights change the loss.
        plain = loss_of(examples, None)
        weighted = loss_of(examples, WEIGHTS)
        assert plain != pytest.approx(weighted, rel=1e-3)
        expected = [plain] * 3 + [weighted] * 2
        np.testing.assert_allclose(history["loss"], expected, rtol=1e-5)
        # Comparable over the epochs, unlike an evaluation of the user's own.
        np.testing.assert_allclose(history["val_loss"], [plain] * 5, rtol=1e-5)
        np.testing.assert_allclose(log.losses, expected, rtol=1e-5)
        assert model.evaluate(x, y, verbose=0) == pytest.approx(weighted, rel=1e-5)
        unweighted = model.evaluate(x, y, callbacks=[drw], verbose=0)
        assert unweighted == pytest.approx(plain, rel=1e-5)

    def test_a_validation_that_is_interrupted_leaves_nothing_for_the_next_fit(
        self, examples
    ):
        class Interrupt(keras.callbacks.Callback):
            def on_test_batch_end(self, batch, logs=None):
                raise KeyboardInterrupt

        x, y = examples
        loss = losses.ClassWeighted(losses.MaximumMargin(), 3)
        model = build(loss)
        drw = callbacks.DeferredReweighting(WEIGHTS, start_epoch=0)
        arguments = dict(batch_size=12, validation_data=(x, y), verbose=0)
        with pytest.raises(KeyboardInterrupt):
            model.fit(x, y, callbacks=[drw, Interrupt()], **arguments)
        np.testing.assert_allclose(loss.class_weights, WEIGHTS)
        history = model.fit(x, y, callbacks=[drw], **arguments).history
        weighted = pytest.approx(loss_of(examples, WEIGHTS), rel=1e-5)
        assert history["loss"][0] == weighted
        assert history["val_loss"][0] == pytest.approx(loss_of(examples, None))
        assert model.evaluate(x, y, verbose=0) == weighted

    def test_each_of_two_heads_has_its_own_weights(self, examples):
        x, y = examples
        inputs = keras.Input([4])
        model = keras.Model(
            inputs,
            {
                "three": layers.NormalizedDense(3, name="three")(inputs),
                "two": layers.NormalizedDense(2, name="two")(inputs),
            },
        )
        three = losses.ClassWeighted(losses.MaximumMargin(), 3)
        two = losses.ClassWeighted(losses.MaximumMargin(), 2)
        model.compile(optimizers.SGD(0.0), {"three": three, "two": two})
        arguments = dict(
            x=x,
            y={"three": y, "two": y % 2},
            epochs=2,
            validation_data=(x, {"three": y, "two": y % 2}),
            verbose=0,
        )
        with pytest.raises(ValueError, match="`loss` must be given.*with 2 of them"):
            drw = callbacks.DeferredReweighting(WEIGHTS, start_epoch=1)
            model.fit(callbacks=[drw], **arguments)
        drws = [
            callbacks.DeferredReweighting(WEIGHTS, start_epoch=1, loss=three),
            callbacks.DeferredReweighting([0.5, 1.5], start_epoch=1, loss=two),
        ]
        history = model.fit(callbacks=drws, **arguments).history
        np.testing.assert_allclose(three.class_weights, WEIGHTS)
        np.testing.assert_allclose(two.class_weights, [0.5, 1.5])
        for name in ("three", "two"):
            before, after = history[f"{name}_loss"]
            assert before != pytest.approx(after, rel=1e-3)
            expected = [before, before]
            np.testing.assert_allclose(history[f"val_{name}_loss"], expected, 1e-5)

    def test_a_loss_that_the_model_was_not_compiled_with(self, examples):
        class Own(Subclassed):
            def compute_loss(self, x, y, y_pred, sample_weight=None, training=True):
                return loss(y, y_pred)

        loss = losses.ClassWeighted(losses.MaximumMargin(), 3)
        model = Own()
        model.compile(optimizers.SGD(0.0))
        drw = callbacks.DeferredReweighting(WEIGHTS, start_epoch=1, loss=loss)
        history = model.fit(
            *examples,
            epochs=2,
            validation_data=examples,
            callbacks=[drw],
            verbose=0,
        ).history
        before, after = history["loss"]
        assert before != pytest.approx(after, rel=1e-3)
        np.testing.assert_allclose(history["val_loss"], before, rtol=1e-5)
        with pytest.raises(ValueError, match="`loss` must be .*Received: loss='three'"):
            callbacks.DeferredReweighting(WEIGHTS, loss="three")

    def test_class_weight_of_fit_is_refused(self, examples):
        model = build(losses.ClassWeighted(losses.MaximumMargin(), 3))
        drw = callbacks.DeferredReweighting(WEIGHTS, start_epoch=0)
        with pytest.raises(
            ValueError, match="`class_weight` of `fit`.*Received: .*0.5"
        ):
            model.fit(*examples, class_weight={0: 0.5, 1: 1, 2: 2}, callbacks=[drw])

    def test_a_later_start_has_the_weights_and_an_early_one_loses_them(self, examples):
        x, y = examples
        model = build(losses.ClassWeighted(losses.MaximumMargin(), 3))
        drw = callbacks.DeferredReweighting(WEIGHTS, start_epoch=3)
        model.fit(x, y, initial_epoch=4, epochs=5, callbacks=[drw], verbose=0)
        np.testing.assert_allclose(model.loss.class_weights, WEIGHTS)
        model.fit(x, y, epochs=1, callbacks=[drw], verbose=0)
        np.testing.assert_array_equal(model.loss.class_weights, [1, 1, 1])

    def test_needs_a_class_weighted_loss(self, examples):
        x, y = examples
        drw = callbacks.DeferredReweighting(WEIGHTS, start_epoch=0)
        with pytest.raises(ValueError, match="ClassWeighted.*Received: loss="):
            build(losses.MaximumMargin()).fit(x, y, callbacks=[drw], verbose=0)

    def test_other_number_of_classes(self, examples):
        x, y = examples
        drw = callbacks.DeferredReweighting([1.0, 2.0], start_epoch=0)
        model = build(losses.ClassWeighted(losses.MaximumMargin(), 3))
        with pytest.raises(ValueError, match="`class_weights` must be 3 numbers"):
            model.fit(x, y, callbacks=[drw], verbose=0)


class TestWarmUpStepDecay:
    def test_papers_schedule(self):
        rates = [callbacks.warm_up_step_decay(epoch, 0.1) for epoch in range(200)]
        np.testing.assert_allclose(rates[:6], [0.02, 0.04, 0.06, 0.08, 0.1, 0.1])
        np.testing.assert_allclose(rates[5:160], 0.1)
        np.testing.assert_allclose(rates[160:180], 1e-3)
        np.testing.assert_allclose(rates[180:], 1e-5)

    def test_sets_the_optimizers_rate(self, examples):
        x, y = examples
        schedule = callbacks.WarmUpStepDecay(0.4, warmup_epochs=2, drops=[(3, 0.1)])
        model = build(losses.MaximumMargin())
        history = model.fit(x, y, epochs=4, callbacks=[schedule], verbose=0).history
        np.testing.assert_allclose(history["learning_rate"], [0.2, 0.4, 0.4, 0.04])


class TestTestError:
    def test_measures_what_the_model_predicts(self, examples, tmp_path):
        x, y = examples
        model = build(losses.MaximumMargin())
        test = callbacks.TestError(x, y, class_counts=[500, 50, 30], batch_size=5)
        log = keras.callbacks.CSVLogger(str(tmp_path / "history.csv"))
        history = model.fit(
            x, y, epochs=2, callbacks=[test, log], shuffle=False, verbose=0
        ).history
        predicted = model.predict(x, verbose=0).argmax(axis=1)
        errors = [100 * np.mean(predicted[y == j] != j) for j in range(3)]
        np.testing.assert_allclose(test.per_class_errors[-1], errors)
        np.testing.assert_array_equal(test.predictions, predicted)
        last = {name: values[-1] for name, values in history.items()}
        assert last["test_top1_error"] == pytest.approx(100 * np.mean(predicted != y))
        assert last["test_balanced_error"] == pytest.approx(np.mean(errors))
        assert last["test_many_shot_error"] == pytest.approx(errors[0])
        assert last["test_medium_shot_error"] == pytest.approx(np.mean(errors[1:]))
        assert "test_few_shot_error" not in last
        assert "test_top1_error" in (tmp_path / "history.csv").read_text()


def test_log_and_metrics_in_a_plain_fit(examples, tmp_path):
    x, y = examples
    model = build(losses.MaximumMargin())
    model.compile(
        "sgd",
        losses.MaximumMargin(),
        metrics=[
            metrics.BalancedAccuracy(3),
            metrics.ShotAccuracy([9, 50, 500], "few"),
        ],
    )
    log = callbacks.EpochLog(tmp_path / "log.csv")
    history = model.fit(
        x, y, epochs=2, validation_data=(x, y), callbacks=[log], verbose=0
    ).history
    assert {"loss", "balanced_accuracy", "val_few_shot_accuracy"} <= history.keys()
    for epoch, row in enumerate(log.rows):
        rate = pytest.approx(0.01)  # Keras's SGD; `EpochLog` adds it.
        logs = {k: v[epoch] for k, v in history.items()}
        assert row == {"epoch": epoch, "learning_rate": rate} | logs
    names, *rows = csv.reader((tmp_path / "log.csv").read_text().splitlines())
    assert [dict(zip(names, map(float, row), strict=True)) for row in rows] == log.rows
    guesses = model.predict(x, verbose=0).argmax(-1)
    recalls = [np.mean(guesses[y == j] == j) for j in range(3)]
    assert history["val_balanced_accuracy"][-1] == pytest.approx(np.mean(recalls))
    assert history["val_few_shot_accuracy"][-1] == pytest.approx(recalls[0])


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.backbone = keras.Sequential([keras.layers.Dense(4)])
        self.head = layers.NormalizedDense(3)

    def call(self, inputs):
        return self.head(self.backbone(inputs))


def test_a_subclassed_model_takes_every_callback_of_a_fit(examples):
    x, y = examples
    model = Subclassed()
    model(x[:1])
    loss = losses.ClassWeighted(losses.MaximumMargin(), 3)
    model.compile(optimizers.SGD(0.1), loss)
    log = callbacks.EpochLog()
    test = callbacks.TestError(x, y, [500, 50, 5])
    history = model.fit(
        x,
        y,
        epochs=2,
        callbacks=[
            callbacks.StopOnDivergence(),
            callbacks.DeferredReweighting(WEIGHTS, start_epoch=1),
            callbacks.WarmUpStepDecay(0.1, warmup_epochs=2),
            callbacks.FrozenBackbone(1),
            callbacks.Throughput(12),
            test,
            log,
        ],
        verbose=0,
    ).history
    np.testing.assert_allclose(loss.class_weights, WEIGHTS)
    np.testing.assert_allclose(history["learning_rate"], [0.05, 0.1])
    guesses = model.predict(x, verbose=0).argmax(-1)
    assert history["test_top1_error"][-1] == pytest.approx(100 * np.mean(guesses != y))
    assert len(history["images_per_second"]) == 2
    assert {k: [row[k] for row in log.rows] for k in history} == history


@pytest.mark.parametrize("in_dict", [True, False])
def test_a_second_output_keeps_its_own_loss(examples, in_dict):
    x, y = examples
    inputs = keras.Input([4])
    features = keras.Sequential([keras.Input([4]), keras.layers.Dense(4)])(inputs)
    outputs = {
        "size": keras.layers.Dense(1, name="size")(features),
        "classes": layers.NormalizedDense(3, name="classes")(features),
    }
    model = keras.Model(inputs, outputs if in_dict else list(outputs.values()))
    loss = losses.ClassWeighted(losses.MaximumMargin(), 3)
    parts = {"classes": loss, "size": "mse"}
    targets = {"classes": y, "size": x[:, 0]}
    if not in_dict:
        parts, targets = [parts[k] for k in outputs], [targets[k] for k in outputs]
    model.compile(optimizers.SGD(0.1), parts)
    test = callbacks.TestError(x, y, [500, 50, 5], output="classes")
    log = callbacks.EpochLog()
    watchers = [
        callbacks.StopOnDivergence(),
        callbacks.DeferredReweighting(WEIGHTS, start_epoch=1),
        callbacks.WarmUpStepDecay(0.1, warmup_epochs=2),
        callbacks.FrozenBackbone(1),
        callbacks.Throughput(12),
        test,
        log,
    ]
    model.fit(x, targets, epochs=2, callbacks=watchers, verbose=0)
    np.testing.assert_allclose(loss.class_weights, WEIGHTS)
    predicted = model.predict(x, verbose=0)
    guesses = predicted["classes"] if in_dict else predicted[1]
    np.testing.assert_array_equal(test.predictions, guesses.argmax(-1))
    for output in (None, "class"):
        test = callbacks.TestError(x, y, [500, 50, 5], output=output)
        with pytest.raises(ValueError, match="`output` must .*'classes'.*output="):
            model.fit(x, targets, callbacks=[test], verbose=0)
    for row in log.rows:
        parts = row["classes_loss"] + row["size_loss"]
        assert row["loss"] == pytest.approx(parts, rel=1e-5)


def test_throughput_leaves_out_the_epoch_that_compiles(examples):
    x, y = examples
    throughput = callbacks.Throughput(12)
    build(losses.MaximumMargin()).fit(x, y, epochs=3, callbacks=[throughput], verbose=0)
    assert len(throughput.seconds) == 3
    expected = 12 / np.median(throughput.seconds[1:])
    assert throughput.images_per_second == pytest.approx(expected)


@pytest.mark.parametrize(
    ("callback", "numbers"),
    [
        (callbacks.DeferredReweighting(WEIGHTS), "start_epoch.*160.*epochs=2"),
        (callbacks.DeferredReweighting(WEIGHTS, 2), "start_epoch.*epoch 2 .*epochs=2"),
        (callbacks.WarmUpStepDecay(0.1), "drops.*180.*epochs=2"),
        (callbacks.WarmUpStepDecay(0.1, 3, ()), "warmup_epochs.*epoch 2 .*epochs=2"),
    ],
)
def test_a_schedule_that_never_comes_is_warned_of(examples, callback, numbers):
    model = build(losses.ClassWeighted(losses.MaximumMargin(), 3))
    with pytest.warns(UserWarning, match=numbers):
        model.fit(*examples, epochs=2, callbacks=[callback], verbose=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        model.fit(
            *examples, initial_epoch=180, epochs=181, callbacks=[callback], verbose=0
        )


@pytest.mark.parametrize(
    "callback",
    [
        callbacks.DeferredReweighting(WEIGHTS),
        callbacks.EpochLog("history.csv"),
        callbacks.FrozenBackbone(1),
        callbacks.StopOnDivergence(),
        callbacks.TestError(np.eye(2), [0, 1], [5, 2]),
        callbacks.Throughput(10),
        callbacks.WarmUpStepDecay(0.1),
        Checkpoints("folder"),
    ],
    ids=lambda callback: type(callback).__name__,
)
def test_every_callback_pickles(callback):
    again = pickle.loads(pickle.dumps(callback))
    assert vars(again).keys() == vars(callback).keys()
    if isinstance(again, callbacks.WarmUpStepDecay):
        assert again.schedule(170) == callback.schedule(170)


class AccuracyOfEachClass(metrics.BalancedAccuracy):
    def result(self):
        return keras.ops.divide_no_nan(self._right, self._seen)


def test_epoch_log_takes_a_metric_that_is_a_vector_and_a_string(examples, tmp_path):
    class Note(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["note"] = "warm"

    model = build(losses.MaximumMargin())
    model.compile("sgd", losses.MaximumMargin(), metrics=[AccuracyOfEachClass(3)])
    log = callbacks.EpochLog(tmp_path / "history.csv")
    model.fit(*examples, epochs=2, callbacks=[Note(), log], verbose=0)
    assert len(log.rows[1]["balanced_accuracy"]) == 3
    assert log.rows[1]["note"] == "warm"
    assert json.loads(json.dumps(log.get_state()))["rows"] == log.rows
    with open(log.path, newline="") as lines:
        assert [row["note"] for row in csv.DictReader(lines)] == ["warm"] * 2
