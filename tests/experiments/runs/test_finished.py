"""What is read of finished runs, from files that are made up."""

import numpy as np
import pytest

from mm_tf.experiments.runs import finished


def keep(folder, **arrays):
    np.savez(folder / "predictions.npz", **arrays)


def test_predictions_are_read(tmp_path):
    keep(tmp_path, labels=np.uint16([0, 2, 2]), predictions=np.uint16([1, 2, 0]))
    labels, predictions = finished.read_predictions(tmp_path, 3)
    assert labels.tolist() == [0, 2, 2] and predictions.tolist() == [1, 2, 0]
    assert labels.dtype == predictions.dtype == "int64"


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (dict(labels=[0, 1]), "it has no labels, or no predictions"),
        (dict(labels=[0.5], predictions=[0]), "not lists of classes"),
        (dict(labels=[[0]], predictions=[[0]]), "not lists of classes"),
        (dict(labels=np.int64([]), predictions=np.int64([])), "not lists of classes"),
        (dict(labels=[3], predictions=[0]), "classes outside 0 to 2"),
        (dict(labels=[0], predictions=[-1]), "classes outside 0 to 2"),
        (dict(labels=[0, 1], predictions=[0]), "not as many predictions as labels"),
    ],
)
def test_predictions_that_are_refused(tmp_path, arrays, message):
    keep(tmp_path, **arrays)
    with pytest.raises(ValueError, match=message):
        finished.read_predictions(tmp_path, 3)
