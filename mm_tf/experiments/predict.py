"""Predicts the classes of images with the model of a finished run.

    python -m mm_tf.experiments.predict saved_models/.../seed0 photo.jpg more_photos
    python -m mm_tf.experiments.predict RUN PHOTOS --format=csv --output=classes.csv

Images are resized and cropped as the run's were. The same from Python:

    from mm_tf.experiments.predict import predict
    for prediction in predict("saved_models/.../seed0", ["photo.jpg"]).predictions:
        print(prediction.path, prediction.classes[0], prediction.probabilities[0])
"""

import pathlib
import sys

from mm_tf import _checks, _files, _text
from mm_tf.experiments.config.fields import BACKENDS
from mm_tf.experiments.machine import command
from mm_tf.experiments.runs.probabilities import PRIOR_WORDS
from mm_tf.experiments.serving.predict import (
    Prediction,
    Predictions,
    list_images,
    predict,
    to_csv,
    to_json,
    to_table,
)

__all__ = [
    "Prediction",
    "Predictions",
    "list_images",
    "main",
    "predict",
    "to_csv",
    "to_json",
    "to_table",
]

_WRITERS = {"table": to_table, "csv": to_csv, "json": to_json}


def main(arguments=None):
    """The command."""
    parser = _checks.parser("mm_tf.experiments.predict", __doc__)
    parser.add_argument("run", metavar="RUN", help="the folder of a finished run")
    parser.add_argument(
        "paths", nargs="+", metavar="PATH", help="images, and folders of images"
    )
    parser.add_argument(
        "--format",
        choices=tuple(_WRITERS),
        default="table",
        help="json writes one line of JSON for each image; default table",
    )
    parser.add_argument(
        "--top", type=int, default=1, help="classes shown for each image; default 1"
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="a new file to write, in place of standard output",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the file if it exists"
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="a file that cannot be decoded is an error; without it, it is reported "
        "and left out",
    )
    parser.add_argument(
        "--prior",
        metavar=PRIOR_WORDS,
        help="how often each class occurs where the images are from",
    )
    command.add_post_hoc(parser)
    parser.add_argument("--backend", choices=BACKENDS, help="Keras's backend")
    given = parser.parse_args(arguments)
    try:
        command.set_up(given.backend)
        output = _check_output(given.output, given.overwrite)
        found = predict(
            *(given.run, given.paths, given.top, given.strict),
            *(given.prior, given.post_hoc, given.post_hoc_tau),
        )
        text = _WRITERS[given.format](found.predictions) if found.predictions else ""
        if output is None:
            if sys.stdout.isatty():
                print(_text.printable_lines(text), end="")
            else:
                # The name of a file may be no Unicode: its bytes are as they are.
                errors = "replace" if given.format == "table" else "surrogateescape"
                sys.stdout.buffer.write(text.encode("utf-8", errors))
        elif found.predictions:
            _files.write_text(output, text, errors="surrogateescape")
            print(_text.printable(f"Written: {given.output}"))
    except ValueError as error:
        command.fail(error)
    except OSError as error:
        command.fail(
            f"`output` cannot be written ({error.strerror or error}). "
            f"Received: output={given.output}"
        )
    unreadable = [
        f"cannot be decoded ({why}): {path}" for path, why in found.unreadable
    ]
    adjusted = [] if found.post_hoc is None else [str(found.post_hoc)]
    for line in (*adjusted, *found.notes, *unreadable):
        print(f"mm_tf: {_text.printable(line)}", file=sys.stderr)
    if not found.predictions:
        command.fail("No image can be decoded.", status=1)


def _check_output(output, overwrite):
    """The path of a file that may be written, None for standard output."""
    if output is None:
        return None
    path = pathlib.Path(output).expanduser()
    if path.is_dir() or not path.parent.is_dir():
        expected = f"a file in a folder that exists ({path.parent})"
    elif path.exists() and not overwrite:
        expected = "a new file, or --overwrite be given"
    else:
        return path
    raise ValueError(f"`output` must be {expected}. Received: output={output}")


if __name__ == "__main__":
    main()
