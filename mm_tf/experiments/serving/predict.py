"""Classes of images, by the model of a finished run, and how they are written."""

import csv
import dataclasses
import io
import os
import pathlib

from mm_tf import _files, data
from mm_tf._checks import check_integer
from mm_tf._text import printable
from mm_tf._text import table as text_table
from mm_tf.calibration import logit_adjustment
from mm_tf.data.custom.listing import Problem, files_below, notes_on
from mm_tf.data.images.decoding import SUFFIXES
from mm_tf.data.images.image_files import ImageFiles
from mm_tf.experiments.machine.command import check_post_hoc
from mm_tf.experiments.runs import finished
from mm_tf.experiments.runs import post_hoc as runs_post_hoc
from mm_tf.experiments.runs.probabilities import (
    check_prior,
    output_scale,
    prior_offset,
    probabilities,
)

_BATCH = 128


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The likeliest classes of an image.

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
    """Predictions for a list of images.

    Attributes:
        predictions: A `Prediction` for each image that can be decoded, in their order.
        unreadable: Pairs (path, reason), one for each of the others.
        notes: What else to know, each a sentence: suffixes of files in the folders that
            were skipped, links out of them that were followed.
        post_hoc: The errors of the run before and after its post-hoc adjustment, or
            None without one.
    """

    predictions: tuple[Prediction, ...]
    unreadable: tuple[tuple[str, str], ...]
    notes: tuple[str, ...] = ()
    post_hoc: runs_post_hoc.PostHoc | None = None


def predict(
    run, paths, top=1, strict=False, prior=None, post_hoc=None, post_hoc_tau=None
):
    """Predicts the classes of images with the model of a finished run.

    Args:
        run: The run's folder.
        paths: Files and folders. A folder stands for all images in it and below it,
            sorted by name, as `mm_tf.data.read_folder` finds those of a class.
        top: How many classes to return for each image, from 1 to K. Defaults to 1.
        strict: Whether a file that cannot be decoded is an error. Defaults to
            `False`: it is listed as `unreadable`.
        prior: How often each class occurs where the images are from, as for `export`.
            Defaults to `None`: the outputs as the method gives them.
        post_hoc: `"la"` for post-hoc logit adjustment (see
            `mm_tf.calibration.logit_adjustment`), in place of `prior`. Defaults to
            `None`.
        post_hoc_tau: Its strength, >= 0. Defaults to `None`: chosen on the run's
            hold-out, and 1 without one.

    Returns:
        `Predictions`. A probability is the softmax of the outputs times the run's own
        scale, see `mm_tf.experiments.runs.probabilities`. It is not calibrated.

    Raises:
        ValueError: `run` is no finished run or its model cannot be read, a path does
            not exist, there is no image, or `top` is out of its range; with `strict`,
            a file cannot be decoded; with `prior`, the run's outputs have no prior;
            with `post_hoc`, the run saved no outputs.

    Example:

    >>> import os, tempfile
    >>> from PIL import Image
    >>> from mm_tf.experiments.predict import predict
    >>> from mm_tf.experiments.run import RunConfig, run
    >>> folder = tempfile.mkdtemp()
    >>> digit = os.path.join(folder, "digit.png")
    >>> Image.new("L", (8, 8), "white").save(digit)
    >>> config = RunConfig(
    ...     model="resnet8", epochs=1, output_dir=os.path.join(folder, "run")
    ... )
    >>> _ = run(config)  # doctest: +ELLIPSIS
    MM-LDAM-DRW on digits_lt100, seed 0: ...
    >>> (found,) = predict(config.run_folder, [digit], top=3).predictions
    >>> len(found.classes), len(found.probabilities)
    (3, 3)
    """
    run = pathlib.Path(run).expanduser()
    result = finished.read_result(run)
    top = check_integer("top", top, low=1, high=len(result.class_names))
    scale = output_scale(result)
    adjustment, offset = None, 0.0
    tau = check_post_hoc(post_hoc, post_hoc_tau)
    if prior is not None and post_hoc is not None:
        raise ValueError(
            "`prior` and `post_hoc` must not be given together: both change the prior. "
            f"Received: prior={prior!r}, post_hoc={post_hoc!r}"
        )
    if prior is not None:
        offset = prior_offset(run, result, check_prior(prior, result))
    elif post_hoc is not None:
        adjustment = runs_post_hoc.adjusted(run, result, tau)
        offset = logit_adjustment(result.class_counts, adjustment.tau)
    files, problems = _listed(paths)
    model = finished.load_model(run)
    *size, channels = model.input_shape[1:]
    predictions, unreadable = [], []
    for first in range(0, len(files), _BATCH):
        batch = files[first : first + _BATCH]
        images = ImageFiles(batch, tuple(size), channels)
        errors = images.check()
        unreadable += [(batch[i], error.reason) for i, error in errors.items()]
        if strict and errors:
            path, reason = unreadable[0]
            raise ValueError(
                f"With `strict`, every file must be a whole image ({reason}). "
                f"Received: {path}"
            )
        good = [i for i in range(len(batch)) if i not in errors]
        if good:
            outputs = model.predict(data.prediction_data(images[good]), verbose=0)
            rows = probabilities(outputs, scale, offset)
            for i, chances in zip(good, rows, strict=True):
                best = (-chances).argsort(kind="stable")[:top]
                names = tuple(result.class_names[j] for j in best)
                predictions.append(
                    Prediction(batch[i], names, tuple(chances[best].tolist()))
                )
    notes = tuple(notes_on(problems))
    return Predictions(tuple(predictions), tuple(unreadable), notes, adjustment)


