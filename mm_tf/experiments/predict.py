"""Tells the classes of images by the model of a finished run.

    python -m mm_tf.experiments.predict saved_models/.../seed0 photo.jpg more_photos
    python -m mm_tf.experiments.predict RUN PHOTOS --format=csv --output=classes.csv

Images are resized and cropped as the run's were. The same from Python:

    from mm_tf.experiments.predict import predict
    for prediction in predict("saved_models/.../seed0", ["photo.jpg"]).predictions:
        print(prediction.path, prediction.classes[0], prediction.probabilities[0])
"""

import argparse
import csv
import dataclasses
import io
import json
import os
import pathlib
import sys

from mm_tf import _files, data
from mm_tf._checks import check_integer
from mm_tf._text import printable
from mm_tf.data.custom.decoding import FORMAT_NAMES, SUFFIXES
from mm_tf.data.custom.image_files import ImageFiles
from mm_tf.experiments.config.fields import BACKENDS
from mm_tf.experiments.machine import command
from mm_tf.experiments.runs import finished
from mm_tf.experiments.serving.probabilities import output_scale, probabilities

FORMATS = ("table", "csv", "json")

_IMAGES_AT_ONCE = 128


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What an image is taken for.

    Attributes:
        path: Its file.
        classes: Names of the likeliest classes, the likeliest first.
        probabilities: Their probabilities, in [0, 1].
    """

    path: str
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What images are taken for.

    Attributes:
        predictions: A `Prediction` of each image that can be decoded, in their order.
        unreadable: Pairs (path, reason) of the others.
    """

    predictions: tuple[Prediction, ...]
    unreadable: tuple[tuple[str, str], ...]


def predict(run, paths, top=1, strict=False):
    """Tells the classes of images by the model of a finished run.

    Args:
        run: The run's folder.
        paths: Files and folders; of a folder all images in it and below, in the order
            of their names.
        top: How many classes are told of each image, from 1 to K. Defaults to 1.
        strict: Whether a file that cannot be decoded is an error. Defaults to
            `False`: it is told among the `unreadable`.

    Returns:
        `Predictions`. A probability is the softmax of the outputs times the run's own
        scale, see `mm_tf.experiments.serving.probabilities`. It is not calibrated.

    Raises:
        ValueError: `run` is no finished run or its model cannot be read, there is no
            such path or no image, or `top` is out of its range; with `strict`, a file
            cannot be decoded.

    Example:

    >>> import os, tempfile
    >>> from PIL import Image
    >>> from mm_tf.experiments.predict import predict
    >>> from mm_tf.experiments.run import RunConfig, run
    >>> folder = tempfile.mkdtemp()
    >>> digit = os.path.join(folder, "digit.png")
    >>> Image.new("L", (8, 8), "white").save(digit)
    >>> config = RunConfig(
    ...     model="resnet8",
    ...     imbalance="none",
    ...     epochs=1,
    ...     output_dir=os.path.join(folder, "run"),
    ... )
    >>> _ = run(config)  # doctest: +ELLIPSIS
    MM-LDAM-DRW on digits_balanced, seed 0: 1,240 training images...
    >>> (found,) = predict(config.run_folder, [digit], top=3).predictions
    >>> len(found.classes), len(found.probabilities)
    (3, 3)
    """
    run = pathlib.Path(run).expanduser()
    result = finished.read_result(run)
    top = check_integer("top", top, low=1, high=len(result.class_names))
    scale = output_scale(result)
    files = list_images(paths)
    model = finished.load_model(run)
    *size, channels = model.input_shape[1:]
    predictions, unreadable = [], []
    for first in range(0, len(files), _IMAGES_AT_ONCE):
        part = files[first : first + _IMAGES_AT_ONCE]
        images = ImageFiles(part, tuple(size), channels)
        # Decodes them all, and keeps what it has decoded.
        errors = images.check()
        unreadable += [(part[place], each.reason) for place, each in errors.items()]
        if strict and errors:
            path, reason = unreadable[0]
            raise ValueError(
                f"With `strict`, every file must be a whole image ({reason}). "
                f"Received: {path}"
            )
        good = [place for place in range(len(part)) if place not in errors]
        if good:
            outputs = model.predict(data.prediction_data(images[good]), verbose=0)
            chances = probabilities(outputs, scale)
            best = (-chances).argsort(axis=-1, kind="stable")[:, :top]
            predictions += [
                Prediction(
                    part[place],
                    tuple(result.class_names[j] for j in order),
                    tuple(float(of_image[j]) for j in order),
                )
                for place, order, of_image in zip(good, best, chances, strict=True)
            ]
    return Predictions(tuple(predictions), tuple(unreadable))


def list_images(paths):
    """Returns the files of a list of files and folders, each once.

    Args:
        paths: As for `predict`.

    Raises:
        ValueError: There is no such path, or no image.

    Example:

    >>> import pathlib, tempfile
    >>> from mm_tf.experiments.predict import list_images
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> for name in ("b.png", "a.jpg", "notes.txt"):
    ...     (folder / name).touch()
    >>> [pathlib.Path(path).name for path in list_images([folder])]
    ['a.jpg', 'b.png']
    """
    found = []
    for path in paths:
        path = os.path.expanduser(os.fspath(path))
        if os.path.isdir(path):
            found += _in_folder(path)
        elif os.path.exists(path):
            found.append(path)
        else:
            raise ValueError(
                f"`paths` must be files and folders that are there. Received: {path}"
            )
    if not found:
        raise ValueError(
            f"`paths` must hold an image, named as {FORMAT_NAMES}. "
            f"Received: {', '.join(map(str, paths)) or 'none'}"
        )
    return list(dict.fromkeys(found))


