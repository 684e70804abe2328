"""Runs on real digits: each method, what is kept, what it repeats."""

import csv
import dataclasses
import json

import keras
import numpy as np
import pytest
from flag_parsing import parse
from made_up import RUN_FILES

from mm_tf import checkpoints, class_weights, layers, losses
from mm_tf.data import DATASETS, imbalanced, load
from mm_tf.experiments.paper.methods import METHODS
from mm_tf.experiments.run import RunConfig, run
from mm_tf.experiments.runs import training
from mm_tf.experiments.runs.result import RunResult

TINY = dict(model="resnet8", imbalance_ratio=20.0, batch_size=64)


def tiny(folder, **arguments):
    return RunConfig(**{**TINY, "output_dir": str(folder), "epochs": 2, **arguments})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "mine"
    config = tiny(folder, method="mm_ldam_drw", warmup_epochs=0, reweight_epoch=1)
    return config, run(config)


def test_leaves_what_is_promised(finished):
    config, result = finished
    names = {path.name for path in config.run_folder.iterdir()}
    assert names == RUN_FILES
    assert RunResult.read(config.run_folder) == result
    backend = keras.backend.backend()
    assert result.flags == {**config.identity(), "backend": backend}


def test_result_agrees_with_what_was_predicted(finished):
    config, result = finished
    with np.load(config.run_folder / "predictions.npz") as file:
        labels, predictions = file["labels"], file["predictions"]
    wrong = labels != predictions
    assert result.top1_error == pytest.approx(100 * wrong.mean())
    by_class = [100 * wrong[labels == j].mean() for j in range(10)]
    np.testing.assert_allclose(result.per_class_error, by_class)
    assert result.balanced_error == pytest.approx(np.mean(by_class))
    counts = np.array(result.class_counts)
    for group, classes in {
        "many": counts > 100,
        "medium": (counts >= 20) & (counts <= 100),
        "few": counts < 20,
    }.items():
        error = getattr(result, f"{group}_shot_error")
        assert error == pytest.approx(np.mean(np.array(by_class)[classes]))
    assert result.images_per_second > 0
    assert result.backend == keras.backend.backend()


def test_history_and_per_class_errors_have_a_row_an_epoch(finished):
    config, result = finished
    with (config.run_folder / "history.csv").open() as file:
        history = list(csv.DictReader(file))
    errors = [float(row["test_top1_error"]) for row in history]
    assert errors[-1] == result.top1_error
    assert result.best_top1_error == min(errors)
    assert errors[result.best_epoch] == min(errors)
    seconds = [417 / float(row["images_per_second"]) for row in history]
    assert result.training_seconds == pytest.approx(sum(seconds))
    rates = [float(row["learning_rate"]) for row in history]
    np.testing.assert_allclose(rates, [0.1, 0.1])
    assert [row["epoch"] for row in history] == ["0", "1"]
    with (config.run_folder / "per_class_error.csv").open() as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["epoch", *result.class_names]
    np.testing.assert_allclose(
        [float(error) for error in rows[-1][1:]], result.per_class_error, rtol=1e-3
    )


def test_kept_model_takes_raw_pixels_and_gives_the_same_answers(finished):
    config, _ = finished
    model = keras.saving.load_model(config.run_folder / "model.keras")
    images = load("digits").test_images
    assert images.dtype == np.uint8
    with np.load(config.run_folder / "predictions.npz") as file:
        expected = file["predictions"]
    predicted = model.predict(images, batch_size=500, verbose=0).argmax(axis=1)
    np.testing.assert_array_equal(predicted, expected)


def test_same_flags_are_not_run_again_and_other_flags_are_refused(finished):
    config, result = finished
    assert run(config) == result
    other = tiny(config.run_folder, method="erm")
    with pytest.raises(
        ValueError, match="--method=mm_ldam_drw.* there; --method=erm.* here"
    ):
        run(other)
    assert RunResult.read(config.run_folder) == result


