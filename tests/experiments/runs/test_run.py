"""A run on real digits: what it leaves, and that its files agree with each other."""

import csv
import dataclasses
import warnings

import keras
import numpy as np
import pytest
from flag_parsing import parse
from helpers import TINY
from made_up import RUN_FILES

from mm_tf._checks import ScheduleWarning
from mm_tf.data import load
from mm_tf.experiments.machine import environment
from mm_tf.experiments.run import RunConfig, run
from mm_tf.experiments.runs.result import RunResult


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    config = RunConfig(
        method="mm_ldam_drw",
        **TINY,
        epochs=2,
        warmup_epochs=0,
        reweight_epoch=1,
        output_dir=str(tmp_path_factory.mktemp("run") / "mine"),
    )
    with warnings.catch_warnings():
        # Two epochs come to no drop: the summary says so, and nothing else.
        warnings.simplefilter("error", ScheduleWarning)
        return config, run(config)


def test_leaves_what_is_promised(finished):
    config, result = finished
    assert {path.name for path in config.run_folder.iterdir()} == RUN_FILES
    assert RunResult.read(config.run_folder) == result
    backend = keras.backend.backend()
    assert result.flags == {**config.identity(), "backend": backend}
    assert (result.backend, result.device) == (backend, environment.device())
    assert result.versions == environment.versions()
    assert result.versions["keras"] == keras.__version__


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


def test_history_and_per_class_errors_have_a_row_an_epoch(finished):
    config, result = finished
    with (config.run_folder / "history.csv").open() as file:
        history = list(csv.DictReader(file))
    errors = [float(row["test_top1_error"]) for row in history]
    assert errors[-1] == result.top1_error
    assert result.best_top1_error == min(errors) == errors[result.best_epoch]
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


def test_its_model_takes_raw_pixels_and_gives_the_same_answers(finished):
    config, _ = finished
    model = keras.saving.load_model(config.run_folder / "model.keras")
    images = load("digits").test_images
    assert images.dtype == np.uint8
    with np.load(config.run_folder / "predictions.npz") as file:
        expected, saved = file["predictions"], file["outputs"]
    outputs = model.predict(images, batch_size=500, verbose=0)
    np.testing.assert_array_equal(outputs.argmax(axis=1), expected)
    assert saved.dtype == "float16"
    np.testing.assert_allclose(saved, outputs, atol=1e-3)


def test_numbers_of_other_types_and_its_flagfile_find_it(finished):
    config, result = finished
    flags = config.run_folder / "flags.txt"
    again = [
        dataclasses.replace(
            config, imbalance_ratio=20, seed=np.int64(0), epochs=np.int32(2)
        ),
        parse(f"--flagfile={flags}", f"--output_dir={config.run_folder}"),
    ]
    assert [run(each) for each in again] == [result, result]
    backend = f"--backend={keras.backend.backend()}"
    assert backend in flags.read_text().splitlines()


def test_another_backend_is_refused_and_leaves_nothing(tmp_path):
    other = "jax" if keras.backend.backend() != "jax" else "tensorflow"
    config = RunConfig(backend=other, output_dir=str(tmp_path / "run"))
    with pytest.raises(ValueError, match="`backend` must be the one"):
        run(config)
    assert list(tmp_path.iterdir()) == []
