"""Runs whose errors are on a hold-out, not on the test images."""

import csv
import dataclasses

import numpy as np
import pytest
from helpers import TINY

from mm_tf.data import imbalanced, load, split_holdout
from mm_tf.experiments import report
from mm_tf.experiments.run import RunConfig, run
from mm_tf.experiments.runs.data import read


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return RunConfig(
        **TINY,
        epochs=1,
        holdout=0.2,
        output_dir=str(tmp_path_factory.mktemp("holdout") / "run"),
    )


@pytest.fixture(scope="module")
def result(config):
    return run(config)


def test_the_hold_out_is_what_was_predicted(config, result):
    subset = imbalanced(load("digits"), config.drawn_class_counts, config.subset_seed)
    train, held_out = split_holdout(subset.train_labels, 0.2, config.subset_seed)
    with np.load(config.run_folder / "predictions.npz") as file:
        labels = file["labels"]
    np.testing.assert_array_equal(labels, subset.train_labels[held_out])
    trained = np.bincount(subset.train_labels[train])
    assert result.class_counts == trained.tolist() == config.class_counts.tolist()
    assert result.evaluated_counts == np.bincount(labels).tolist()
    assert len(labels) + sum(result.class_counts) == config.drawn_class_counts.sum()


def test_all_files_name_the_hold_out(config, result, tmp_path, coarse_pictures):
    assert result.evaluated_on == "holdout"
    with (config.run_folder / "history.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["holdout_balanced_error"]) == result.balanced_error
    assert not [name for name in row if name.startswith("test_")]
    assert "--holdout=0.2\n" in (config.run_folder / "flags.txt").read_text()
    (difference,) = [d for d in result.protocol_differences if "hold-out" in d]
    assert difference.startswith("errors on a hold-out")
    text = report.write_report([config.run_folder], tmp_path / "page").read_text()
    assert "Errors on the hold-out images, in %" in text
    assert "Hold-out images of" in text  # The gallery has the right images.
    # Only what describes the data set.
    assert text.count("test images") == 1 and "test error" not in text


def test_the_same_hold_out_for_all_trials_of_a_search(config):
    def held_out(data=None, **changes):
        return read(dataclasses.replace(config, **changes), data)[1].test_images

    expected = held_out()
    others = dict(method="erm", seed=3, beta=1.1, batch_size=8)
    np.testing.assert_array_equal(held_out(**others), expected)
    assert not np.array_equal(held_out(subset_seed=1), expected)
    # The test images have no part in it.
    drawn = imbalanced(load("digits"), config.drawn_class_counts, config.subset_seed)
    spoiled = dataclasses.replace(drawn, test_images=drawn.test_images * 0)
    np.testing.assert_array_equal(held_out(spoiled), expected)
