"""Exports a finished run: its model, with calibrated probabilities, in a folder."""

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np

from mm_tf import _files, calibration, data
from mm_tf._checks import check_bool, check_choice
from mm_tf._text import printable
from mm_tf.data import DatasetUnavailableError
from mm_tf.experiments.machine import environment
from mm_tf.experiments.runs import finished
from mm_tf.experiments.runs.data import read_again
from mm_tf.experiments.runs.probabilities import (
    check_prior,
    output_scale,
    prior_offset,
    probabilities,
)
from mm_tf.experiments.serving import formats

EXPORT = "export.json"
LABELS = "labels.txt"

# All that an export writes into its folder. A file of another name is a user's.
_WRITTEN = (EXPORT, LABELS, *formats.WRITTEN)


@dataclasses.dataclass(frozen=True)
class Export:
    """What was exported.

    Attributes:
        folder: Where it is.
        facts: The content of its `export.json`.
    """

    folder: pathlib.Path
    facts: dict[str, Any]


def export(
    run,
    format="saved_model",
    output=None,
    calibrate=None,
    prior=None,
    data_dir=None,
    overwrite=False,
):
    r"""Exports the model of a finished run, with a softmax behind it.

    $$ p_j = \operatorname{softmax}_j(s z_j / T + a_j) $$

    for its outputs z, the run's own scale s, a temperature T and an adjustment a to
    another prior of the classes. It is written in float32. Keras must run on
    TensorFlow for it, whatever the run was trained on.

    Args:
        run: The run's folder.
        format: `"saved_model"` for TensorFlow and TensorFlow Serving, `"onnx"` (needs
            the packages of the extra `export`) or `"tflite"`. Defaults to
            `"saved_model"`.
        output: The folder to write. Defaults to `None`, `export/FORMAT` in the run's.
        calibrate: Whether T is fitted on the run's hold-out (`--holdout` of the run);
            the test images are never used. `False` leaves T = 1. Defaults to `None`:
            only where the run has a hold-out.
        prior: How often each class occurs where the model is used: `"uniform"`,
            `"train"` (as in the training images), or K numbers > 0, of which only the
            proportions count (of a dict or Series at the keys 0 to K - 1), or the path
            of a CSV file with a line for each class, its name and a number. a is then
            log prior minus log of the prior that the outputs have: that of the training
            images, times the class weights of methods that weight or re-sample by them,
            as far as a margin does not bend it. T is fitted with the prior of the
            training images, which the hold-out has. Defaults to `None`, a = 0: the
            outputs as the method gives them.
        data_dir: Where the run's images are now, for the hold-out. Defaults to
            `None`, as in the run's flags.
        overwrite: Whether an earlier export at `output` may be replaced, if there is
            nothing else in that folder. Defaults to `False`.

    Returns:
        An `Export`.

    Raises:
        ValueError: An argument is not as described, `run` is no finished run or
            cannot be read, or the images are not those of the run.
        DatasetUnavailableError: The images of the hold-out are not there.
        OSError: The export cannot be written.

    Example:

    ```python
    from mm_tf.experiments.export import export

    exported = export("saved_models/.../seed0", "onnx", prior="uniform")
    print(exported.folder, exported.facts["temperature"])
    ```

    Source: Guo et al. 2017 for T, Menon et al. 2021 for a.
    """
    run = pathlib.Path(run).expanduser()
    result = finished.read_result(run)
    check_choice("format", format, formats.FORMATS)
    has_holdout = result.evaluated_on == "holdout"
    calibrate = check_bool("calibrate", has_holdout if calibrate is None else calibrate)
    check_bool("overwrite", overwrite)
    scale = output_scale(result)
    prior = None if prior is None else check_prior(prior, result)
    if calibrate and not has_holdout:
        raise ValueError(
            "`calibrate` needs a run with a hold-out (for example --holdout=0.2): the "
            "test images must choose nothing. Received: calibrate=True for a run "
            "without one"
        )
    config = finished.read_config(run) if calibrate else None
    folder = _check_output(output or run / "export" / format, overwrite)
    formats.check_installed(format)
    holdout = _read_holdout(config, result.class_names, data_dir) if calibrate else None
    model = formats.in_float32(finished.load_model(run))
    offset, train_offset = _offsets(prior, run, result)
    temperature, measured = 1.0, None
    if holdout is not None:
        temperature, measured = _calibrate(model, scale, train_offset, holdout)
    height, width, channels = model.input_shape[1:]
    missing = "the run has no hold-out (--holdout)"
    why_not = "switched off by --nocalibrate" if has_holdout else missing
    facts = {
        "format": format,
        "class_names": result.class_names,
        "outputs_are_multiplied_by": scale / temperature,
        "scale": scale,
        "temperature": temperature,
        "calibration": measured,
        "not_calibrated": None if calibrate else why_not,
        "prior": None if prior is None else prior.tolist(),
        "added_to_logits": offset.tolist(),
        "images": {
            "height": height,
            "width": width,
            "channels": channels,
            "dtype": "uint8",
            "range": [0, 255],
            "normalization": "inside the model",
            "resizing": (
                "the largest box of these proportions from the centre, resized bicubic "
                "and without aliasing; transparent on white; EXIF orientation applied"
            ),
        },
        "run": {
            name: getattr(result, name)
            for name in (
                "method",
                "top1_error",
                "balanced_error",
                "evaluated_on",
                "class_counts",
                "flags",
                "versions",
            )
        },
        "versions": environment.versions("onnx", "tf2onnx"),
    }
    if format == formats.SAVED_MODEL:
        facts["images"]["serving_bytes"] = (
            "resizes inside the graph; mm_tf.experiments.serving.decoding lists what "
            "differs"
        )
    with _files.whole_folder(folder) as unfinished:
        formats.write(
            format,
            formats.with_probabilities(model, scale / temperature, offset),
            result.class_names,
            unfinished,
        )
        labels = "".join(f"{printable(name)}\n" for name in result.class_names)
        _files.write_text(unfinished / LABELS, labels)
        _files.write_text(unfinished / EXPORT, _files.json_text(facts, indent=2))
    return Export(folder, facts)