def _in_folder(folder):
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            is_image = os.path.splitext(name)[1].lower() in SUFFIXES
            if is_image and not name.startswith("."):
                yield os.path.join(place, name)


def to_csv(predictions):
    """Returns predictions as CSV: path, class, probability, and of the next ones.

    Args:
        predictions: `Prediction`s of as many classes each.

    Example:

    >>> from mm_tf.experiments.predict import Prediction, to_csv
    >>> print(to_csv([Prediction("a.png", ("cat",), (0.75,))]), end="")
    path,class,probability
    a.png,cat,0.750000
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    top = len(predictions[0].classes) if predictions else 1
    header = ["path", "class", "probability"]
    for place in range(2, top + 1):
        header += [f"class_{place}", f"probability_{place}"]
    writer.writerow(header)
    for each in predictions:
        row = [each.path]
        for name, chance in zip(each.classes, each.probabilities, strict=True):
            row += [name, f"{chance:.6f}"]
        writer.writerow(row)
    return text.getvalue()


def to_json(predictions):
    """Returns predictions as JSON, a line each.

    Args:
        predictions: `Prediction`s.

    Example:

    >>> from mm_tf.experiments.predict import Prediction, to_json
    >>> print(to_json([Prediction("a.png", ("cat",), (0.75,))]), end="")
    {"path": "a.png", "class": "cat", "probability": 0.75, "top": [{"class": ...}]}
    """
    lines = []
    for each in predictions:
        pairs = zip(each.classes, each.probabilities, strict=True)
        fields = {
            "path": each.path,
            "class": each.classes[0],
            "probability": each.probabilities[0],
            "top": [{"class": name, "probability": chance} for name, chance in pairs],
        }
        lines.append(json.dumps(fields) + "\n")
    return "".join(lines)


def to_table(predictions, width=None):
    """Returns predictions as a table to be read.

    Args:
        predictions: `Prediction`s.
        width: Characters of a line. Defaults to `None`: those of the terminal.

    Example:

    >>> from mm_tf.experiments.predict import Prediction, to_table
    >>> print(to_table([Prediction("a.png", ("cat",), (0.75,))]), end="")
      Image   Class      %
     ──────────────────────
      a.png   cat     75.0
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    text = io.StringIO()
    console = Console(file=text, width=width, highlight=False)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1))
    table.add_column("Image", overflow="fold")
    for place in range(len(predictions[0].classes)):
        table.add_column("Class" if place == 0 else f"{place + 1}.", overflow="fold")
        table.add_column("%", justify="right")
    for each in predictions:
        cells = [each.path]
        for name, chance in zip(each.classes, each.probabilities, strict=True):
            cells += [name, f"{100 * chance:.1f}"]
        table.add_row(*(Text(printable(cell)) for cell in cells))
    console.print(table)
    return text.getvalue()


_WRITERS = {"table": to_table, "csv": to_csv, "json": to_json}


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m mm_tf.experiments.predict",
        description=__doc__.splitlines()[0],
        allow_abbrev=False,
    )
    parser.add_argument("run", metavar="RUN", help="the folder of a finished run")
    parser.add_argument(
        "paths", nargs="+", metavar="PATH", help="images, and folders of images"
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="table",
        help="json is a line of JSON for each image; default table",
    )
    parser.add_argument(
        "--top", type=int, default=1, help="classes told of each image; default 1"
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="write there, a new file, in place of standard output",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace that file if it is there"
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="a file that cannot be decoded is an error; else it is told and left out",
    )
    parser.add_argument("--backend", choices=BACKENDS, help="Keras's backend")
    return parser


def _check_output(output, overwrite):
    """The file to write, if nothing of a user's would be lost."""
    if output is None:
        return None
    path = pathlib.Path(output).expanduser()
    received = f"Received: output={output}"
    if path.is_dir() or not path.name:
        raise ValueError(f"`output` must be a file. {received}")
    if not path.parent.is_dir():
        raise ValueError(
            f"`output` cannot be written (there is no folder {path.parent}). {received}"
        )
    if path.exists() and not overwrite:
        raise ValueError(
            "`output` must be a new file: give another name, or --overwrite to "
            f"replace this one. {received}"
        )
    return path


def _print(text):
    # A file name that is no Unicode comes out as the bytes that it is.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")
    sys.stdout.write(text)


def main(arguments=None):
    """The command."""
    given = _parser().parse_args(arguments)
    try:
        command.set_up(given.backend)
        output = _check_output(given.output, given.overwrite)
        found = predict(given.run, given.paths, given.top, given.strict)
        text = _WRITERS[given.format](found.predictions) if found.predictions else ""
        if output is None:
            _print(text)
        elif found.predictions:
            _files.write_text(output, text, errors="surrogateescape")
            print(f"Written: {given.output}")
    except ValueError as error:
        command.fail(printable(str(error)))
    except OSError as error:
        command.fail(
            f"`output` cannot be written ({error.strerror or error}). "
            f"Received: output={given.output}"
        )
    for path, reason in found.unreadable:
        line = f"cannot be decoded ({reason}): {path}"
        print(f"mm_tf: {printable(line)}", file=sys.stderr)
    if not found.predictions:
        command.fail("No image can be decoded.", status=1)


if __name__ == "__main__":
    main()
