"""Writes one HTML page about a run, or about several of one setting side by side.

    python -m mm_tf.experiments.report saved_models/digits_lt20/mm_ldam_drw/seed1
    python -m mm_tf.experiments.report --output=report \
        saved_models/cifar10_lt100/erm/seed1 saved_models/cifar10_lt100/mm_drw/seed1

The page opens from disk, without a network: its pictures are inside it, and lie
beside it as PNG files. The same from Python:

    from mm_tf.experiments.report import write_report
    page = write_report(["saved_models/digits_lt20/mm_ldam_drw/seed1"])
"""

import argparse
import base64
import collections
import csv
import dataclasses
import io
import os
import pathlib
import re
import sys
import tempfile
from typing import Any

import numpy as np
from absl import flags

from mm_tf import _files
from mm_tf.data import DATASETS, DatasetUnavailableError, load
from mm_tf.data.folders import check_outside
from mm_tf.experiments import config_flags, finished, paper
from mm_tf.experiments import images as images_module
from mm_tf.experiments.config import RunConfig
from mm_tf.experiments.methods import METHODS
from mm_tf.experiments.results import FLAGS, HISTORY, PREDICTIONS, RESULT, RunResult

__all__ = ["write_report"]

PAGE = "index.html"

# As many as there are colours that can be told apart.
MOST_RUNS = 6

# Pairs of classes in the gallery of a run, and images of a pair.
_PAIRS = 6
_IMAGES_OF_A_PAIR = 6

_DOTS_PER_INCH = 150


@dataclasses.dataclass(frozen=True)
class _Run:
    """A run's folder, read.

    Attributes:
        folder: Its path.
        result: Its `RunResult`.
        flags: The lines of its `flags.txt`, {name: value}.
        config: Its `RunConfig`, or None where this version cannot read it.
        history: Columns of numbers, one an epoch; None where there is none.
        labels: The class of each test (or hold-out) image; None where it was not kept.
        predictions: What each was taken for; None where it was not kept.
        missing: What could not be read, in words.
    """

    folder: pathlib.Path
    result: RunResult
    flags: dict[str, str]
    config: RunConfig | None
    history: dict[str, np.ndarray] | None
    labels: np.ndarray | None
    predictions: np.ndarray | None
    missing: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class _Picture:
    """A picture of the page, as data URIs."""

    light: str
    dark: str
    alt: str
    caption: str = ""


def write_report(runs, output=None, data_dir=None, gallery=True, data=None):
    """Writes a page about finished runs, and its pictures as PNG files.

    Args:
        runs: Folders of one to six runs of one setting.
        output: The folder to write, which is new, empty or an earlier report; by
            default `report` in the folder of a single run.
        data_dir: Where the images are now: the folder, CSV file or archive of images
            of your own, else the folder in which tfds keeps data sets. By default as
            in the run's flags.
        gallery: Whether to show the test (or hold-out) images. They are read, and
            where they are not prepared downloaded, as for the run itself; where that
            fails the page says so.
        data: The runs' `ImageData`, as for `mm_tf.experiments.run.run`, to show
            images of data that `mm_tf.data.load` does not know.

    Returns:
        The `pathlib.Path` of the page.

    Raises:
        ValueError: `runs` is empty, has more than six, or one that is no finished
            run, of another setting or evaluated on other images; or `output` cannot
            be written, holds other files, would become a class of the images, or
            is missing with several runs.

    Example:

    >>> import tempfile
    >>> from mm_tf.experiments.report import write_report
    >>> write_report([tempfile.mkdtemp()])  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: `runs` must be folders of finished runs...
    """
    folders = _check_folders(runs)
    results = _check_results(folders)
    output = _check_output(output, folders)
    _check_is_no_class(output, folders[0], data_dir)
    with _new_folder(output) as folder:
        read = [
            _read(folder, result)
            for folder, result in zip(folders, results, strict=True)
        ]
        _write(folder, read, data_dir, gallery, data)
    return output / PAGE


# What is checked before anything heavy is imported.


