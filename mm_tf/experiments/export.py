"""Exports the model of a finished run for runtimes that know nothing of mm_tf.

    python -m mm_tf.experiments.export saved_models/.../seed0 --format=saved_model
    python -m mm_tf.experiments.export RUN --format=onnx --nocalibrate
    python -m mm_tf.experiments.export RUN --format=tflite --prior=uniform

The model takes images as `uint8` and gives probabilities, calibrated on the run's
hold-out where it has one. The same from Python:

    from mm_tf.experiments.export import export
    print(export("saved_models/.../seed0", "onnx").folder)
"""

import argparse
import dataclasses
import json
import pathlib
import sys
from typing import Any

import numpy as np

from mm_tf import _files, calibration, data
from mm_tf._checks import check_bool, check_choice
from mm_tf._text import printable
from mm_tf.data import DatasetUnavailableError
from mm_tf.experiments.machine import command
from mm_tf.experiments.paper.methods import METHODS
from mm_tf.experiments.runs import finished, images
from mm_tf.experiments.serving import formats
from mm_tf.experiments.serving.probabilities import output_scale, probabilities

EXPORT = "export.json"
LABELS = "labels.txt"
FORMATS = formats.FORMATS
PRIORS = ("uniform", "train")

# Between Keras and a converted model.
_IMAGES_COMPARED = 8

# Why, by whether the run has a hold-out.
_NOT_CALIBRATED = {
    False: "the run has no hold-out (--holdout)",
    True: "it was left out (--nocalibrate)",
}


