"""The files of a finished run, read with care: nothing in a stranger's run executes."""

import pathlib

import numpy as np
from absl import flags

import mm_tf
from mm_tf import _files
from mm_tf._text import first_line
from mm_tf.experiments.config import flags as config_flags
from mm_tf.experiments.runs.result import RESULT, RunResult

FLAGS = "flags.txt"
HISTORY = "history.csv"
MODEL = "model.keras"
PER_CLASS = "per_class_error.csv"
PREDICTIONS = "predictions.npz"


def read_result(run):
    """Reads the result of a finished run."""
    run = pathlib.Path(run)
    if not (run / RESULT).is_file():
        hint = " It has not finished." if (run / FLAGS).is_file() else ""
        below = runs_below(run)
        if below:
            hint = f" Runs below it: {', '.join(map(str, below))}."
        raise ValueError(
            f"`run` must be the folder of a finished run, with its {RESULT}.{hint} "
            f"Received: {run}"
        )
    return RunResult.read(run)


def runs_below(folder):
    """The finished runs below a folder: <setting>/<method>/seed<seed>, or a part."""
    found = (folder.glob(f"{'*/' * depth}{RESULT}") for depth in (1, 2, 3))
    return sorted(path.parent for paths in found for path in paths)


def read_config(run):
    """Reads the config of a run from its flags."""
    try:
        text = _files.read_text(pathlib.Path(run) / FLAGS, _files.MOST_BYTES_OF_FLAGS)
        lines = text.splitlines()
        has_result = (pathlib.Path(run) / RESULT).is_file()
        method = RunResult.read(run).row if has_result else None
        return config_flags.from_lines(lines, method)
    except (OSError, ValueError, flags.Error) as error:
        raise _unreadable(
            run, FLAGS, getattr(error, "strerror", None) or error
        ) from None


def _read_arrays(run, num_images, num_classes):
    """Reads labels, predictions and outputs, at most 8 bytes a number."""
    most_bytes = 2**16 + 8 * num_images * (num_classes + 2)
    path = pathlib.Path(run) / PREDICTIONS
    return _files.read_arrays(path, min(most_bytes, _files.MOST_BYTES_OF_ARRAYS))


def read_predictions(run, num_images, num_classes):
    """Reads label and predicted class of each test or hold-out image of a run."""
    arrays = _read_arrays(run, num_images, num_classes)
    if not {"labels", "predictions"} <= arrays.keys():
        raise ValueError("it has no labels, or no predictions")
    labels, predictions = arrays["labels"], arrays["predictions"]
    for values in (labels, predictions):
        if values.ndim != 1 or values.dtype.kind not in "iu" or not values.size:
            raise ValueError("its arrays are not lists of classes")
        if values.min() < 0 or values.max() >= num_classes:
            raise ValueError(f"it has classes outside 0 to {num_classes - 1}")
    if len(labels) != len(predictions):
        raise ValueError("it has fewer or more predictions than labels")
    return labels.astype("int64"), predictions.astype("int64")


def read_outputs(run, num_images, num_classes):
    """Reads the outputs of the model for each test or hold-out image, [N, K]."""
    outputs = _read_arrays(run, num_images, num_classes).get("outputs")
    if outputs is None:
        raise ValueError("the run saved no outputs: it is older than 0.2.0")
    if outputs.dtype.kind != "f" or outputs.shape != (num_images, num_classes):
        raise ValueError("its outputs are not numbers for each image and class")
    if not np.isfinite(outputs).all():
        raise ValueError("its outputs are not finite")
    return outputs.astype("float64")


def load_model(run):
    """Loads the model of a finished run."""
    try:
        path = pathlib.Path(run) / MODEL
        _files.check_regular(path)
        return mm_tf.load_model(path, compile=False)
    # Keras and HDF5 fail in many ways on a damaged file.
    except Exception as error:
        raise _unreadable(run, MODEL, first_line(error)) from None


def _unreadable(run, name, reason):
    return ValueError(
        f"`run` must hold a {name} that can be read ({reason}). Received: {run}"
    )