def test_the_same_run_with_numbers_of_other_types_is_the_same(finished):
    config, result = finished
    other = dataclasses.replace(
        config, imbalance_ratio=20, seed=np.int64(0), epochs=np.int32(2)
    )
    assert other == config
    assert run(other) == result


def test_flags_name_the_backend_and_repeat_the_run(finished):
    config, result = finished
    backend = f"--backend={keras.backend.backend()}"
    assert backend in (config.run_folder / "flags.txt").read_text().splitlines()
    repeated = parse(
        f"--flagfile={config.run_folder / 'flags.txt'}",
        f"--output_dir={config.run_folder}",
    )
    assert run(repeated) == result


def test_another_seed_is_another_run(tmp_path):
    def loss_of(seed):
        config = tiny(tmp_path / str(seed), method="mm", seed=seed, epochs=1)
        run(config)
        with (config.run_folder / "history.csv").open() as file:
            return float(next(csv.DictReader(file))["loss"])

    assert loss_of(1) != pytest.approx(loss_of(2), rel=1e-3)


def test_a_failed_run_leaves_nothing(tmp_path):
    config = tiny(tmp_path / "run", backend=_other_backend())
    with pytest.raises(ValueError, match="`backend` must be the one"):
        run(config)
    assert list(tmp_path.iterdir()) == []


def _other_backend():
    return "jax" if keras.backend.backend() != "jax" else "tensorflow"


@pytest.mark.parametrize("name", METHODS)
def test_each_method_trains(name, tmp_path):
    config = tiny(tmp_path / "run", method=name, epochs=1, reweight_epoch=0)
    result = run(config)
    assert 0 <= result.top1_error <= 100
    assert json.loads((tmp_path / "run" / "result.json").read_text())["method"] == name


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
            expected = training.weights_of_classes(config)
        np.testing.assert_allclose(loss.class_weights, expected, rtol=1e-6)
        loss = loss.loss
    assert type(loss) is LOSSES[name]
    margin_loss = any(part in name for part in ("mm", "ldam", "hg", "m_drw"))
    outputs = model.predict(np.full((2, 8, 8, 1), 200, "uint8"), verbose=0)
    head = type(model.get_layer("head")).__name__
    assert head == ("NormalizedDense" if margin_loss else "Dense")
    assert outputs.shape == (2, 10)
    if isinstance(loss, losses.Hinge):
        counts = list(config.class_counts) if name == "ldam_hg_drs" else None
        assert loss.class_counts == counts
    if "mm" in name:
        assert (loss.delta, loss.beta, loss.scale) == (0.7, 1.2, 12.0)
        counts = list(config.class_counts) if name == "mm_ldam_drw" else None
        assert loss.class_counts == counts


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


@pytest.mark.parametrize("weighting", ["effective_number", "inverse_frequency"])
def test_class_weights_are_the_configs(weighting):
    config = RunConfig(**TINY, class_weighting=weighting, effective_number_beta=0.99)
    counts = config.class_counts
    expected = {
        "effective_number": class_weights.effective_number(counts, beta=0.99),
        "inverse_frequency": class_weights.inverse_frequency(counts),
    }[weighting]
    np.testing.assert_allclose(training.weights_of_classes(config), expected)


def test_schedule_is_the_configs():
    config = RunConfig(
        **TINY, epochs=20, learning_rate=0.4, warmup_epochs=2, method="ldam_drw"
    )
    rate, reweighting = training.schedule(config)
    rates = [rate.schedule(epoch) for epoch in range(20)]
    np.testing.assert_allclose(rates[:3], [0.2, 0.4, 0.4])
    np.testing.assert_allclose(rates[15:19], [0.4, 0.004, 0.004, 0.00004])
    assert reweighting.start_epoch == 16
    np.testing.assert_allclose(
        reweighting.class_weights, training.weights_of_classes(config)
    )
    for method in ("ldam", "cb_rw", "cb_rs"):
        other = dataclasses.replace(config, method=method)
        assert len(training.schedule(other)) == 1