@dataclasses.dataclass(frozen=True)
class Export:
    """What was exported.

    Attributes:
        folder: Where it is.
        facts: What its `export.json` says.
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

    of its outputs z, the run's own scale s, a temperature T and an adjustment a for
    another prior of the classes. It is written in float32, and Keras runs on
    TensorFlow for it, whatever the run was trained on.

    Args:
        run: The run's folder.
        format: `"saved_model"` for TensorFlow and TensorFlow Serving, `"onnx"` (needs
            the packages of the extra `export`) or `"tflite"`. Defaults to
            `"saved_model"`.
        output: The folder to write. Defaults to `None`, `export/FORMAT` in the run's.
        calibrate: Whether T is fitted on the run's hold-out (`--holdout` of the run);
            the test images are never used. `False` leaves T = 1. Defaults to `None`:
            where the run has a hold-out.
        prior: How often the classes come where the model is used: `"uniform"`,
            `"train"` (as the training images), or K numbers > 0, of which only the
            proportions count. a is then log prior minus log of the prior that the
            outputs have: that of the training images, times the class weights of
            methods that weight or re-sample by them, as far as a margin does not
            bend it. T is fitted with the prior of the training images, which
            the hold-out has. Defaults to `None`, a = 0: the outputs as
            the method gives them.
        data_dir: Where the run's images are now, for the hold-out. Defaults to
            `None`, as in the run's flags.
        overwrite: Whether an earlier export at `output` may be replaced. Other
            files never are. Defaults to `False`.

    Returns:
        An `Export`.

    Raises:
        ValueError: An argument is not as described, `run` is no finished run or
            cannot be read, or the images are others than those of the run.
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
    check_choice("format", format, FORMATS)
    has_hold_out = result.evaluated_on == "holdout"
    if calibrate is None:
        calibrate = has_hold_out
    check_bool("calibrate", calibrate)
    check_bool("overwrite", overwrite)
    scale = output_scale(result)
    prior_of_use = _prior_of_use(prior, result)
    if calibrate and not has_hold_out:
        raise ValueError(
            "`calibrate` needs a run with a hold-out (--holdout=0.2, say): the test "
            "images must choose nothing. Received: calibrate=True for a run without"
        )
    config = None
    if calibrate or prior is not None:
        config = finished.read_config(run)
    folder = _place(output, run / "export" / format, overwrite)
    formats.check_installed(format)
    _check_backend()
    held_out = _hold_out(config, data_dir) if calibrate else None
    model = _in_float32(finished.load_model(run))
    offset, offset_of_train = _offsets(prior_of_use, config, result)
    shown = None if held_out is None else held_out.test_images[:_IMAGES_COMPARED]
    temperature, measured = 1.0, None
    if held_out is not None:
        temperature, measured = _calibrated(model, scale, offset_of_train, held_out)
    facts = {
        "format": format,
        "class_names": result.class_names,
        "outputs_are_multiplied_by": scale / temperature,
        "scale": scale,
        "temperature": temperature,
        "calibration": measured,
        "not_calibrated": None if calibrate else _NOT_CALIBRATED[has_hold_out],
        "prior": None if prior is None else prior_of_use.tolist(),
        "added_to_logits": offset.tolist(),
        "images": _facts_of_images(model, format),
        "run": {
            "method": result.method,
            "top1_error": result.top1_error,
            "balanced_error": result.balanced_error,
            "evaluated_on": result.evaluated_on,
            "class_counts": result.class_counts,
            "flags": result.flags,
            "versions": result.versions,
        },
        "versions": _versions(),
    }
    with _files.whole_folder(folder) as unfinished:
        served = formats.with_probabilities(model, scale / temperature, offset)
        formats.write(format, served, result.class_names, unfinished, shown)
        labels = "".join(f"{printable(name)}\n" for name in result.class_names)
        _files.write_text(unfinished / LABELS, labels)
        _files.write_text(unfinished / EXPORT, json.dumps(facts, indent=2) + "\n")
    return Export(folder, facts)


def _prior_of_use(prior, result):
    if prior is None:
        return None
    size = len(result.class_names)
    if isinstance(prior, str):
        check_choice("prior", prior, PRIORS)
        numbers = np.ones(size) if prior == "uniform" else result.class_counts
        return np.asarray(numbers) / np.sum(numbers)
    try:
        numbers = np.asarray(prior, dtype="float64")
    except (TypeError, ValueError):
        numbers = np.zeros(0)
    if (
        numbers.shape != (size,)
        or not np.all(np.isfinite(numbers))
        or not np.all(numbers > 0)
    ):
        raise ValueError(
            f"`prior` must be uniform, train or {size} numbers > 0, one a class. "
            f"Received: prior={prior!r}"
        )
    return numbers / numbers.sum()


def _place(output, default, overwrite):
    folder = pathlib.Path(default if output is None else output).expanduser()
    # What is renamed needs a name, and is to be the folder, not a link to it.
    if folder.name in ("", "..") or folder.is_symlink():
        folder = folder.resolve()
    if folder.is_dir() and not any(folder.iterdir()):
        return folder
    if folder.exists():
        is_ours = (folder / EXPORT).is_file()
        if not is_ours or not overwrite:
            what = "an export; --overwrite replaces it" if is_ours else "something else"
            raise ValueError(
                "`output` must be a new or empty folder, and this one holds "
                f"{what}. Received: output={folder}"
            )
    return folder


def _hold_out(config, data_dir):
    if data_dir is not None:
        config = dataclasses.replace(config, data_dir=str(data_dir))
    try:
        config = images.identified(config, advice="")
        return images.subset(config, images.load_whole(config))
    except (ValueError, DatasetUnavailableError) as error:
        is_missing = isinstance(error, DatasetUnavailableError)
        raise (DatasetUnavailableError if is_missing else ValueError)(
            "The hold-out of the run, by which probabilities are calibrated, cannot be "
            "read: give --data_dir, where its images are now, or --nocalibrate to "
            f"leave that out. {error}"
        ) from error


def _calibrated(model, scale, offset, held_out):
    """The temperature, and what is measured with and without it."""
    pictures, labels = held_out.test_images, held_out.test_labels
    outputs = model.predict(data.prediction_data(pictures), verbose=0)
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


def _check_backend():
    import keras

    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "`backend` must be tensorflow to export. "
            f"Received: backend={keras.backend.backend()!r}"
        )


def _in_float32(model):
    """The model, computing in float32: its weights are, in every precision."""
    import keras

    def new_layer(layer):
        settings = layer.get_config()
        if isinstance(layer, keras.Layer):  # Not an operation, as Add.
            settings["dtype"] = "float32"
        return layer.__class__.from_config(settings)

    if all(each.compute_dtype == "float32" for each in model._flatten_layers()):
        return model
    return formats.rebuilt(model, new_layer)


def _offsets(prior_of_use, config, result):
    """What is added to logits: for the prior of use, and for the training images'."""
    if prior_of_use is None:
        return (np.zeros(len(result.class_names)),) * 2
    from mm_tf.experiments.runs import training

    of_outputs = of_train = np.asarray(result.class_counts, dtype="float64")
    method = METHODS[config.method]
    never = method.is_deferred and config.first_reweighted_epoch >= config.epochs
    if method.is_balanced and not never:
        of_outputs = of_train * training.weights_of_classes(config, of_train)
    return (
        calibration.prior_adjustment(of_outputs, prior_of_use),
        calibration.prior_adjustment(of_outputs, of_train),
    )


