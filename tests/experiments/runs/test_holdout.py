"""Runs whose errors are on a hold-out, not on the test images."""

import csv
import dataclasses

import numpy as np
import pytest

from mm_tf.data import imbalanced, load, split_holdout
from mm_tf.experiments import report
from mm_tf.experiments.run import RunConfig, run
from mm_tf.experiments.runs.data import read
from mm_tf.experiments.runs.folder import RunFolder


def config(folder, **arguments):
    values = dict(
        model="resnet8",
        imbalance_ratio=20.0,
        batch_size=64,
        epochs=1,
        holdout=0.2,
        output_dir=str(folder),
    )
    return RunConfig(**{**values, **arguments})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    one = config(tmp_path_factory.mktemp("holdout") / "run")
    return one, run(one)


def expected_images(one):
    subset = imbalanced(load("digits"), one.drawn_class_counts, one.subset_seed)
    train, held_out = split_holdout(subset.train_labels, 0.2, one.subset_seed)
    return subset, train, held_out


def test_the_hold_out_is_what_was_predicted(finished):
    one, result = finished
    subset, train, held_out = expected_images(one)
    with np.load(one.run_folder / "predictions.npz") as file:
        labels = file["labels"]
    np.testing.assert_array_equal(labels, subset.train_labels[held_out])
    trained = np.bincount(subset.train_labels[train])
    assert result.class_counts == trained.tolist() == one.class_counts.tolist()
    assert result.evaluated_on == "holdout"
    assert result.evaluated_counts == np.bincount(labels).tolist()
    assert len(labels) + sum(result.class_counts) == one.drawn_class_counts.sum()


def test_all_that_is_kept_names_the_hold_out(finished):
    one, result = finished
    with (one.run_folder / "history.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["holdout_balanced_error"]) == result.balanced_error
    assert not [name for name in row if name.startswith("test_")]
    assert "--holdout=0.2\n" in (one.run_folder / "flags.txt").read_text()
    (difference,) = [d for d in result.protocol_differences if "hold-out" in d]
    assert difference.startswith("errors on a hold-out")


def test_the_same_hold_out_for_all_trials_of_a_search(tmp_path):
    one = config(tmp_path)
    other = dataclasses.replace(one, method="erm", seed=3, beta=1.1, batch_size=8)
    np.testing.assert_array_equal(read(one)[1].test_images, read(other)[1].test_images)
    drawn_anew = dataclasses.replace(one, subset_seed=1)
    assert not np.array_equal(read(one)[1].test_images, read(drawn_anew)[1].test_images)


def test_a_run_with_a_hold_out_is_another_run(finished):
    one, _ = finished
    without = dataclasses.replace(one, holdout=0.0)
    with pytest.raises(ValueError, match="holds another run .--holdout=0.2 there"):
        RunFolder(without).finished_result()


def test_the_page_says_hold_out_everywhere(finished, tmp_path, coarse_pictures):
    one, _ = finished
    text = report.write_report([one.run_folder], tmp_path / "page").read_text()
    assert "Errors on the hold-out images, in %" in text
    assert "Hold-out error of each class" in text
    assert "Hold-out images of" in text  # The gallery has the right images.
    # In what is said of the data set alone.
    assert text.count("test images") == 1 and "test error" not in text


def test_runs_on_test_and_on_hold_out_images_are_not_one_page(finished, tmp_path):
    one, result = finished
    other = tmp_path / "other"
    other.mkdir()
    on_test = dataclasses.replace(result, evaluated_on="test")
    (other / "result.json").write_text(on_test.to_json())
    with pytest.raises(ValueError, match="Received: hold-out .*and test"):
        report.write_report([one.run_folder, other], tmp_path / "page")