def test_order_is_the_seeds():
    labels = np.arange(10).repeat(20)
    orders = [
        training.build_order(RunConfig(**TINY, seed=seed), labels).order(0)
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[0], orders[2])


@pytest.mark.parametrize(("is_terminal", "expected"), [(True, 1), (False, 2)])
def test_progress_bars_at_a_terminal_alone(monkeypatch, is_terminal, expected):
    monkeypatch.setattr(training.sys.stdout, "isatty", lambda: is_terminal)
    assert training.verbosity() == expected


def test_subset_seed_draws_another_subset(monkeypatch, tmp_path):
    drawn = []

    class Enough(Exception):
        pass

    def remember(config, data, *_):
        drawn.append(data.train_images)
        raise Enough

    monkeypatch.setattr(training, "train", remember)
    for subset_seed in (0, 0, 1):
        with pytest.raises(Enough):
            run(tiny(tmp_path / "run", subset_seed=subset_seed))
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    expected = imbalanced(load("digits"), tiny(tmp_path).class_counts, seed=1)
    np.testing.assert_array_equal(drawn[2], expected.train_images)


def test_subset_is_the_same_for_all_seeds():
    data = load("digits")
    counts = RunConfig(**TINY).class_counts
    subset = imbalanced(data, counts, seed=0)
    np.testing.assert_array_equal(np.bincount(subset.train_labels), counts)


@pytest.mark.parametrize(
    ("name", "first"), [("cb_rs", 0), ("hg_drs", 3), ("ldam_hg_drs", 3)]
)
def test_resampling_changes_what_is_drawn_from_its_epoch_on(name, first):
    config = RunConfig(**TINY, method=name, epochs=5, reweight_epoch=3)
    labels = np.repeat(np.arange(10), config.class_counts)
    order = training.build_order(config, labels)
    rarest = config.class_counts.min()
    for epoch in range(5):
        drawn = np.bincount(labels[order.order(epoch)], minlength=10)
        if epoch < first:
            np.testing.assert_array_equal(drawn, config.class_counts)
        else:
            # Effective numbers of so few images are nearly the inverse frequency.
            assert drawn.min() > 3 * rarest
            assert drawn.sum() == len(labels)


def test_other_methods_never_resample():
    for name in set(METHODS) - {"cb_rs", "hg_drs", "ldam_hg_drs"}:
        config = RunConfig(**TINY, method=name, epochs=2, reweight_epoch=0)
        order = training.build_order(config, np.repeat(np.arange(10), 5))
        assert order.resample_from is None


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


@pytest.mark.parametrize(("name", "first"), [("cb_rs", 0), ("hg_drs", 2)])
def test_a_run_trains_on_resampled_images(name, first, tmp_path, seen):
    config = tiny(tmp_path / "run", method=name, epochs=3, reweight_epoch=2)
    run(config)
    counts = config.class_counts
    drawn = np.array([np.bincount(each, minlength=10) for each in seen["labels"]])
    assert drawn.shape == (3, 10)
    np.testing.assert_array_equal(drawn[:first], np.tile(counts, (first, 1)))
    assert drawn[first:].min() > 3 * counts.min()
    assert not any(seen["weights"])


def test_a_run_trains_with_deferred_weights(tmp_path, seen):
    config = tiny(tmp_path / "run", method="mm_drw", epochs=3, reweight_epoch=2)
    run(config)
    steps = -(-config.class_counts.sum() // config.batch_size)
    weights = np.array(seen["weights"])
    assert weights.shape == (3, steps, 10)
    np.testing.assert_array_equal(weights[:2], np.ones((2, steps, 10)))
    expected = class_weights.effective_number(config.class_counts, beta=0.9999)
    np.testing.assert_allclose(weights[2], np.tile(expected, (steps, 1)), rtol=1e-5)
    for labels in seen["labels"]:
        np.testing.assert_array_equal(np.bincount(labels), config.class_counts)