def _check_output(output, overwrite):
    folder = pathlib.Path(output).expanduser()
    # A link is followed: its target is replaced, and not the link.
    if folder.name in ("", "..") or folder.is_symlink():
        folder = folder.resolve()
    written = _WRITTEN if overwrite and _is_export(folder) else ()
    _files.check_folder(
        "output",
        folder,
        {name.split("/")[0] for name in _files.foreign(folder, written)}.__contains__,
        "a new or empty folder, or with --overwrite an earlier export",
    )
    return folder


def _is_export(folder):
    """Whether the facts of an export are in a folder, and no file of that name."""
    try:
        text = _files.read_text(folder / EXPORT, _files.MOST_BYTES_OF_TEXT)
        return {"class_names", "added_to_logits", "run"} <= {*json.loads(text)}
    except (OSError, ValueError, TypeError):
        return False


def _read_holdout(config, class_names, data_dir):
    try:
        return read_again(config, class_names, data_dir)
    except (ValueError, DatasetUnavailableError) as error:
        kind = ValueError if isinstance(error, ValueError) else DatasetUnavailableError
        raise kind(
            "The run's hold-out, which calibrates the probabilities, cannot be read: "
            "give --data_dir, where its images are now, or --nocalibrate to do "
            f"without. {error}"
        ) from error


def _calibrate(model, scale, offset, holdout):
    """The temperature, and what is measured with and without it."""
    pixels, labels = holdout.test_images, holdout.test_labels
    outputs = model.predict(data.prediction_data(pixels), verbose=0)
    logits = scale * outputs.astype("float64")
    temperature = calibration.fit_temperature(logits, labels, offset)
    measured = {"images": len(labels)}
    for name, value in (("before", 1.0), ("after", temperature)):
        chances = probabilities(logits / value + offset)
        for measure in (
            calibration.negative_log_likelihood,
            calibration.expected_calibration_error,
        ):
            measured[f"{measure.__name__}_{name}"] = measure(chances, labels)
    return temperature, measured


def _offsets(prior, run, result):
    """What is added to logits: for `prior`, and for that of the training images."""
    if prior is None:
        return (np.zeros(len(result.class_names)),) * 2
    return tuple(
        prior_offset(run, result, each) for each in (prior, result.class_counts)
    )
