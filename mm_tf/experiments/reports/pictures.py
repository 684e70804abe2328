"""The pictures of a report: drawn, kept as files, and given to the page."""

import base64
import collections
import dataclasses

import numpy as np
from matplotlib.image import imsave

from mm_tf.experiments.paper.methods import METHODS
from mm_tf.experiments.reports import figures

_DOTS_PER_INCH = 150


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture of the page, as data URIs."""

    light: str
    dark: str
    alt: str
    caption: str = ""


class Pictures:
    """Writes pictures into the report's folder and gives them to the page.

    Attributes:
        files: The names of the files that were written.
    """

    def __init__(self, folder):
        self._folder = folder
        self.files = []

    def draw(self, name, draw, alt, caption=""):
        """Draws a figure, for light and for dark."""
        uris = {}
        for theme in figures.THEMES:
            file = f"{name}.png" if theme == "light" else f"{name}_{theme}.png"
            with figures.theme(theme):
                draw().savefig(self._folder / file, dpi=_DOTS_PER_INCH)
            uris[theme] = self._uri(file)
        return Picture(**uris, alt=alt, caption=caption)

    def keep(self, name, pixels, alt, caption):
        """Keeps a picture of pixels, the same for light and for dark."""
        imsave(self._folder / f"{name}.png", pixels)
        uri = self._uri(f"{name}.png")
        return Picture(light=uri, dark=uri, alt=alt, caption=caption)

    def _uri(self, file):
        self.files.append(file)
        content = base64.b64encode((self._folder / file).read_bytes()).decode()
        return f"data:image/png;base64,{content}"


def draw_counts(pictures, result):
    """Draws the training images of each class."""
    names, counts = result.class_names, result.class_counts
    most, least = int(np.argmax(counts)), int(np.argmin(counts))
    return pictures.draw(
        "class_counts",
        lambda: figures.class_counts_figure(result),
        f"Bars: training images of {len(names)} classes, from {counts[most]:,} "
        f"({names[most]}) to {counts[least]:,} ({names[least]}).",
    )


def draw_errors(pictures, runs, labels):
    """Draws the error of each class."""
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


def draw_shots(pictures, runs, labels):
    """Draws the errors of many-, medium- and few-shot classes."""
    results = [run.result for run in runs]
    return pictures.draw(
        "shot_error",
        lambda: figures.shot_error_figure(results, labels),
        f"Bars: mean {results[0].evaluated_words} error of the many-, medium- and "
        "few-shot classes. The table at the top has every number.",
    )


def draw_curves(pictures, runs, labels):
    """Draws the courses of the trainings."""
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
        marks.append(figures.Mark(epoch, text, is_deferred))
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


def draw_confusions(pictures, runs, labels):
    """Draws what is taken for what."""

    def draw(number, run, label):
        matrix = run.confusion_matrix()
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
        draw(number, run, label)
        for number, (run, label) in enumerate(zip(runs, labels, strict=True), start=1)
        if run.labels is not None
    ]
