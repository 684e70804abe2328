"""Runs on real digits: each method, what is kept, what it repeats."""

import csv
import json

import keras
import numpy as np
import pytest

from mm_tf import losses
from mm_tf.data import DATASETS, imbalanced, load
from mm_tf.experiments import training
from mm_tf.experiments.methods import METHODS
from mm_tf.experiments.results import RunResult
from mm_tf.experiments.run import RunConfig, run

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
    assert names == {
        "flags.txt",
        "history.csv",
        "model.keras",
        "per_class_error.csv",
        "predictions.npz",
        "result.json",
    }
    assert not config.run_folder.with_name("mine.incomplete").exists()
    assert RunResult.read(config.run_folder) == result


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
    assert result.best_top1_error <= result.top1_error
    assert result.images_per_second > 0
    assert result.backend == keras.backend.backend()


def test_history_and_per_class_errors_have_a_row_an_epoch(finished):
    config, result = finished
    with (config.run_folder / "history.csv").open() as file:
        history = list(csv.DictReader(file))
    assert [float(row["test_top1_error"]) for row in history][-1] == result.top1_error
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
    with pytest.raises(ValueError, match="another run.*--method=mm_ldam_drw"):
        run(other)
    assert RunResult.read(config.run_folder) == result


def test_overwrite_replaces_a_run(tmp_path):
    config = tiny(tmp_path / "run", method="erm", epochs=1)
    run(config)
    other = tiny(tmp_path / "run", method="focal", epochs=1, overwrite=True)
    assert run(other).method == "focal"
    assert RunResult.read(tmp_path / "run").method == "focal"
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_same_flags_find_the_same_and_another_seed_does_not(tmp_path):
    def losses_of(name, **arguments):
        config = tiny(tmp_path / name, method="mm", **arguments)
        run(config)
        with (config.run_folder / "history.csv").open() as file:
            return [float(row["loss"]) for row in csv.DictReader(file)]

    once = losses_of("once", seed=1)
    np.testing.assert_allclose(losses_of("again", seed=1), once, rtol=1e-3)
    assert not np.allclose(losses_of("other", seed=2), once, rtol=1e-3)


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
    assert is_weighted == ("drw" in name or name.startswith("cb_"))
    if is_weighted:
        expected = np.ones(10)
        if name.startswith("cb_"):
            expected = training.weights_of_classes(config)
        np.testing.assert_allclose(loss.class_weights, expected, rtol=1e-6)
        loss = loss.loss
    assert type(loss) is LOSSES[name]
    margin_loss = "mm" in name or "ldam" in name
    outputs = model.predict(np.full((2, 8, 8, 1), 200, "uint8"), verbose=0)
    head = type(model.get_layer("head")).__name__
    assert head == ("NormalizedDense" if margin_loss else "Dense")
    assert outputs.shape == (2, 10)
    if "mm" in name:
        assert (loss.delta, loss.beta, loss.scale) == (0.7, 1.2, 12.0)
        counts = list(config.class_counts) if name == "mm_ldam_drw" else None
        assert loss.class_counts == counts


def test_subset_is_the_same_for_all_seeds():
    data = load("digits")
    counts = RunConfig(**TINY).class_counts
    subset = imbalanced(data, counts, seed=0)
    np.testing.assert_array_equal(np.bincount(subset.train_labels), counts)