def _facts_of_images(model, format):
    *size, channels = model.input_shape[1:]
    facts = {
        "height": size[0],
        "width": size[1],
        "channels": channels,
        "dtype": "uint8",
        "range": [0, 255],
        "normalization": "inside the model",
        "resizing": (
            "the largest box of these proportions out of the centre, resized bicubic "
            "and without aliasing; transparent on white; EXIF orientation applied"
        ),
    }
    if format == formats.SAVED_MODEL:
        facts["serving_bytes"] = (
            "does it inside the graph; mm_tf.experiments.serving.decoding says what "
            "differs"
        )
    return facts


def _versions():
    import importlib.metadata

    from mm_tf.experiments.machine import environment

    found = environment.versions()
    for package in ("onnx", "tf2onnx"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _numbers(text):
    """The value of `--prior`: a word, or numbers between commas."""
    if text in PRIORS:
        return text
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be {', '.join(PRIORS)} or numbers as 3,1,1: {text!r}"
        ) from None


class _Parser(argparse.ArgumentParser):
    """Ends with one message, as all commands here do."""

    def error(self, message):
        command.fail(message)


def _parser():
    parser = _Parser(
        prog="python -m mm_tf.experiments.export",
        description=__doc__.splitlines()[0],
        allow_abbrev=False,
    )
    parser.add_argument("run", metavar="RUN", help="the folder of a finished run")
    parser.add_argument(
        "--format", choices=FORMATS, default=FORMATS[0], help=f"default {FORMATS[0]}"
    )
    parser.add_argument(
        "--output", metavar="FOLDER", help="default RUN/export/FORMAT, a new folder"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace an earlier export there"
    )
    calibration_of_run = parser.add_mutually_exclusive_group()
    calibration_of_run.add_argument(
        "--calibrate",
        action="store_true",
        default=None,
        help="fit a temperature on the run's hold-out (--holdout of the run), or fail "
        "where it has none; by default where it has one",
    )
    calibration_of_run.add_argument(
        "--nocalibrate", action="store_false", dest="calibrate", help="fit none"
    )
    parser.add_argument(
        "--prior",
        type=_numbers,
        metavar="uniform|train|A,B,...",
        help="how often each class comes where the model is used",
    )
    parser.add_argument(
        "--data_dir",
        metavar="PATH",
        help="where the run's images are now, for its hold-out; default as in the run",
    )
    return parser


def _words(facts):
    measured = facts["calibration"]
    if not measured:
        yield f"Not calibrated: {facts['not_calibrated']}"
    else:
        yield (
            f"Calibrated on {measured['images']:,} held-out images: "
            f"temperature {facts['temperature']:.3f}"
        )
        for words, name in (
            ("negative log-likelihood", "negative_log_likelihood"),
            ("expected calibration error", "expected_calibration_error"),
        ):
            before, after = (measured[f"{name}_{x}"] for x in ("before", "after"))
            yield f"  {words}: {before:.4f} before, {after:.4f} after"
    if facts["prior"]:
        low, high = min(facts["prior"]), max(facts["prior"])
        yield f"Adjusted to a prior of the classes from {low:.3g} to {high:.3g}"


def main(arguments=None):
    """The command."""
    given = _parser().parse_args(arguments)
    try:
        command.set_up("tensorflow")
        found = export(**vars(given))
    except (ValueError, DatasetUnavailableError) as error:
        command.fail(printable(str(error)))
    except OSError as error:
        command.fail(
            f"`output` cannot be written ({error.strerror or error}). "
            f"Received: output={given.output}"
        )
    sys.stdout.write("".join(f"{line}\n" for line in _words(found.facts)))
    print(f"Written: {found.folder}")


if __name__ == "__main__":
    main()
