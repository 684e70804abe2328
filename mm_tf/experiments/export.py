"""Exports the model of a finished run for programs without mm_tf.

    python -m mm_tf.experiments.export saved_models/.../seed0 --format=saved_model
    python -m mm_tf.experiments.export RUN --format=onnx --nocalibrate
    python -m mm_tf.experiments.export RUN --format=tflite --prior=uniform

The model takes images as `uint8` and gives probabilities, calibrated on the run's
hold-out where it has one. The same from Python:

    from mm_tf.experiments.export import export
    print(export("saved_models/.../seed0", "onnx").folder)
"""

from mm_tf import _checks, _text
from mm_tf.data import DatasetUnavailableError
from mm_tf.experiments.machine import command
from mm_tf.experiments.runs.probabilities import PRIOR_WORDS
from mm_tf.experiments.serving.export import Export, export
from mm_tf.experiments.serving.formats import FORMATS

__all__ = ["Export", "export", "main"]


def main(arguments=None):
    """The command."""
    parser = _checks.parser("mm_tf.experiments.export", __doc__)
    parser.add_argument("run", metavar="RUN", help="the folder of a finished run")
    parser.add_argument(
        "--format", choices=FORMATS, default=FORMATS[0], help=f"default {FORMATS[0]}"
    )
    parser.add_argument(
        "--output", metavar="FOLDER", help="a new folder; default RUN/export/FORMAT"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace an earlier export there"
    )
    calibration = parser.add_mutually_exclusive_group()
    calibration.add_argument(
        "--calibrate",
        action="store_true",
        default=None,
        help="fit a temperature on the run's hold-out (--holdout of the run), or fail "
        "where it has none; the default fits one only where there is a hold-out",
    )
    calibration.add_argument(
        "--nocalibrate", action="store_false", dest="calibrate", help="fit none"
    )
    parser.add_argument(
        "--prior",
        metavar=PRIOR_WORDS,
        help="how often each class occurs where the model is used",
    )
    parser.add_argument(
        "--data_dir",
        metavar="PATH",
        help="where the run's images are now, for its hold-out; default as in the run",
    )
    given = parser.parse_args(arguments)
    try:
        command.set_up("tensorflow")
        exported = export(**vars(given))
    except (ValueError, DatasetUnavailableError) as error:
        command.fail(error)
    except OSError as error:
        command.fail(
            f"`output` cannot be written ({error.strerror or error}). "
            f"Received: output={given.output}"
        )
    written = _text.printable(f"Written: {exported.folder}")
    print(*_lines(exported.facts), written, sep="\n")


def _lines(facts):
    """What the command prints about an export."""
    measured = facts["calibration"]
    if measured is None:
        yield f"Not calibrated: {facts['not_calibrated']}"
    else:
        yield (
            f"Calibrated on {measured['images']:,} held-out images: "
            f"temperature {facts['temperature']:.3f}"
        )
        for name in ("negative_log_likelihood", "expected_calibration_error"):
            before, after = (measured[f"{name}_{x}"] for x in ("before", "after"))
            words = name.replace("_log_", " log-").replace("_", " ")
            yield f"  {words}: {before:.4f} before, {after:.4f} after"
    if facts["prior"]:
        low, high = min(facts["prior"]), max(facts["prior"])
        yield f"Adjusted to class priors from {low:.3g} to {high:.3g}"


if __name__ == "__main__":
    main()