def list_images(paths):
    """Lists the image files of files and folders, each once.

    Args:
        paths: As for `predict`.

    Raises:
        ValueError: A path does not exist, or there is no image.

    Example:

    >>> import pathlib, tempfile
    >>> from mm_tf.experiments.predict import list_images
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> for name in ("b.png", "a.jpg", "notes.txt"):
    ...     (folder / name).touch()
    >>> [pathlib.Path(path).name for path in list_images([folder])]
    ['a.jpg', 'b.png']
    """
    return _listed(paths)[0]


def _listed(paths):
    """Image files, and problems of others in the same folders."""
    found, problems = [], []
    for path in paths:
        path = os.path.expanduser(os.fspath(path))
        if os.path.isdir(path):
            images, others = _images_below(path)
            found += images
            problems += others
        elif os.path.exists(path):
            found.append(path)
        else:
            raise ValueError(
                f"`paths` must be existing files and folders. Received: {path}"
            )
    if not found:
        raise ValueError(
            f"`paths` must hold an image ({', '.join(SUFFIXES)}). "
            f"{' '.join([*notes_on(problems), 'Received:'])} "
            f"{', '.join(map(str, paths)) or 'none'}"
        )
    return list(dict.fromkeys(found)), problems


def _images_below(folder):
    """The images of a folder as training lists them, and problems of others in it."""
    images, problems = [], []
    for kind, name in files_below(folder, ""):
        if kind is None:
            images.append(name)
        else:
            path = os.path.join(folder, name)
            problems.append(Problem.of_kind(kind, path))
    # The images of a folder come before those of the folders in it.
    images.sort(key=lambda name: (os.path.dirname(name).split(os.sep), name))
    return [os.path.join(folder, name) for name in images], problems


def to_csv(predictions):
    """Writes predictions as CSV: path, class and probability, then the next classes.

    Args:
        predictions: `Prediction`s, each with the same number of classes.

    Example:

    >>> from mm_tf.experiments.predict import Prediction, to_csv
    >>> print(to_csv([Prediction("a.png", ("cat",), (0.75,))]), end="")
    path,class,probability
    a.png,cat,0.750000
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    header = ["path", "class", "probability"]
    for place in range(2, _top(predictions) + 1):
        header += [f"class_{place}", f"probability_{place}"]
    writer.writerow(header)
    for each in predictions:
        row = [each.path]
        for name, chance in zip(each.classes, each.probabilities, strict=True):
            row += [name, f"{chance:.6f}"]
        writer.writerow(row)
    return text.getvalue()


def to_json(predictions):
    """Writes predictions as JSON, one line each.

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
        top = [{"class": name, "probability": chance} for name, chance in pairs]
        lines.append(_files.json_text({"path": each.path, **top[0], "top": top}))
    return "".join(lines)


def to_table(predictions, width=None):
    """Writes predictions as a table for people.

    Args:
        predictions: `Prediction`s, each with the same number of classes.
        width: Characters of a line. Defaults to `None`: those of the terminal.

    Example:

    >>> from mm_tf.experiments.predict import Prediction, to_table
    >>> print(to_table([Prediction("a.png", ("cat",), (0.75,))]), end="")
      Image   Class      %
     ──────────────────────
      a.png   cat     75.0
    """
    from rich.console import Console

    columns = ["Image"]
    for place in range(_top(predictions)):
        columns += [f"{place + 1}." if place else "Class", "%"]
    rows = []
    for each in predictions:
        rows.append([printable(each.path)])
        for name, chance in zip(each.classes, each.probabilities, strict=True):
            rows[-1] += [printable(name), f"{100 * chance:.1f}"]
    table = text_table(columns, rows, left=(0, *range(1, len(columns), 2)))
    for column in table.columns:
        column.overflow = "fold"  # A path that is cut short names no file.
    text = io.StringIO()
    Console(file=text, width=width, highlight=False).print(table)
    return text.getvalue()


def _top(predictions):
    return len(predictions[0].classes) if predictions else 1