def _check_folders(runs):
    if isinstance(runs, str | os.PathLike):
        raise ValueError(f"`runs` must be a list of folders. Received: runs={runs!r}")
    folders = [pathlib.Path(run).expanduser().resolve() for run in runs]
    if not 1 <= len(folders) <= MOST_RUNS:
        raise ValueError(
            f"`runs` must be 1 to {MOST_RUNS} folders. Received: {len(folders)}"
        )
    for run, folder in zip(runs, folders, strict=True):
        if folders.count(folder) > 1:
            raise ValueError(f"`runs` names a folder twice. Received: {run}")
    return folders


def _check_results(folders):
    results = [_check_result(folder) for folder in folders]
    first = results[0]
    for folder, result in zip(folders, results, strict=True):
        if result.setting != first.setting:
            raise ValueError(
                f"`runs` must be of one setting. Received: {first.setting} "
                f"({folders[0]}) and {result.setting} ({folder})"
            )
        if result.evaluated_on != first.evaluated_on:
            raise ValueError(
                "`runs` must be evaluated on the same images. Received: "
                f"{first.evaluated_words} images ({folders[0]}) and "
                f"{result.evaluated_words} images ({folder})"
            )
        for name in ("class_names", "class_counts"):
            if getattr(result, name) != getattr(first, name):
                raise ValueError(
                    f"`runs` must have the same {name}. Received: others in {folder} "
                    f"than in {folders[0]}"
                )
    return results


def _check_result(folder):
    if not (folder / RESULT).is_file():
        problem = "and there is none at"
        if (folder / FLAGS).is_file():
            problem = f"and the one here has not finished (it has no {RESULT}):"
        elif incomplete := finished.incomplete_of(folder):
            problem = f"and this one has not finished ({incomplete}):"
        elif folder.is_dir():
            problem = f"and this folder has no {RESULT}:"
        raise ValueError(f"`runs` must be folders of finished runs, {problem} {folder}")
    return RunResult.read(folder / RESULT)


def _check_output(output, folders):
    if output is None:
        if len(folders) > 1:
            raise ValueError(
                "`output` must be given with several runs: the folder to write. "
                f"Received: {len(folders)} runs and no --output"
            )
        output = folders[0] / "report"
    if not str(output).strip():
        raise ValueError(f"`output` must name a folder. Received: output={output!r}")
    output = pathlib.Path(output).expanduser().resolve()
    if output.exists() and not output.is_dir():
        raise ValueError(f"`output` is not a folder. Received: output={output}")
    if output.exists():
        foreign = {path.name for path in output.iterdir()} - _files_of_report(output)
        if foreign:
            raise ValueError(
                "`output` must be a new or empty folder or an earlier report, and "
                f"this one holds other files ({min(foreign)}). "
                f"Received: output={output}"
            )
    return output


def _check_is_no_class(output, run, data_dir):
    try:
        config = finished.read_config(run)
    except ValueError:
        return  # The page says so.
    if config.dataset == "folder":
        check_outside("output", output, data_dir or config.data_dir)


def _files_of_report(folder):
    """The names of what an earlier report wrote into a folder."""
    try:
        head = (folder / PAGE).read_text(encoding="utf-8")[:10_000]
    except (OSError, ValueError):
        return set()
    found = re.search(r'<meta name="mm_tf-report-files" content="([\w. -]*)">', head)
    return {PAGE, *found[1].split()} if found else set()


class _new_folder:
    """A folder beside `output` that takes its place when all is written."""

    def __init__(self, output):
        self._output = output

    def __enter__(self):
        try:
            self._output.parent.mkdir(parents=True, exist_ok=True)
            self._away = tempfile.TemporaryDirectory(
                dir=self._output.parent, prefix=".report-"
            )
        except OSError as error:
            raise ValueError(
                f"`output` cannot be written ({error.strerror}). "
                f"Received: output={self._output}"
            ) from None
        # Inside, because a temporary directory is its owner's alone to read.
        self._new = pathlib.Path(self._away.name, "new")
        self._new.mkdir()
        return self._new

    def __exit__(self, kind, error, traceback):
        with self._away:
            if kind is None:
                if self._output.exists():
                    os.replace(self._output, self._new.with_name("old"))
                os.replace(self._new, self._output)


# What a run's folder holds.


