"""What is read of a finished run."""

import pathlib

import numpy as np
from absl import flags

from mm_tf import _files
from mm_tf.experiments.config import flags as config_flags
from mm_tf.experiments.runs.folder import FLAGS, MODEL, PREDICTIONS
from mm_tf.experiments.runs.result import RESULT, RunResult


def read_result(run):
    """Reads the result of a finished run."""
    run = pathlib.Path(run)
    if not (run / RESULT).is_file():
        stopped = " It has not finished." if (run / FLAGS).is_file() else ""
        raise ValueError(
            f"`run` must be the folder of a finished run, with its {RESULT}.{stopped} "
            f"Received: {run}"
        )
    return RunResult.read(run)


def read_config(run):
    """Reads the flags of a finished run."""
    path = pathlib.Path(run) / FLAGS
    try:
        text = _files.read_text(path, _files.MOST_BYTES_OF_FLAGS)
        return config_flags.from_lines([x for x in text.splitlines() if x.strip()])
    except (OSError, ValueError, flags.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(
            f"`run` must hold a {FLAGS} that can be read ({reason}). Received: {run}"
        ) from None


def read_predictions(run, num_classes):
    """Reads what a run took its test (or hold-out) images for."""
    arrays = _files.read_arrays(pathlib.Path(run) / PREDICTIONS)
    if not {"labels", "predictions"} <= arrays.keys():
        raise ValueError("it has no labels, or no predictions")
    labels, predictions = arrays["labels"], arrays["predictions"]
    for values in (labels, predictions):
        if values.ndim != 1 or values.dtype.kind not in "iu" or not values.size:
            raise ValueError("its arrays are no lists of classes")
        if values.min() < 0 or values.max() >= num_classes:
            raise ValueError(f"it has classes outside 0 to {num_classes - 1}")
    if len(labels) != len(predictions):
        raise ValueError("it has not as many predictions as labels")
    return labels.astype("int64"), predictions.astype("int64")


def evaluated_counts(run, result, labels=None):
    """Returns how many images of each class the errors of a run are on."""
    if result.evaluated_counts is not None:
        return result.evaluated_counts
    size = len(result.class_names)
    if labels is None:
        try:
            labels, _ = read_predictions(run, size)
        except (OSError, ValueError):
            return None
    return np.bincount(labels, minlength=size).tolist()


def load_model(run):
    """Loads the model of a finished run."""
    import keras

    import mm_tf  # noqa: F401  Keras then knows its classes.

    try:
        return keras.saving.load_model(pathlib.Path(run) / MODEL, compile=False)
    # Keras and HDF5 fail in many ways on a damaged file.
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"`run` must hold a {MODEL} that can be read ({reason}). Received: {run}"
        ) from None
