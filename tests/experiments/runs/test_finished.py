"""What is read of finished runs: one that version 0.1.0 made, and made-up files."""

import shutil

import numpy as np
import pytest
from flag_parsing import parse
from helpers import OLD_RUN, python

from mm_tf.data import load
from mm_tf.experiments.run import run
from mm_tf.experiments.runs import finished


@pytest.fixture
def old_run(tmp_path):
    """A copy, of which nothing may be changed by reading it."""
    folder = tmp_path / "run"
    shutil.copytree(OLD_RUN, folder)
    yield folder
    for path in OLD_RUN.iterdir():
        assert (folder / path.name).read_bytes() == path.read_bytes()
    assert len(list(folder.iterdir())) == len(list(OLD_RUN.iterdir()))


def test_a_run_of_version_0_1_0_is_read(old_run):
    result = finished.read_result(old_run)
    assert result.versions["mm_tf"] == "0.1.0"
    assert result.method == "mm_ldam_drw" and result.seed == 1
    config = finished.read_config(old_run)
    assert config.class_counts.tolist() == result.class_counts
    labels, predictions = finished.read_predictions(old_run, 500, 10)
    assert 100 * np.mean(labels != predictions) == pytest.approx(result.top1_error)
    assert labels.dtype == predictions.dtype == "int64"
    assert np.bincount(labels).tolist() == result.evaluated_counts


def test_its_model_gives_the_same_answers(old_run):
    model = finished.load_model(old_run)
    data = load("digits")
    labels, predictions = finished.read_predictions(old_run, 500, 10)
    np.testing.assert_array_equal(labels, data.test_labels)
    outputs = model.predict(data.test_images, batch_size=500, verbose=0)
    # Rounding differs between machines and backends.
    assert np.sum(outputs.argmax(axis=1) == predictions) >= 498


def test_its_model_opens_in_a_fresh_process(old_run):
    script = (
        "import keras, mm_tf.layers, mm_tf.losses, sys;"
        "print(keras.saving.load_model(sys.argv[1]).output_shape)"
    )
    done = python("-c", script, old_run / "model.keras")
    assert done.stdout.strip().endswith("(None, 10)"), done.stderr


def test_its_flags_find_it_and_train_nothing(old_run):
    found = run(parse(f"--flagfile={old_run / 'flags.txt'}", f"--output_dir={old_run}"))
    assert found == finished.read_result(old_run)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (dict(labels=[0, 1]), "it has no labels, or no predictions"),
        (dict(labels=[0.5], predictions=[0]), "not lists of classes"),
        (dict(labels=[[0]], predictions=[[0]]), "not lists of classes"),
        (dict(labels=np.int64([]), predictions=np.int64([])), "not lists of classes"),
        (dict(labels=[3], predictions=[0]), "classes outside 0 to 2"),
        (dict(labels=[0], predictions=[-1]), "classes outside 0 to 2"),
        (dict(labels=[0, 1], predictions=[0]), "fewer or more predictions than labels"),
    ],
)
def test_predictions_that_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "predictions.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        finished.read_predictions(tmp_path, 2, 3)


@pytest.mark.parametrize("name", ["model.keras", "flags.txt"])
def test_files_that_cannot_be_read_are_named(name, tmp_path):
    (tmp_path / name).write_bytes(b"PK\3\4 \xff")
    read = finished.load_model if name == "model.keras" else finished.read_config
    with pytest.raises(ValueError, match=f"`run` must hold a {name} that can be read"):
        read(tmp_path)