def _read(folder, result):
    missing = []

    def attempt(name, read):
        try:
            return read(folder / name)
        except FileNotFoundError:
            missing.append(f"{name} is missing")
        except (OSError, ValueError, KeyError, flags.Error, csv.Error) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            missing.append(f"{name} cannot be read: {reason}")
        return None

    lines = attempt(FLAGS, _read_lines) or []
    config = None
    if lines:
        config = attempt(FLAGS, lambda _: config_flags.from_lines(lines))
    labels, predictions = attempt(
        PREDICTIONS, lambda path: _read_predictions(path, len(result.class_names))
    ) or (None, None)
    return _Run(
        folder=folder,
        result=result,
        flags=dict(_split_flag(line) for line in lines),
        config=config,
        history=attempt(HISTORY, _read_history),
        labels=labels,
        predictions=predictions,
        missing=tuple(missing),
    )


def _read_lines(path):
    lines = _files.read_text(path, _files.MOST_BYTES_OF_FLAGS).splitlines()
    return [line.strip() for line in lines if line.strip()]


def _split_flag(line):
    name, _, value = line.lstrip("-").partition("=")
    return name, value


def _read_history(path):
    text = _files.read_text(path, _files.MOST_BYTES_OF_TEXT)
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    if not rows:
        raise ValueError("it has no epochs")
    columns = {
        name: np.array([_number_or_nan(row[name]) for row in rows])
        for name in rows[0]
        if name is not None
    }
    if not np.isfinite(columns["epoch"]).all():
        raise ValueError("an epoch is no number")
    return columns


def _number_or_nan(text):
    try:
        return float(text)
    except (TypeError, ValueError):
        return np.nan


def _read_predictions(path, num_classes):
    arrays = _files.read_arrays(path)
    labels, predictions = arrays["labels"], arrays["predictions"]
    for values in (labels, predictions):
        if values.ndim != 1 or values.dtype.kind not in "iu" or not values.size:
            raise ValueError("its arrays are no lists of classes")
        if values.min() < 0 or values.max() >= num_classes:
            raise ValueError(f"it has classes outside 0 to {num_classes - 1}")
    if len(labels) != len(predictions):
        raise ValueError("it has not as many predictions as labels")
    return labels.astype("int64"), predictions.astype("int64")


# The page's contents.


def _write(folder, runs, data_dir, gallery, data):
    import jinja2

    labels = _labels(runs)
    pictures = _Pictures(folder)
    confusions = [_confusions(run) for run in runs]
    images, without_images = _test_images(runs, data_dir, gallery, data)
    page = {
        "files": pictures.files,
        "result": runs[0].result,
        "dataset": _description(runs[0].result),
        "labels": labels,
        "runs": runs,
        "summary": _summary(runs),
        "published": _published(runs, labels),
        "counts": _draw_counts(pictures, runs[0].result),
        "errors": _draw_errors(pictures, runs, labels),
        "shots": _draw_shots(pictures, runs, labels),
        "curves": _draw_curves(pictures, runs, labels),
        "confusions": _draw_confusions(pictures, runs, labels, confusions),
        "pairs": [
            _pairs(pictures, number, run, matrix, images)
            for number, (run, matrix) in enumerate(
                zip(runs, confusions, strict=True), start=1
            )
        ],
        "without_images": without_images,
        "classes": _classes(runs),
        "flags": _flag_rows(runs),
        "environment": _environment(runs),
    }
    template = jinja2.Environment(
        loader=jinja2.PackageLoader("mm_tf.experiments", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template("report.html")
    (folder / PAGE).write_text(template.render(page), encoding="utf-8")


def _title(method):
    return METHODS[method].title if method in METHODS else method


def _labels(runs):
    """A name for each run: as short as tells them apart."""
    labels = titles = [_title(run.result.method) for run in runs]
    added: list[list[str]] = [[] for _ in runs]
    for more in (
        lambda run: f"seed {run.result.seed}",
        lambda run: run.folder.name,
        lambda run: f"run {runs.index(run) + 1}",
    ):
        if len(set(labels)) == len(labels):
            break
        if len({more(run) for run in runs}) > 1:
            added = [
                [*before, more(run)] for before, run in zip(added, runs, strict=True)
            ]
        labels = [
            f"{title} ({', '.join(words)})" if words else title
            for title, words in zip(titles, added, strict=True)
        ]
    return labels


def _has_published(results):
    """Whether the paper has a number for one of the results at least."""
    return any(result.published_top1_error is not None for result in results)


def _published(runs, labels):
    """Pairs (which runs, how they stand to the published number), where one has one."""
    of_words = collections.defaultdict(list)
    if not _has_published([run.result for run in runs]):
        return []
    for run, label in zip(runs, labels, strict=True):
        of_words[paper.published_words(run.result)].append(label)
    return [(", ".join(whose), words) for words, whose in of_words.items()]


def _description(result):
    info = DATASETS.get(result.dataset)
    return info.description if info else ""


def _summary(runs):
    """Rows (what, cells) of the table of errors."""
    results = [run.result for run in runs]
    rows = [
        (
            "Top-1, last epoch",
            [f"{result.top1_error:.2f}" for result in results],
        ),
        (
            f"Top-1, best epoch (chosen on the {results[0].evaluated_words} images, "
            "so it flatters)",
            [
                f"{result.best_top1_error:.2f} "
                f"(epoch\N{NO-BREAK SPACE}{result.best_epoch})"
                for result in results
            ],
        ),
        ("Mean over classes", [_percent(result.balanced_error) for result in results]),
    ]
    for group, words in (
        ("many", "> 100 images"),
        ("medium", "20 to 100"),
        ("few", "< 20"),
    ):
        errors = [getattr(result, f"{group}_shot_error") for result in results]
        name = f"{group.capitalize()}-shot classes ({words})"
        rows.append(
            (
                name,
                ["no such class" if e is None else _percent(e) for e in errors],
            )
        )
    if _has_published(results):
        errors = [result.published_top1_error for result in results]
        cells = ["none" if e is None else _percent(e) for e in errors]
        # Beside what it is to be held against.
        rows.insert(1, ("Published, top-1 (Table 1)", cells))
    return rows


def _classes(runs):
    result = runs[0].result
    return [
        (
            name,
            f"{count:,}",
            [_percent(run.result.per_class_error[index], 1) for run in runs],
        )
        for index, (name, count) in enumerate(
            zip(result.class_names, result.class_counts, strict=True)
        )
    ]


def _flag_rows(runs):
    names = dict.fromkeys(name for run in runs for name in run.flags)
    rows = []
    for name in names:
        cells = [
            "yes" if run.flags.get(name) == "" else run.flags.get(name, "-")
            for run in runs
        ]
        rows.append((name, cells, len(set(cells)) > 1))
    return rows


def _environment(runs):
    results = [run.result for run in runs]
    rows = [
        ("backend", [result.backend for result in results]),
        ("device", [result.device for result in results]),
        (
            "training images a second",
            [f"{result.images_per_second:,.1f}" for result in results],
        ),
        (
            "training time",
            [f"{result.training_seconds:,.0f} s" for result in results],
        ),
    ]
    packages = dict.fromkeys(name for result in results for name in result.versions)
    rows += [
        (name, [str(result.versions.get(name, "-")) for result in results])
        for name in packages
    ]
    # Times always differ.
    return [
        (name, cells, len(set(cells)) > 1 and not name.startswith("training"))
        for name, cells in rows
    ]


def _percent(error, digits=2):
    return "-" if error is None else f"{error:.{digits}f}"


# Its pictures.


class _Pictures:
    """Writes pictures into the report's folder and gives them to the page."""

    def __init__(self, folder):
        self._folder = folder
        self.files = []

    def draw(self, name, draw, alt, caption=""):
        """A figure for light and for dark: `draw` makes it."""
        from mm_tf.experiments import figures

        uris = {}
        for theme in figures.THEMES:
            file = f"{name}.png" if theme == "light" else f"{name}_{theme}.png"
            with figures.theme(theme):
                draw().savefig(self._folder / file, dpi=_DOTS_PER_INCH)
            uris[theme] = self._uri(file)
        return _Picture(**uris, alt=alt, caption=caption)

    def keep(self, name, pixels, alt, caption):
        """A picture of pixels, the same for light and for dark."""
        from matplotlib.image import imsave

        imsave(self._folder / f"{name}.png", pixels)
        uri = self._uri(f"{name}.png")
        return _Picture(light=uri, dark=uri, alt=alt, caption=caption)

    def _uri(self, file):
        self.files.append(file)
        content = base64.b64encode((self._folder / file).read_bytes()).decode()
        return f"data:image/png;base64,{content}"


def _draw_counts(pictures, result):
    from mm_tf.experiments import figures

    names, counts = result.class_names, result.class_counts
    most, least = int(np.argmax(counts)), int(np.argmin(counts))
    return pictures.draw(
        "class_counts",
        lambda: figures.class_counts_figure(result),
        f"Bars: training images of {len(names)} classes, from {counts[most]:,} "
        f"({names[most]}) to {counts[least]:,} ({names[least]}).",
    )


def _draw_errors(pictures, runs, labels):
    from mm_tf.experiments import figures

    results = [run.result for run in runs]
    means = ", ".join(
        f"{label} {result.balanced_error:.1f} %"
        for label, result in zip(labels, results, strict=True)
    )
    return pictures.draw(
        "per_class_error",
        lambda: figures.per_class_error_figure(results, labels),
        f"{results[0].evaluated_words.capitalize()} error of each class below its "
        f"training images. Means: {means}. "
        "The table of all classes has every number.",
    )


def _draw_shots(pictures, runs, labels):
    from mm_tf.experiments import figures

    results = [run.result for run in runs]
    return pictures.draw(
        "shot_error",
        lambda: figures.shot_error_figure(results, labels),
        f"Bars: mean {results[0].evaluated_words} error of the many-, medium- and "
        "few-shot classes. The table at the top has every number.",
    )


def _draw_curves(pictures, runs, labels):
    from mm_tf.experiments import figures

    shown = [
        (run, label)
        for run, label in zip(runs, labels, strict=True)
        if run.history is not None
    ]
    if not shown:
        return None
    marks = _marks(shown)
    moments = "; ".join(mark.label for mark in marks)
    return pictures.draw(
        "training_curves",
        # A run that is not shown must not give its colour to another one.
        lambda: figures.training_curves_figure(
            [run.history or {"epoch": np.zeros(1)} for run in runs], labels, marks
        ),
        "Lines: training loss, and training and "
        f"{runs[0].result.evaluated_words} error, after each epoch of "
        + ", ".join(label for _, label in shown)
        + f". {moments}",
        caption=moments,
    )


def _marks(shown):
    from mm_tf.experiments.figures import Mark

    of_runs = collections.defaultdict(list)
    for run, label in shown:
        for moment in _moments(run):
            of_runs[moment].append(label)
    marks = []
    for (epoch, what, is_deferred), labels in sorted(of_runs.items()):
        # The names of several would not fit into the legend.
        whose = f" ({labels[0] if len(labels) == 1 else f'{len(labels)} runs'})"
        if len(labels) == len(shown):
            whose = ""
        text = f"{what} from epoch {epoch}{whose}"
        marks.append(Mark(epoch, text, is_deferred))
    return marks


def _moments(run):
    """Triples (epoch, what begins, whether it is deferred) of a run."""
    if run.config is None:
        return
    for epoch, factor in run.config.drops:
        if epoch < run.config.epochs:
            yield epoch, f"learning rate × {factor:g}", False
    method, start = METHODS[run.config.method], run.config.first_reweighted_epoch
    if start >= run.config.epochs:
        return
    if method.weighting == "deferred":
        yield start, "re-weighted", True
    if method.sampling == "deferred":
        yield start, "re-sampled", True


def _confusions(run):
    """Test images of each true class (row) taken for each class, [K, K]."""
    if run.labels is None:
        return None
    from sklearn.metrics import confusion_matrix

    classes = np.arange(len(run.result.class_names))
    return confusion_matrix(run.labels, run.predictions, labels=classes)


def _draw_confusions(pictures, runs, labels, matrices):
    from mm_tf.experiments import figures

    def draw(number, run, matrix, label):
        right = 100 * np.trace(matrix) / matrix.sum()
        return pictures.draw(
            f"confusion_{number}",
            lambda: figures.confusion_figure(
                matrix, run.result.class_names, run.result.evaluated_words
            ),
            f"Confusion matrix of {label}: {right:.1f} % of the "
            f"{run.result.evaluated_words} images are on the diagonal. The pairs of "
            "classes that are confused most often are below.",
            caption=label,
        )

    return [
        draw(number, run, matrix, label)
        for number, (run, matrix, label) in enumerate(
            zip(runs, matrices, labels, strict=True), start=1
        )
        if matrix is not None
    ]


def _test_images(runs, data_dir, gallery, data):
    """Returns the images that the runs were evaluated on, or None and why not."""
    run = next((run for run in runs if run.labels is not None), None)
    if not gallery:
        return None, "They were not asked for."
    if run is None:
        return None, "The runs kept no predictions."
    try:
        data = _read_data(run, data_dir, data)
    except (ValueError, DatasetUnavailableError) as error:
        return None, str(error)
    for run in runs:
        if run.labels is not None and not np.array_equal(run.labels, data.test_labels):
            return (
                None,
                "The data set here is not the one that the runs were evaluated on.",
            )
    return data.test_images, None


def _read_data(run, data_dir, data):
    if run.result.evaluated_on == "holdout":
        if run.config is None:
            raise ValueError("Without its flags a run's hold-out is not known.")
        if data is not None:
            return images_module.cut(run.config, data)
        folder = data_dir or run.config.data_dir
        config = dataclasses.replace(run.config, data_dir=folder)
        return images_module.read(_identified(config))
    if data is not None:
        return data
    if run.config is None:
        # Of the data sets that have one way to be read.
        return load(run.result.dataset, data_dir)
    config = dataclasses.replace(run.config, data_dir=data_dir or run.config.data_dir)
    return images_module.load_whole(_identified(config))


def _identified(config):
    return images_module.identified(config, "Give --data_dir, where those are. ")


def _pairs(pictures, number, run, matrix, images):
    """The pairs of classes that a run confuses most often, with images.

    By the share of the true class, so that rare classes show that are all wrong.
    """
    if matrix is None:
        return []
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    shares = wrong / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    order = np.lexsort((-wrong.ravel(), -shares.ravel()))[:_PAIRS]
    names, pairs = run.result.class_names, []
    for place, (true, predicted) in enumerate(
        zip(*np.unravel_index(order, wrong.shape), strict=True), start=1
    ):
        count, of_class = int(wrong[true, predicted]), int(matrix[true].sum())
        if not count:
            break
        words = (
            f"{count:,} of {of_class:,} {run.result.evaluated_words} images "
            f"({100 * count / of_class:.1f} %)"
        )
        pair: dict[str, Any] = {
            "true": names[true],
            "predicted": names[predicted],
            "words": words,
        }
        pair["picture"] = None
        if images is not None:
            pair["picture"] = _draw_pair(
                pictures,
                f"confused_{number}_{place}",
                images,
                np.flatnonzero((run.labels == true) & (run.predictions == predicted)),
                f"{run.result.evaluated_words.capitalize()} images of {names[true]} "
                f"that are taken for {names[predicted]}.",
            )
        pairs.append(pair)
    return pairs


def _draw_pair(pictures, name, images, places, alt):
    from mm_tf.experiments import figures

    # Spread over all of them: the images are sorted, so the first are alike.
    size = min(_IMAGES_OF_A_PAIR, len(places))
    chosen = places[np.linspace(0, len(places) - 1, size).round().astype(int)]
    return pictures.keep(name, figures.image_strip(images[chosen]), alt, "")


def main(arguments=None):
    """The command.

    Args:
        arguments: What stands behind the command's name; by default what it was
            called with.
    """
    parser = argparse.ArgumentParser(
        prog="python -m mm_tf.experiments.report",
        description=__doc__.splitlines()[0],
        allow_abbrev=False,
    )
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="a folder that mm_tf.experiments.run left; up to six of one setting",
    )
    parser.add_argument(
        "--output",
        metavar="FOLDER",
        help="the folder to write: new, empty or an earlier report; by default "
        "`report` in the folder of a single run",
    )
    parser.add_argument(
        "--data_dir",
        metavar="PATH",
        help="where the images are now, to show some: the folder, CSV file or archive "
        "of images of your own, else where tfds keeps data sets; by default as in the "
        "run",
    )
    parser.add_argument(
        "--no_gallery",
        action="store_true",
        help="show no test or hold-out images, and read no data set",
    )
    given = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        page = write_report(
            given.runs, given.output, given.data_dir, not given.no_gallery
        )
    except (OSError, ValueError) as error:
        print(f"mm_tf: {error}", file=sys.stderr)
        sys.exit(2)
    print(f"Written: {page}")


if __name__ == "__main__":
    main()
